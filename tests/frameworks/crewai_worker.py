"""CrewAI: a model, and a crew of one agent with a tool."""

import logging

from crewai import LLM, Agent, Crew, Task  # type: ignore[import-not-found]  # installed beside the environment
from crewai.tools import tool  # type: ignore[import-not-found]

from frameworks.scenario import QUESTION, UNKNOWN_MODEL, Stage, get_weather, play

MODEL = "openai/gpt-4o-mini"


def _crew(question: str, *, tools: bool) -> object:
    agent = Agent(
        role="Reporter",
        goal="Report the weather.",
        backstory="You like short sentences.",
        llm=LLM(model=MODEL),
        tools=[tool(get_weather)] if tools else [],
    )
    return Crew(agents=[agent], tasks=[Task(description=question, expected_output="One sentence.", agent=agent)])


def blocking(stage: Stage) -> None:
    """Scenes without an event loop."""
    with stage.scene("call") as outcome:
        outcome["result"] = LLM(model=MODEL).call("Why do parrots talk?")
    with stage.scene("crew") as outcome:
        outcome["result"] = _crew(QUESTION, tools=True).kickoff().raw  # type: ignore[attr-defined]  # untyped
    with stage.scene("error"):
        LLM(model=f"openai/{UNKNOWN_MODEL}").call("Why?")


async def asynchronous(stage: Stage) -> None:
    """Scenes in an event loop."""
    with stage.scene("async-crew") as outcome:
        crew = _crew("Why do parrots talk?", tools=False)
        outcome["result"] = (await crew.kickoff_async()).raw  # type: ignore[attr-defined]  # untyped


if __name__ == "__main__":
    logging.getLogger("crewai").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(lambda _: False)  # what is logged without a name: it logs what it raises
    play("crewai", blocking, asynchronous)
