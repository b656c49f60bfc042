"""What the SDKs of tracing platforms export becomes the row of the call that was made.

The fixtures are recorded (`fixtures/dialects/record/platforms.py`). What is wanted was written down from what the
provider was asked and answered (`instrumentations_calls.py`), and differs from one package to the next only in what a
package does not tell; `why` says so.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from support.recorded_spans import comparable, fixtures_of, spans_of, wanted
from tokentrail.backend import dialects
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.dialects.langfuse import Langfuse
from tokentrail.backend.dialects.langsmith import LangSmith
from tokentrail.backend.dialects.logfire import Logfire
from tokentrail.backend.dialects.mlflow import MLflow
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.span import Value

DIALECTS: Final = (Langfuse(), Logfire(), LangSmith(), MLflow())
FIXTURES: Final = fixtures_of(*(each.name for each in DIALECTS))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the dialects read behind the product's own words and before the conventions, if they are not already."""
    known = {each.name for each in dialects.DIALECTS}
    missing = tuple(each for each in DIALECTS if each.name not in known)
    if missing:
        monkeypatch.setattr(dialects, "DIALECTS", (dialects.DIALECTS[0], *missing, *dialects.DIALECTS[1:]))
    dialects._spoken.cache_clear()
    yield
    dialects._spoken.cache_clear()


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: f"{path.parent.name}: {path.stem}")
def test_a_recorded_call_becomes_its_row(fixture: Path, encoding: Encoding) -> None:
    want = wanted(fixture)

    spans = spans_of(fixture, encoding)

    rows = [row for span in spans if (row := dialects.read(span)) is not None]
    assert len(rows) == len(want["calls"])
    for row, call in zip(rows, want["calls"], strict=True):
        cost = call.pop("cost_usd")
        assert comparable(row, call) == call
        assert row.cost_usd == (None if cost is None else Decimal(cost))
        assert (row.cost_source, row.pricing_status) == (("", "") if cost is None else ("client", "priced"))
        assert (row.service, row.environment) == ("shop", "test")
        assert bool(row.error_message) == bool(row.error_type)
        assert "Traceback" not in row.error_message
    around = {span.name: row.kind if (row := dialects.describe(span)) else None for span in spans}
    around = {name: kind for name, kind in around.items() if kind not in BILLABLE}
    assert around == want.get("around", {})


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
def test_every_dialect_has_a_plain_a_streamed_a_failed_and_a_tool_call(dialect: dialects.Dialect) -> None:
    stems = [path.stem for path in fixtures_of(dialect.name)]

    missing = [call for call in ("chat", "chat_stream", "chat_error", "chat_tools") if not any(
        stem.endswith(f"_{call}") for stem in stems
    )]  # fmt: skip

    assert not missing


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: f"{path.parent.name}: {path.stem}")
def test_a_recorded_span_matches_the_dialect_of_its_folder_and_no_other_platforms(fixture: Path) -> None:
    speaking = {
        each.name
        for span in spans_of(fixture, Encoding.JSON)
        for each in DIALECTS
        if each.matches(tuple(span.attributes), span.scope_name)
    }

    assert speaking == {fixture.parent.name}


DEEP: Final = "[" * 100_000
WRONG: Final[tuple[Value, ...]] = (
    *(None, True, -1, 2**70, 0.5, float("nan"), float("inf"), b"\xff", "", "null", "NaN", "1e999", "\ud800", DEEP),
    *(
        '"',
        "{",
        "[[[]]]",
        "[null, 1, [2]]",
        '{"a": null}',
        '{"messages": 5}',
        '{"generations": [[[[1]]]]}',
        '"\\ud800"',
    ),
    *((), (1, "a", (None,)), {}, {"usage": {"input_tokens": {}}}, '{"usage": "x", "choices": {}, "output": [1]}'),
    '{"input": "x", "output": [], "cache": {}, "input_tokens": [], "total": "y"}',
)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
def test_no_value_of_a_wrong_type_raises(dialect: dialects.Dialect) -> None:
    recorded = [path for path in fixtures_of(dialect.name) if path.stem.endswith(("_chat_tools", "_chat_stream"))]
    shapes = {frozenset(span.attributes): span for path in recorded for span in spans_of(path, Encoding.JSON)}
    assert shapes

    for span in list(shapes.values())[:8]:
        for name in span.attributes:
            for value in WRONG:
                changed = replace(span, attributes={**span.attributes, name: value})
                dialect.read(changed)
                dialects.describe(changed)
