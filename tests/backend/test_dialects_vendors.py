"""What vendors' SDKs and coding agents export of themselves becomes the row of the call that was made.

The fixtures are recorded (`fixtures/dialects/record/vendors.py`) but for those named `source_`, which are put together
from documentation and code. What is wanted was written down from what the provider answered.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.recorded_spans import spans_of
from support.vendor_fixtures import fixtures, told, wanted
from tokentrail.backend import dialects
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.agentops import AgentOps
from tokentrail.backend.dialects.bare import Bare
from tokentrail.backend.dialects.braintrust import Braintrust
from tokentrail.backend.dialects.claude_code import ClaudeCode
from tokentrail.backend.dialects.codex import Codex
from tokentrail.backend.dialects.coding_agents import Copilot, OpenCode
from tokentrail.backend.dialects.flue import Flue
from tokentrail.backend.dialects.gemini_cli import GeminiCli
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.dialects.laminar import Laminar
from tokentrail.backend.dialects.langtrace import Langtrace
from tokentrail.backend.dialects.langwatch import LangWatch
from tokentrail.backend.dialects.livekit import LiveKit
from tokentrail.backend.dialects.openrouter import OpenRouter
from tokentrail.backend.dialects.pipecat import Pipecat
from tokentrail.backend.dialects.sentry import Sentry
from tokentrail.backend.dialects.voltagent import VoltAgent
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.row import Row

VENDORS: Final[tuple[Dialect, ...]] = (
    *(LangWatch(), Braintrust(), Laminar(), ClaudeCode(), Codex(), GeminiCli(), OpenCode(), Copilot(), LiveKit()),
    *(Pipecat(), OpenRouter(), VoltAgent(), Flue(), AgentOps(), Langtrace(), Sentry()),
)
FIXTURES: Final = fixtures(*(each.name for each in VENDORS))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the dialects read behind the product's own words and before the others, if they are not already."""
    known = {each.name for each in dialects.DIALECTS}
    first, *others = dialects.DIALECTS
    missing = [each for each in VENDORS if each.name not in known]
    last = [] if "bare" in known else [Bare()]
    monkeypatch.setattr(dialects, "DIALECTS", (first, *missing, *others, *last))
    dialects._spoken.cache_clear()
    yield
    dialects._spoken.cache_clear()


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recorded_call_becomes_the_row_of_what_the_provider_sent(fixture: Path, encoding: Encoding) -> None:
    spans = spans_of(fixture, encoding)

    rows = [dialects.describe(span) for span in spans]

    found = [{"name": span.name, **_outline(row)} for span, row in zip(spans, rows, strict=True)]
    assert found == wanted(fixture)


def _outline(row: Row | None) -> dict[str, object]:
    """All that a row of a call tells; of other spans their kind."""
    if row is None or row.kind not in BILLABLE:
        return {"kind": row.kind if row is not None else None}
    return told(row)


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_only_calls_of_models_become_rows(fixture: Path) -> None:
    read = [dialects.read(span) is not None for span in spans_of(fixture, Encoding.JSON)]

    assert read == [each["kind"] in BILLABLE for each in wanted(fixture)]


@pytest.mark.parametrize("dialect", VENDORS, ids=lambda dialect: dialect.name)
def test_every_vendor_has_fixtures_that_its_dialect_recognises(dialect: Dialect) -> None:
    spans = [span for fixture in fixtures(dialect.name) for span in spans_of(fixture, Encoding.JSON)]

    assert spans
    assert any(dialect.matches(tuple(span.attributes), span.scope_name) for span in spans)


@pytest.mark.parametrize("dialect", VENDORS, ids=lambda dialect: dialect.name)
def test_no_dialect_takes_the_spans_of_another_vendor_for_its_own(dialect: Dialect) -> None:
    others = [each.name for each in VENDORS if each is not dialect]
    spans = [span for fixture in fixtures(*others) for span in spans_of(fixture, Encoding.JSON)]

    taken = [span.name for span in spans if dialect.matches(tuple(span.attributes), span.scope_name)]

    assert taken == []
