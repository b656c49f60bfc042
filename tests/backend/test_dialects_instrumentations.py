"""What instrumentations of the openai and anthropic SDKs export becomes the row of the call that was made.

The fixtures are recorded (`fixtures/dialects/record/instrumentations.py`). What is wanted was written down from what
the provider answered (`instrumentations_calls.py`), and differs from one package to the next only in what a package
does not tell; `why` says so.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from support.recorded_spans import spans_of
from tokentrail.backend import dialects
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.dialects.openinference import OpenInference
from tokentrail.backend.dialects.openlit import OpenLIT
from tokentrail.backend.dialects.openllmetry import OpenLLMetry
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span

FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "dialects"
DIALECTS: Final = (OpenInference(), OpenLIT(), OpenLLMetry())
FIXTURES: Final = sorted(
    path
    for name in (*(each.name for each in DIALECTS), "otel_genai")
    for path in (FOLDER / name).glob("*.json")
    if not path.name.endswith((".want.json", ".logs.json"))
)
CONTENT: Final = ("input_messages", "output_messages", "system", "tools")


def kind_of(span: Span) -> str:
    """The kind of a span, also of one that nobody bills."""
    row = dialects.describe(span)
    return row.kind if row is not None else ""


def comparable(row: Row, want: Mapping[str, object]) -> dict[str, object]:
    """The fields of `row` that `want` has, as it has them."""
    plain = asdict(row)
    told: dict[str, object] = {name: plain[name] for name in want if name != "ttft"}
    told |= {name: list(value) for name, value in told.items() if isinstance(value, tuple)}
    told |= {name: _content(plain[name]) for name in CONTENT}
    told["ttft"] = row.ttft_ns is not None and 0 < row.ttft_ns <= row.duration_ns
    return told


def _content(text: str) -> object:
    """Messages without what only some producers write: names, reasons, and fields that are null."""
    if not text:
        return None
    parsed = json.loads(text)
    return [_without(each, "finish_reason") for each in parsed]


def _without(value: Any, *names: str) -> Any:
    if isinstance(value, list):
        return [_without(item) for item in value]
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if item is not None and key not in names}
    return value


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: f"{path.parent.name}: {path.stem}")
def test_a_recorded_call_becomes_its_row(fixture: Path, encoding: Encoding) -> None:
    want = json.loads(fixture.with_suffix(".want.json").read_text(encoding="utf-8"))

    spans = spans_of(fixture, encoding)

    rows = [row for span in spans if (row := dialects.read(span)) is not None]
    assert len(rows) == len(want["calls"])
    for row, wanted in zip(rows, want["calls"], strict=True):
        cost = wanted.pop("cost_usd")
        assert comparable(row, wanted) == wanted
        assert row.cost_usd == (None if cost is None else Decimal(cost))
        assert (row.cost_source, row.pricing_status) == (("", "") if cost is None else ("client", "priced"))
        assert (row.service, row.environment) == ("shop", "test")
        assert bool(row.error_message) == (row.error_type not in ("", "overloaded_error"))
    around = {span.name: kind_of(span) for span in spans if dialects.read(span) is None}
    assert around == want.get("around", {})
    assert not BILLABLE.intersection(around.values())


def test_every_dialect_has_a_plain_a_streamed_a_failed_a_tool_and_an_embedding_call() -> None:
    calls = ("chat", "chat_stream", "chat_error", "chat_tools", "embeddings", "messages", "messages_stream")

    missing = {
        (each.name, call)
        for each in DIALECTS
        for call in calls
        if not any(path.parent.name == each.name and path.stem.endswith(f"_{call}") for path in FIXTURES)
    }

    assert not missing
