"""Frameworks' dialects with values of every wrong type, and with spans that are nobody's."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from support.spans import a_span
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.genkit import Genkit
from tokentrail.backend.dialects.google_adk import GoogleADK
from tokentrail.backend.dialects.litellm import LiteLLM
from tokentrail.backend.dialects.microsoft import Microsoft
from tokentrail.backend.dialects.spring import SpringAI
from tokentrail.backend.dialects.strands import Strands
from tokentrail.backend.dialects.vercel import Vercel
from tokentrail.backend.receiver.decode import Encoding, decode
from tokentrail.backend.span import Event, Value

FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "dialects"
DIALECTS: Final[Sequence[Dialect]] = (
    Vercel(),
    LiteLLM(),
    GoogleADK(),
    Strands(),
    SpringAI(),
    Microsoft(),
    Genkit(),
)


HOSTILE: Final[Sequence[Value]] = (
    None,
    "",
    "x",
    "[",
    "[" * 5000,
    '{"usage": [], "raw": 7, "usage_metadata": "x", "config": [], "messages": {"a": null}, "api_base": []}',
    '[null, 7, {"role": null}, {"parts": {}}]',
    "\\ud800",
    '"\\ud800"',
    math.nan,
    math.inf,
    -1,
    2**70,
    True,
    b"\xff",
    (),
    (None, 1, "a", ("b",)),
    {"a": {"b": (math.nan,)}},
)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_no_value_of_any_attribute_raises(dialect: Dialect) -> None:
    fixtures = sorted((FOLDER / dialect.name).glob("*_tools.json"))
    spans = [span for path in fixtures for span in decode(path.read_bytes(), Encoding.JSON).spans]
    assert spans

    for span in spans:
        for name in span.attributes:
            for value in HOSTILE:
                row = dialect.read(replace(span, attributes={**span.attributes, name: value}))

                assert row is None or "\ud800" not in row.input_messages + row.output_messages


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_no_event_raises(dialect: Dialect) -> None:
    names = ("gen_ai.choice", "gen_ai.user.message", "gen_ai.client.inference.operation.details", "exception")
    keys = ("content", "message", "finish_reason", "gen_ai.event.content", "gen_ai.output.messages")

    for name in names:
        for value in HOSTILE:
            event = Event(1, name, dict.fromkeys(keys, value))

            dialect.read(a_span({"gen_ai.operation.name": "chat"}, events=(event,)))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_an_ordinary_span_is_none_of_them(dialect: Dialect) -> None:
    assert not dialect.matches(("http.request.method", "url.path", "session.id", "user.id", "name"), "io.http")
    assert not dialect.matches(("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"), "x")
