"""OpenAI Agents: an agent with a tool, plain and streamed, over the Responses API and over chat completions."""

import logging

from agents import (  # type: ignore[import-not-found]  # installed beside the environment
    Agent,
    OpenAIChatCompletionsModel,
    RunConfig,
    Runner,
    function_tool,
    set_default_openai_client,
    set_trace_processors,
)
from openai import AsyncOpenAI
from opentelemetry.instrumentation.genai.openai_agents import (  # type: ignore[import-not-found]
    OpenAIAgentsInstrumentor,
)

from frameworks.scenario import MODEL, QUESTION, UNKNOWN_MODEL, Stage, get_weather, play


def _agent(**settings: object) -> object:
    return Agent(
        name="Assistant",
        instructions="You are a helpful assistant.",
        **{"model": MODEL, "tools": [function_tool(get_weather)], **settings},
    )


def blocking(stage: Stage) -> None:
    """Scenes without an event loop."""
    with stage.scene("agent") as outcome:
        outcome["result"] = Runner.run_sync(_agent(), QUESTION).final_output
    with stage.scene("error"):
        Runner.run_sync(_agent(model=UNKNOWN_MODEL), "Why?")


async def asynchronous(stage: Stage) -> None:
    """Scenes in an event loop; its clients keep connections of the loop that they were first used in."""
    set_default_openai_client(AsyncOpenAI())
    with stage.scene("stream") as outcome:
        run = Runner.run_streamed(_agent(), QUESTION)
        async for _ in run.stream_events():
            pass
        outcome["result"] = run.final_output
    chat = OpenAIChatCompletionsModel(model=MODEL, openai_client=AsyncOpenAI())
    with stage.scene("chat-agent") as outcome:
        outcome["result"] = (await Runner.run(_agent(model=chat), QUESTION)).final_output
    with stage.scene("chat-stream") as outcome:
        run = Runner.run_streamed(_agent(model=chat), QUESTION)
        async for _ in run.stream_events():
            pass
        outcome["result"] = run.final_output
    with stage.scene("untraced") as outcome:
        run = await Runner.run(_agent(), "Why?", run_config=RunConfig(tracing_disabled=True))
        outcome["result"] = run.final_output
    OpenAIAgentsInstrumentor().instrument()  # the official one, told of the framework's own traces
    with stage.scene("agent-with-own-spans") as outcome:
        outcome["result"] = (await Runner.run(_agent(), QUESTION)).final_output
    with stage.scene("stream-with-own-spans") as outcome:
        run = Runner.run_streamed(_agent(), QUESTION)
        async for _ in run.stream_events():
            pass
        outcome["result"] = run.final_output
    with stage.scene("chat-agent-with-own-spans") as outcome:
        outcome["result"] = (await Runner.run(_agent(model=chat), QUESTION)).final_output


if __name__ == "__main__":
    logging.getLogger("openai.agents").setLevel(logging.CRITICAL)  # it logs what it raises
    set_trace_processors([])  # its own traces are uploaded to the vendor otherwise
    play("openai_agents", blocking, asynchronous)
