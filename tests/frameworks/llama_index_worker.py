"""LlamaIndex: a model, a stream, and an agent with a tool, which runs as a workflow."""

from llama_index.core.agent.workflow import FunctionAgent  # type: ignore[import-not-found]  # beside the environment
from llama_index.core.llms import ChatMessage  # type: ignore[import-not-found]
from llama_index.llms.openai import OpenAI  # type: ignore[import-not-found]

from frameworks.scenario import QUESTION, Stage, get_weather, play

MODEL = "gpt-4o-mini"
"""It looks up the size of the context of each model that it is given, in a list of its own."""
UNKNOWN_MODEL = "ft:gpt-4o-mini-2024-07-18:nobody::0"
"""It refuses a name without such a model in it before there is a request."""


def blocking(stage: Stage) -> None:
    """Scenes without an event loop."""
    llm = OpenAI(model=MODEL)
    with stage.scene("complete") as outcome:
        outcome["result"] = llm.complete("Why do parrots talk?").text
    with stage.scene("stream") as outcome:
        outcome["result"] = "".join(piece.delta or "" for piece in llm.stream_complete("Why do parrots talk?"))
    with stage.scene("error"):
        OpenAI(model=UNKNOWN_MODEL).complete("Why?")


async def asynchronous(stage: Stage) -> None:
    """Scenes in an event loop."""
    llm = OpenAI(model=MODEL)
    with stage.scene("agent") as outcome:
        agent = FunctionAgent(tools=[get_weather], llm=llm, system_prompt="You are a helpful assistant.")
        outcome["result"] = str(await agent.run(QUESTION))
    with stage.scene("async-chat") as outcome:
        answer = await llm.achat([ChatMessage(role="user", content="Why do parrots talk?")])
        outcome["result"] = answer.message.content


if __name__ == "__main__":
    play("llama_index", blocking, asynchronous)
