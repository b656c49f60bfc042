"""`/api/reprice` of a real backend: who may have it change something, and what its metrics then say."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from support import otlp
from support.backend_process import Answer, BackendProcess, http_request

PRICES = 'schema = 1\nprice = [ {{ provider = "acme", model = "one", input = "{}", output = "0" }} ]\n'
CONFIRM = {"tokentrail-confirm": "reprice"}


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prices") / "prices.toml"
    path.write_text(PRICES.format(2))
    return path


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, prices: Path) -> Iterator[BackendProcess]:
    environment = {"TOKENTRAIL_PRICES": str(prices)}
    with BackendProcess(tmp_path_factory.mktemp("reprice") / "data", environment) as backend:
        yield backend


def reprice(backend: BackendProcess, method: str, headers: dict[str, str] | None = None, **params: str) -> Answer:
    return http_request(f"{backend.http}/api/reprice?{urlencode(params)}", None, headers, method)


def store_a_call(backend: BackendProcess) -> None:
    attributes: dict[str, object] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "one",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 0,
    }
    assert backend.post_traces(otlp.body(otlp.span(attributes))).status == 200


def test_a_stored_cost_is_corrected_after_its_price_was(backend: BackendProcess, prices: Path) -> None:
    store_a_call(backend)
    prices.write_text(PRICES.format("2.5000"))  # another size, so that it is seen within the same tick of the clock
    shown: dict[str, Any] = {"changes": 0}
    deadline_s = time.monotonic() + 20
    while not shown["changes"]:  # the file is looked at now and then
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
        shown = json.loads(reprice(backend, "GET", since="1970-01-02").body, parse_float=Decimal)
    window = {"since": shown["since"], "until": shown["until"], "expect": shown["digest"]}

    done = reprice(backend, "POST", CONFIRM, **window)

    assert done.status == 200, done.body
    (row,) = (json.loads(json.dumps(each), parse_float=Decimal) for each in backend.requests())
    assert row["cost_usd"] == Decimal("0.0025")
    labels = {"gen_ai_provider_name": "acme", "gen_ai_request_model": "one"}
    assert backend.metric("tokentrail_corrected_requests_total", **labels) == 1
    increase = backend.metric("tokentrail_cost_correction_usd_total", **labels, direction="increase")
    assert increase == pytest.approx(0.0005)
    assert backend.metric("tokentrail_cost_correction_usd_total", direction="decrease") == 0


@pytest.mark.parametrize("headers", [{}, {"tokentrail-confirm": "yes"}, {"content-type": "text/plain"}])
def test_a_page_of_another_site_cannot_have_it_change_anything(
    backend: BackendProcess, headers: dict[str, str]
) -> None:
    answer = reprice(backend, "POST", headers, since="1970-01-02", until="2030-01-01", expect="x")

    assert answer.status == 403
    assert b"Tokentrail-Confirm: reprice" in answer.body


def test_a_browser_that_asks_whether_the_header_may_be_sent_is_not_told_so(backend: BackendProcess) -> None:
    ask = {"origin": "http://evil.example", "access-control-request-headers": "tokentrail-confirm"}

    answer = reprice(backend, "OPTIONS", {**ask, "access-control-request-method": "POST"})

    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4318", "127.0.0.1.evil.example", "192.0.2.7", "[::", ""]
)
@pytest.mark.parametrize("path", ["/api/requests", "/api/totals", "/api/reprice?since=1h"])
def test_a_name_that_was_made_to_point_here_gets_nothing(backend: BackendProcess, host: str, path: str) -> None:
    answer = http_request(backend.http + path, headers={"host": host})

    assert answer.status == 403
    assert b"Host header" in answer.body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "localhost.", "127.0.0.1:4318", "127.0.0.9", "[::1]:80"])
def test_names_of_this_machine_are_answered(backend: BackendProcess, host: str) -> None:
    assert http_request(f"{backend.http}/api/totals", headers={"host": host}).status == 200


def test_other_paths_do_not_ask_for_the_host(backend: BackendProcess) -> None:
    assert http_request(f"{backend.http}/healthz", headers={"host": "backend.internal"}).status == 200
    assert http_request(f"{backend.http}/metrics", headers={"host": "backend.internal"}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/totals", "GET, HEAD"),
        ("DELETE", "/api/reprice", "GET, HEAD, POST"),
        ("PUT", "/api/x", "GET, HEAD"),
    ],
)
def test_other_methods_are_refused(backend: BackendProcess, method: str, path: str, allowed: str) -> None:
    answer = http_request(backend.http + path, headers=CONFIRM, method=method)

    assert (answer.status, answer.headers["allow"]) == (405, allowed)


def test_errors_are_json_with_their_status(backend: BackendProcess) -> None:
    answer = reprice(backend, "POST", CONFIRM, since="1970-01-02", until="1970-01-03", expect="0" * 32)

    assert answer.status == 409
    assert "look at it again" in answer.json()["error"]
