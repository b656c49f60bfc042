"""The SDKs of Google, AWS, Ollama, Mistral and Cohere: the same results and requests as without us, one span a call.

Each drives every recorded exchange that it has a method for, in every way in which it can be used, once as it is and
once under `opentelemetry-instrument`. What the SDKs themselves read from the responses also checks our second reading.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from conformance import comparison as comparing
from conformance import vendor_worker
from conformance.comparison import Call, Comparison, listed
from support import expected, replay_server, sdk_versions, wire
from support.backend_process import BackendProcess
from support.expected import Expected

CASES: Final = [
    pytest.param((sdk, shell), id=f"{sdk.label}-{shell}")
    for sdk in sdk_versions.OTHERS
    for shell in vendor_worker.SHELLS[sdk.name]
]

_TELLING: Final = frozenset({"bedrock-runtime.us-east-1.amazonaws.com"})
"""Hosts whose SDK says in a header, `amz-sdk-request`, which attempt a request is."""


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    wire.require()
    with BackendProcess(tmp_path_factory.mktemp("backend")) as process:
        yield process


@pytest.fixture(scope="module", params=CASES)
def comparison(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backend: BackendProcess
) -> Iterator[Comparison]:
    sdk, shell = request.param
    exchanges = [exchange for exchange in wire.require() if vendor_worker.is_drivable(exchange, sdk.name, shell)]
    assert exchanges
    try:
        python_path = sdk_versions.python_path(sdk)
    except sdk_versions.InstallError as error:
        pytest.skip(str(error))
    with replay_server.serving(exchanges) as server:
        yield comparing.compare(
            Path(vendor_worker.__file__),
            sdk.name,
            shell,
            service=f"{sdk.label}-{shell}",
            exchanges=exchanges,
            server=server,
            backend=backend,
            python_path=python_path,
            directory=tmp_path_factory.mktemp("vendor"),
        )


def test_vendors_application_gets_the_same_with_and_without_instrumentation(comparison: Comparison) -> None:
    problems = comparing.unlike_outcomes(comparison)

    assert not problems, listed(problems)
    assert len(comparison.plain) == len(comparison.instrumented) == len(comparison.exchanges)


def test_vendors_sdk_raises_where_an_error_was_recorded_and_nowhere_else(comparison: Comparison) -> None:
    problems = [
        f"{comparison.label(call)}: {outcome['outcome']}"
        for call, outcome in comparison.plain.items()
        if ("exception" in outcome["outcome"]) != (comparison.exchanges[call[0]].status >= 400)
    ]

    assert not problems, listed(problems)


def test_second_reading_agrees_with_what_the_vendors_sdk_reads(comparison: Comparison) -> None:
    problems, compared = [], 0
    for call, outcome in comparison.plain.items():
        reading = _facts(expected.read(comparison.exchanges[call[0]]))
        for name, value in (outcome["view"] or {}).items():
            compared += 1
            if reading[name] != value:
                problems.append(f"{comparison.label(call)}: {name} is {reading[name]!r}, the SDK reads {value!r}")

    assert not problems, listed(problems)
    assert compared


def test_vendor_receives_the_same_requests(comparison: Comparison) -> None:
    names = {
        (key, ""): {run: vendor_worker.call_name(run, exchange) for run in comparing.RUNS}
        for key, exchange in comparison.exchanges.items()
    }

    problems = comparing.unlike_requests(comparison, names)

    assert not problems, listed(problems)


def test_every_vendors_call_is_one_billable_span_that_says_what_was_recorded(comparison: Comparison) -> None:
    problems = comparing.wrong_spans(comparison, _readings(comparison))

    assert not problems, listed(problems)
    assert sum(map(len, comparison.spans.values())) == len(comparison.instrumented)


def test_every_vendors_call_is_one_row_that_says_what_was_recorded(comparison: Comparison) -> None:
    problems = comparing.wrong_rows(comparison, _readings(comparison))

    assert not problems, listed(problems)
    assert sum(map(len, comparison.rows.values())) == len(comparison.instrumented)


def test_no_credential_of_a_vendor_is_exported(comparison: Comparison) -> None:
    leaks = [span.name for span in comparison.all_spans if vendor_worker.SECRET in repr(span)]

    assert not leaks


def _readings(comparison: Comparison) -> Mapping[Call, Expected]:
    # Of these SDKs only AWS's tells the attempt.
    return {
        (key, ""): comparing.reading_of(exchange, retry_count=0 if exchange.host in _TELLING else None)
        for key, exchange in comparison.exchanges.items()
    }


def _facts(reading: Expected) -> dict[str, object]:
    """The reading by the names that a worker's view uses."""
    return {
        "response_model": reading.response_model,
        "response_id": reading.response_id,
        "input_tokens": reading.input_tokens,
        "output_tokens": reading.output_tokens,
        "text": "".join(choice.text for choice in reading.choices),
        "tools": [call.name for choice in reading.choices for call in choice.tool_calls],
    }
