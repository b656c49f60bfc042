"""What frameworks with a tracing of their own export becomes the rows of the calls that were made, each counted once.

The fixtures are recorded (`fixtures/dialects/record/producers.py`); those of Spring AI, which is not to be had here,
are made from its source. What is wanted was written down from what the provider answered (`producers_calls.py`), and
differs from one package to the next only in what a package does not tell; `why` says so.
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
from tokentrail.backend.dialects.genkit import Genkit
from tokentrail.backend.dialects.google_adk import GoogleADK
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.dialects.litellm import LiteLLM
from tokentrail.backend.dialects.microsoft import Microsoft
from tokentrail.backend.dialects.spring import SpringAI
from tokentrail.backend.dialects.strands import Strands
from tokentrail.backend.dialects.vercel import Vercel
from tokentrail.backend.ingest.aggregates import Aggregates
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span

FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "dialects"
DIALECTS: Final = (Vercel(), LiteLLM(), GoogleADK(), Strands(), SpringAI(), Microsoft(), Genkit())
FIXTURES: Final = sorted(
    path for each in DIALECTS for path in (FOLDER / each.name).glob("*.json") if not path.name.endswith(".want.json")
)
CONTENT: Final = ("input_messages", "output_messages", "system", "tools")


def counted(spans: list[Span]) -> list[Row]:
    """The rows of a trace, in the order of their starts."""
    kept = Aggregates().keep([(span, dialects.describe(span)) for span in spans])
    return sorted(kept.rows, key=lambda row: row.time_ns)


def comparable(row: Row, want: Mapping[str, object]) -> dict[str, object]:
    """The fields of `row` that `want` has, as it has them."""
    plain = asdict(row)
    told: dict[str, object] = {name: plain[name] for name in want if name != "ttft"}
    told |= {name: list(value) for name, value in told.items() if isinstance(value, tuple)}
    told |= {name: content(plain[name]) for name in CONTENT}
    told["ttft"] = row.ttft_ns is not None and 0 < row.ttft_ns <= row.duration_ns
    told["cost_usd"] = None if row.cost_usd is None else str(row.cost_usd.normalize())
    return told


def content(text: str) -> object:
    """Content without what only some producers write: finish reasons, and fields that are null."""
    if not text:
        return None
    return without(json.loads(text), "finish_reason") if text[0] in "[{" else text


def without(value: Any, *names: str) -> Any:
    if isinstance(value, list):
        return [without(item, *names) for item in value]
    if isinstance(value, dict):
        return {key: without(item, *names) for key, item in value.items() if item is not None and key not in names}
    return value


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: f"{path.parent.name}: {path.stem}")
def test_a_recorded_call_becomes_its_row(fixture: Path, encoding: Encoding) -> None:
    want = json.loads(fixture.with_suffix(".want.json").read_text(encoding="utf-8"))

    spans = spans_of(fixture, encoding)

    rows = counted(spans)
    assert len(rows) == len(want["calls"])
    for row, wanted in zip(rows, want["calls"], strict=True):
        if wanted["cost_usd"] is not None:
            wanted["cost_usd"] = str(Decimal(wanted["cost_usd"]).normalize())
        assert comparable(row, wanted) == wanted
        assert row.pricing_status == ("" if wanted["cost_usd"] is None else "priced")
        assert (row.service, row.environment) == ("shop", "test")
    around = {span.name: kind_of(span) for span in spans if dialects.read(span) is None}
    assert around == want["around"]
    assert not BILLABLE.intersection(around.values())


def kind_of(span: Span) -> str:
    row = dialects.describe(span)
    return row.kind if row is not None else ""


def test_every_dialect_has_a_plain_a_streamed_a_failed_a_tool_and_an_embedding_call() -> None:
    calls = {"chat": (), "stream": (), "error": (), "tools": (), "embed": ("google_adk", "strands")}

    missing = {
        (each.name, call)
        for each in DIALECTS
        for call, not_told in calls.items()
        if each.name not in not_told  # those that trace no embeddings
        and not any(path.parent.name == each.name and f"_{call}" in path.stem for path in FIXTURES)
    }

    assert not missing


def test_no_fixture_tells_of_the_machine_it_was_recorded_on() -> None:
    forbidden = ("127.0.0.1", "localhost", "/home/", "/root/", "site-packages", "process.pid", "host.name", "Linux")

    found = {(path.name, word) for path in FIXTURES for word in forbidden if word in path.read_text(encoding="utf-8")}

    assert not found
