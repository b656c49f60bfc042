"""Instructor: answers as models of Pydantic, validated and asked for again where they do not fit."""

import logging

import instructor  # type: ignore[import-not-found]  # installed beside the environment
from pydantic import BaseModel, field_validator

from frameworks.scenario import CLAUDE, MODEL, UNKNOWN_MODEL, Stage, play


class Person(BaseModel):
    """What is read out of a text."""

    name: str
    age: int


class Refused(Person):
    """A person whose age is refused the first time."""

    @field_validator("age")
    @classmethod
    def not_at_first(cls, age: int) -> int:
        """Refuse the first age there is."""
        _ages.append(age)
        if len(_ages) == 1:
            raise ValueError("ask again")
        return age


_ages: list[int] = []


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def blocking(stage: Stage) -> None:
    """Scenes without an event loop."""
    client = instructor.from_provider(f"openai/{MODEL}")
    with stage.scene("extract") as outcome:
        person = client.create(response_model=Person, messages=_messages("John is 25 years old"))
        outcome["result"] = person.name
    with stage.scene("asked-again") as outcome:
        person = client.create(response_model=Refused, messages=_messages("John is 25"), max_retries=2)
        outcome["result"] = person.age
    with stage.scene("partial-stream") as outcome:
        people = client.create_partial(response_model=Person, messages=_messages("John is 25 years old"))
        outcome["result"] = list(people)[-1].name
    with stage.scene("error"):
        instructor.from_provider(f"openai/{UNKNOWN_MODEL}").create(response_model=Person, messages=_messages("Why?"))


async def asynchronous(stage: Stage) -> None:
    """Scenes in an event loop."""
    with stage.scene("claude") as outcome:
        client = instructor.from_provider(f"anthropic/{CLAUDE}", async_client=True)
        person = await client.create(response_model=Person, messages=_messages("John is 25"), max_tokens=200)
        outcome["result"] = person.name


if __name__ == "__main__":
    logging.getLogger("instructor").setLevel(logging.CRITICAL)  # it logs what it raises
    play("instructor", blocking, asynchronous)
