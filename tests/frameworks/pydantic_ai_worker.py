"""Pydantic AI: an agent with a tool, structured output and streams, with and without its own spans."""

from pydantic import BaseModel
from pydantic_ai import Agent  # type: ignore[import-not-found]  # installed beside the environment
from pydantic_ai.capabilities import Instrumentation  # type: ignore[import-not-found]
from pydantic_ai.models.openai import OpenAIChatModel  # type: ignore[import-not-found]
from pydantic_ai.providers.openai import OpenAIProvider  # type: ignore[import-not-found]

from frameworks.scenario import CLAUDE, MODEL, QUESTION, UNKNOWN_MODEL, Stage, get_weather, play


class Order(BaseModel):
    """What the agent is to answer with."""

    number: int
    city: str


def blocking(stage: Stage) -> None:
    """Scenes without an event loop."""
    with stage.scene("agent") as outcome:
        agent = Agent(f"openai-chat:{MODEL}", instructions="Be concise.", tools=[get_weather])
        outcome["result"] = agent.run_sync(QUESTION).output
    with stage.scene("responses-agent") as outcome:
        agent = Agent(f"openai-responses:{MODEL}", tools=[get_weather])
        outcome["result"] = agent.run_sync(QUESTION).output
    with stage.scene("structured") as outcome:
        outcome["result"] = Agent(f"openai-chat:{MODEL}", output_type=Order).run_sync("Order it.").output.number
    with stage.scene("error"):
        Agent(f"openai-chat:{UNKNOWN_MODEL}").run_sync("Why?")


async def asynchronous(stage: Stage) -> None:
    """Scenes in an event loop."""
    with stage.scene("claude-agent") as outcome:
        outcome["result"] = (await Agent(f"anthropic:{CLAUDE}", tools=[get_weather]).run(QUESTION)).output
    own_spans = [Instrumentation()]
    for name, capabilities in (("stream", []), ("stream-with-own-spans", own_spans)):
        with stage.scene(name) as outcome:
            async with Agent(f"openai-chat:{MODEL}", capabilities=capabilities).run_stream("Why?") as run:
                outcome["result"] = "".join([piece async for piece in run.stream_text(delta=True)])
    with stage.scene("agent-with-own-spans") as outcome:
        agent = Agent(f"openai-chat:{MODEL}", tools=[get_weather], capabilities=own_spans)
        outcome["result"] = (await agent.run(QUESTION)).output
    with stage.scene("claude-agent-with-own-spans") as outcome:
        agent = Agent(f"anthropic:{CLAUDE}", tools=[get_weather], capabilities=own_spans)
        outcome["result"] = (await agent.run(QUESTION)).output
    with stage.scene("error-with-own-spans"):
        await Agent(f"openai-chat:{UNKNOWN_MODEL}", capabilities=own_spans).run("Why?")
    with stage.scene("local-host") as outcome:
        provider = OpenAIProvider(base_url=f"{stage.url}/v1", api_key="none")
        outcome["result"] = (await Agent(OpenAIChatModel(MODEL, provider=provider)).run("Why?")).output


if __name__ == "__main__":
    play("pydantic_ai", blocking, asynchronous)
