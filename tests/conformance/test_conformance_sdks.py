"""The SDKs of OpenAI and Anthropic, with and without instrumentation: the same results and requests, one span a call.

Each version drives every recorded exchange that it has a method for, through the plain method, `with_raw_response` and
`with_streaming_response`, synchronously and asynchronously; once as it is and once under `opentelemetry-instrument`.
The current versions do so over aiohttp as well, through the transport that they bring: there both httpx2 and aiohttp
see the call, and it counts once.

The older versions take their asynchronous turn with the `slow` tests: their clients are httpx's, which
`test_conformance_recorded` drives asynchronously, and their synchronous turn shows what is the SDK's own.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from conformance import comparison as comparing
from conformance import sdk_worker
from conformance.comparison import Call, Comparison, listed
from support import replay_server, sdk_versions, wire
from support.backend_process import BackendProcess
from support.expected import Expected
from support.wire import Exchange

CASES: Final = [
    pytest.param(
        (sdk, shell), id=f"{sdk.label}-{shell}", marks=[pytest.mark.slow] if sdk.version and shell == "async" else []
    )
    for sdk in sdk_versions.SDKS
    for shell in (("sync", "async") if sdk.version else ("sync", "async", "aiohttp"))
]


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
    exchanges = [e for e in wire.require() if sdk_worker.is_drivable(e, sdk.name, sdk.http_library)]
    try:
        python_path = sdk_versions.python_path(sdk)
    except sdk_versions.InstallError as error:
        pytest.skip(str(error))
    with replay_server.serving(exchanges) as server:
        yield comparing.compare(
            Path(sdk_worker.__file__),
            sdk.name,
            sdk.http_library,
            shell,
            service=f"{sdk.label}-{shell}",
            exchanges=exchanges,
            server=server,
            backend=backend,
            python_path=python_path,
            directory=tmp_path_factory.mktemp("sdk"),
        )


def test_application_gets_the_same_with_and_without_instrumentation(comparison: Comparison) -> None:
    problems = comparing.unlike_outcomes(comparison)

    assert not problems, listed(problems)
    assert len(comparison.plain) == len(comparison.instrumented) == len(comparison.exchanges) * len(sdk_worker.WAYS)


def test_sdk_can_use_what_was_recorded(comparison: Comparison) -> None:
    """Without instrumentation, so that a worker that cannot drive the SDK does not pass by failing twice alike."""
    problems = [
        f"{comparison.label((key, way))}: {outcome['outcome']}"
        for (key, way), outcome in comparison.plain.items()
        if ("exception" in outcome["outcome"]) != _is_refused(comparison.exchanges[key], way)
    ]

    assert not problems, listed(problems)


def test_provider_receives_the_same_requests(comparison: Comparison) -> None:
    names = {
        (key, way): {run: sdk_worker.call_name(run, exchange, way) for run in comparing.RUNS}
        for key, exchange in comparison.exchanges.items()
        for way in sdk_worker.WAYS
    }

    problems = comparing.unlike_requests(comparison, names)

    assert not problems, listed(problems)


def test_every_call_is_one_billable_span_that_says_what_was_recorded(comparison: Comparison) -> None:
    problems = comparing.wrong_spans(comparison, _readings(comparison))

    assert not problems, listed(problems)
    assert sum(map(len, comparison.spans.values())) == len(comparison.instrumented)


def test_every_call_is_one_row_that_says_what_was_recorded(comparison: Comparison) -> None:
    problems = comparing.wrong_rows(comparison, _readings(comparison))

    assert not problems, listed(problems)
    assert sum(map(len, comparison.rows.values())) == len(comparison.instrumented)


def test_no_credential_is_exported(comparison: Comparison) -> None:
    leaks = [span.name for span in comparison.all_spans if sdk_worker.SECRET in repr(span)]

    assert not leaks


def _readings(comparison: Comparison) -> Mapping[Call, Expected]:
    by_key = {key: comparing.reading_of(it, retry_count=0) for key, it in comparison.exchanges.items()}
    return {(key, way): reading for key, reading in by_key.items() for way in sdk_worker.WAYS}


def _is_refused(exchange: Exchange, way: str) -> bool:
    """Errors raise in every way; a success without a body only where the SDK parses it."""
    return exchange.status >= 400 or (not exchange.response_body and way != "streaming")
