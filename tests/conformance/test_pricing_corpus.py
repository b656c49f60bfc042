"""Both sides agree with the public pricing corpus, digit for digit.

Each case is a real exchange: the response goes through an instrumented client, whose span tells the cost; then the same
span, once as it is and once without its cost, arrives at the backend.
"""

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from conformance.pricing_corpus import Case, cases, work_out
from support.span_log import Spans
from tokentrail.backend.ingest.normalise import normalise
from tokentrail.backend.receiver.decode import Encoding, decode
from tokentrail.backend.row import Row
from tokentrail.instrumentation import TokentrailInstrumentor
from tokentrail.instrumentation.config import Config
from tokentrail.semconv import pricing

CASES = cases()
_OWN_COST = ("gen_ai.usage.cost", "tokentrail.cost.", "tokentrail.pricing.")
_KEPT = "tokentrail.pricing.model"
"""Not the answer but a part of the question: which model to price the call as."""
LEAST_CASES = 200


@pytest.fixture(scope="module")
def spans() -> Iterator[Spans]:
    log = Spans()
    TokentrailInstrumentor().instrument(tracer_provider=log.provider, config=Config())
    yield log
    TokentrailInstrumentor().uninstrument()
    log.shutdown()


@pytest.fixture
def price_file(tmp_path: Path) -> Iterator[Path]:
    """A path for a price file, which is out of force after the test."""
    yield tmp_path / "prices.toml"
    pricing.use_price_file(None)


def _call(case: Case, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> ReadableSpan:
    """The span of the call, made at the time of the case."""
    before = len(spans.all())  # in the order in which they end, where calls() has that of the case
    is_stream = case.response.startswith(("data:", "event:"))
    headers = {"content-type": "text/event-stream" if is_stream else "application/json", **case.response_headers}

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=headers, content=case.response.encode())

    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: case.at_ns)
        with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
            client.post(case.url, json=case.request)
        made = spans.all()[before:]
    assert len(made) == 1, [span.name for span in made]
    return made[0]


def _row(span: ReadableSpan, *, with_cost: bool) -> Row:
    """The row that the backend makes of `span`."""
    request = encode_spans([span])
    (encoded,) = request.resource_spans[0].scope_spans[0].spans
    if not with_cost:
        kept = [each for each in encoded.attributes if each.key == _KEPT or not each.key.startswith(_OWN_COST)]
        del encoded.attributes[:]
        encoded.attributes.extend(kept)
    (row,) = normalise(decode(request.SerializeToString(), Encoding.PROTOBUF).spans)
    return row


def test_there_are_enough_cases_and_none_is_like_another() -> None:
    seen = [(case.url, str(case.request), case.response, case.at_ns, case.prices) for case in CASES]

    assert len(CASES) >= LEAST_CASES
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_both_sides_agree(case: Case, spans: Spans, price_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.prices:
        price_file.write_text(case.prices, "utf-8")
        pricing.use_price_file(price_file)

    span = _call(case, spans, monkeypatch)
    told: dict[str, Any] = dict(span.attributes or {})
    rows = [_row(span, with_cost=True)]
    if case.source != "provider":  # what a provider reported is nowhere but in the cost itself
        rows.append(_row(span, with_cost=False))

    assert told.get("tokentrail.pricing.status") == case.status
    assert told.get("gen_ai.usage.cost") == (None if case.usd is None else float(case.usd))
    assert [row.pricing_status for row in rows] == [case.status] * len(rows)
    assert [row.cost_usd for row in rows] == [case.usd] * len(rows)
    if case.usd is None:
        return
    for row in rows:
        assert sum(row.cost_components.values(), Decimal()) == (case.usd if row.cost_components else 0)
        if case.components:
            assert dict(row.cost_components) == dict(case.components)
        assert row.cost_source == case.source
        assert (row.price_entry, row.pricing_tier) == (case.entry, case.tier)
        assert set(row.pricing_assumptions) == case.assumptions


@pytest.mark.parametrize(
    ("formula", "value"), [("1000 * 2.5 / 1e6", "0.0025"), ("(1000 - 200) * 0.1 / 1e6 + 3 / 1e6", "0.000083")]
)
def test_a_formula_is_worked_out_exactly(formula: str, value: str) -> None:
    assert work_out(formula) == Decimal(value)


@pytest.mark.parametrize("formula", ["__import__('os')", "1 if 2 else 3", "2 ** 3", "x", "'1' + '2'"])
def test_what_is_no_formula_is_refused(formula: str) -> None:
    with pytest.raises(ValueError, match="is no formula"):
        work_out(formula)
