"""A span of every dialect and what is to be read of it: `fixtures/dialects/vectors.json`, from producers' references.

`want` lists the fields to compare; those that are absent are not checked, and `null` is empty. `input_text` is the text
of the first input message that is not the system's, `output_text` that of the first output message; `counts_for_cost`
is whether the span makes a row on its own; `ttft_s` is in seconds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from support.spans import SECOND, START, a_span
from tokentrail.backend import dialects
from tokentrail.backend.dialects import kinds
from tokentrail.backend.dialects.messages import text_of
from tokentrail.backend.row import Row
from tokentrail.backend.span import Event, Span, StatusCode, Value

Vector = Mapping[str, Any]
VECTORS: Final[Sequence[Vector]] = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "dialects" / "vectors.json").read_text()
)
NOT_OF_ROWS: Final = frozenset({"tool_name", "tool_call_id", "tool_args", "tool_result", "agent_name"})
"""Fields of spans that nobody bills: a row is a model call and has none of them."""


def value(plain: Any) -> Value:
    """A JSON value as the decoder gives an attribute's."""
    return tuple(map(value, plain)) if isinstance(plain, list) else plain


def span_of(vector: Vector) -> Span:
    """The span of a vector; a log record is looked at as a span of its name that takes no time."""
    status = vector.get("status", {})
    return a_span(
        {key: value(each) for key, each in vector["attrs"].items()},
        name=vector["name"],
        scope_name=vector["scope"],
        end_ns=START + round(vector.get("duration_s", 0 if vector.get("log") else 2) * SECOND),
        status_code=StatusCode[status.get("code", "UNSET")],
        status_message=status.get("message", ""),
        events=tuple(
            Event(START, event["name"], {key: value(each) for key, each in event["attrs"].items()})
            for event in vector.get("events", ())
        ),
    )


def messages(written: str) -> list[dict[str, object]]:
    return json.loads(written) if written else []


def plain(name: str) -> Callable[[Row], object]:
    return lambda row: getattr(row, name)


READERS: Final[Mapping[str, Callable[[Row], object]]] = {
    "ttft_s": lambda row: row.ttft_ns,
    "input_text": lambda row: text_of(messages(row.input_messages), but_role="system"),
    "output_text": lambda row: text_of(messages(row.output_messages)),
    "output_messages": lambda row: messages(row.output_messages),
    "tags": lambda row: list(row.tags),
    "finish_reasons": lambda row: list(row.finish_reasons),
    "properties": lambda row: dict(row.properties),
}
WANTED: Final[Mapping[str, Callable[[Any], object]]] = {
    "ttft_s": lambda seconds: round(seconds * SECOND),
    "cost_usd": lambda amount: Decimal(repr(amount)),
}


def differences(vector: Vector) -> dict[str, object]:
    """Fields that are not as wanted, with what was read."""
    span = span_of(vector)
    row = dialects.describe(span)
    want = dict(vector["want"])
    found: dict[str, object] = {}
    if want.pop("kind", kinds.OTHER if row is None else row.kind) != (kinds.OTHER if row is None else row.kind):
        found["kind"] = None if row is None else row.kind
    counts = dialects.read(span) is not None
    if want.pop("counts_for_cost", counts) is not counts:
        found["counts_for_cost"] = counts
    for name in want.keys() - NOT_OF_ROWS:
        read = None if row is None else READERS.get(name, plain(name))(row)
        wanted = want[name]
        wanted = WANTED[name](wanted) if name in WANTED else wanted
        if bool(read) if wanted is None else read != wanted:
            found[name] = read
    return found


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_the_span_is_read_as_its_producer_means_it(vector: Vector) -> None:
    assert differences(vector) == {}


def test_every_vector_can_fail() -> None:
    """The comparison itself: a wanted value that no span has is reported for every field that is compared."""
    [vector] = [each for each in VECTORS if each["id"] == "otel-post141"]
    absurd = {name: "absurd" for name in vector["want"] if name not in ("ttft_s", "cost_usd")}

    assert differences({**vector, "want": absurd}).keys() == absurd.keys()
    assert differences({**vector, "want": {"ttft_s": 9.0, "counts_for_cost": False}}).keys() == {
        "ttft_s",
        "counts_for_cost",
    }
