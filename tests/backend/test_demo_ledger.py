"""The ledger: its sums, its bound, and that it says of streams and faults what the client was told."""

import asyncio
import socket
import time
from dataclasses import asdict

import anthropic
import openai
import pytest

from support.local_provider import FAST, Served, events, serve
from tokentrail.backend.demo.provider import LocalProvider, ServedProvider, Settings
from tokentrail.backend.demo.provider import ledger as ledger_module
from tokentrail.backend.demo.provider.ledger import CUT, ERROR, SENT, Ledger, Told, Totals
from tokentrail.backend.demo.provider.models import MODELS, Model
from tokentrail.semconv.cost import Call, Cost, price
from tokentrail.semconv.usage import Usage


def _enter(ledger: Ledger, model: str, told: Told, outcome: str = SENT) -> None:
    number = ledger.begin(
        provider="openai", endpoint="/v1/x", model=model, stream=False, request_id=f"r-{model}", tagged=()
    )
    ledger.answer(number, 200, "id")
    ledger.tell(number, told)
    ledger.end(number, outcome, "oops" if outcome == ERROR else "")


def test_totals_are_the_sums_of_the_entries_by_model() -> None:
    ledger = Ledger()
    _enter(ledger, "a", Told(10, 5, cached_tokens=4, reasoning_tokens=1))
    _enter(ledger, "a", Told(7, 0), CUT)
    _enter(ledger, "b", Told(), ERROR)

    totals = ledger.totals()

    assert totals["openai", "a"] == Totals(
        requests=2, cut=1, input_tokens=17, output_tokens=5, cached_tokens=4, reasoning_tokens=1
    )
    assert totals["openai", "b"] == Totals(requests=1, errors=1)
    grand = ledger.document()["totals"]
    assert grand == asdict(totals["openai", "a"].plus(totals["openai", "b"]))


def test_a_later_usage_of_a_stream_replaces_the_earlier_one() -> None:
    ledger = Ledger()
    number = ledger.begin(provider="anthropic", endpoint="/", model="m", stream=True, request_id="r", tagged=())

    ledger.tell(number, Told(10, 1))
    ledger.tell(number, Told(10, 30))

    assert ledger.totals()["anthropic", "m"].output_tokens == 30


def test_totals_go_on_counting_when_old_entries_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_ENTRIES", 3)
    ledger = Ledger()

    for _ in range(5):
        _enter(ledger, "a", Told(2, 1))

    assert [entry.number for entry in ledger.entries()] == [3, 4, 5]
    assert ledger.totals()["openai", "a"] == Totals(requests=5, input_tokens=10, output_tokens=5)


def test_the_ledger_says_what_the_clients_were_told() -> None:
    with serve() as served:
        told = _talk(served)
        totals = served.totals()
        document = served.ledger()

    assert (totals["requests"], totals["errors"], totals["open"]) == (4, 1, 0)
    assert (totals["input_tokens"], totals["output_tokens"]) == told
    assert {entry["model"]: entry["status"] for entry in document["entries"]}["nobody"] == 404
    by_model = {(row["provider"], row["model"]): row["requests"] for row in document["models"]}
    assert by_model == {
        ("openai", "gpt-4o"): 1,
        ("openai", "nobody"): 1,
        ("openai", "text-embedding-3-small"): 1,
        ("anthropic", "claude-haiku-4-5"): 1,
    }


def _talk(served: Served) -> tuple[int, int]:
    chat = served.gpt.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    vectors = served.gpt.embeddings.create(model="text-embedding-3-small", input="Hello")
    message = served.claude.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
    )
    with pytest.raises(openai.NotFoundError):
        served.gpt.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "Hello"}])
    assert chat.usage is not None
    return (
        chat.usage.prompt_tokens + vectors.usage.prompt_tokens + message.usage.input_tokens,
        chat.usage.completion_tokens + message.usage.output_tokens,
    )


def test_a_stream_that_the_client_leaves_is_entered_as_cut_and_without_a_usage() -> None:
    with serve(Settings(speed=2)) as served:
        with served.gpt.chat.completions.create(
            model="gpt-5.4-mini",
            messages=[{"role": "user", "content": "Go"}],
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            next(iter(stream))
        deadline = time.monotonic() + 5
        while served.totals()["open"] and time.monotonic() < deadline:
            time.sleep(0.01)
        totals = served.totals()

    assert (totals["requests"], totals["cut"], totals["errors"], totals["output_tokens"]) == (1, 1, 0, 0)


def test_metadata_headers_that_arrive_are_named_without_their_values() -> None:
    with serve() as served:
        served.post("/v1/chat/completions", {}, **{"Helicone-User-Id": "lovelace", "x-other": "b"})
        entry = served.ledger()["entries"][0]

    assert entry["tagged_headers"] == ["helicone-user-id"]
    assert "lovelace" not in str(entry)


def test_the_same_seed_gives_the_same_words_and_another_seed_others() -> None:
    texts = []
    for seed in (1, 1, 2):
        with serve(Settings(seed=seed, speed=200)) as served:
            answer = served.gpt.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Go"}])
            texts.append((answer.choices[0].message.content, answer.id))

    assert texts[0][0] == texts[1][0]
    assert texts[0][0] != texts[2][0]
    assert texts[0][1] != texts[1][1]


def test_faults_come_at_about_the_rate_that_was_set_and_with_a_delay_to_retry_after() -> None:
    with serve(Settings(speed=1000, fault_rate=0.5)) as served:
        responses = [
            served.post("/v1/responses", {"model": "gpt-4o", "input": f"{number}", "max_output_tokens": 3})
            for number in range(60)
        ]
        errors = served.totals()["errors"]

    statuses = [response.status_code for response in responses]
    assert set(statuses) == {200, 429, 500}
    assert errors == 60 - statuses.count(200)
    assert 15 <= errors <= 45
    limited = next(response for response in responses if response.status_code == 429)
    assert int(limited.headers["retry-after"]) >= 1
    assert int(limited.headers["retry-after-ms"]) >= 1
    assert limited.json()["error"]["code"] == "rate_limit_exceeded"


def test_an_overloaded_provider_breaks_a_stream_that_has_begun() -> None:
    with serve(Settings(speed=1000, fault_rate=1)) as served:
        broken = None
        for number in range(20):
            body = {
                "model": "claude-haiku-4-5",
                "max_tokens": 50,
                "messages": [{"role": "user", "content": f"{number}"}],
                "stream": True,
            }
            response = served.post("/v1/messages", body)
            if response.status_code == 200:
                broken = events(response.text)
                break
        entry = served.ledger()["entries"][-1]

    assert broken is not None
    assert broken[0][0] == "message_start"
    assert broken[-1][0] == "error"
    assert "overloaded_error" in str(broken[-1][1])
    assert (entry["status"], entry["outcome"], entry["error"]) == (200, ERROR, "overloaded_error")
    # What message_start told, and no more.
    assert entry["output_tokens"] == 1


def test_the_sdk_retries_what_the_provider_limits() -> None:
    with serve(Settings(speed=1000, fault_rate=0.5, seed=3)) as served:
        client = anthropic.Anthropic(api_key="k", base_url=served.url, max_retries=8)
        with client:
            answer = client.messages.create(
                model="claude-haiku-4-5", max_tokens=20, messages=[{"role": "user", "content": "Retry"}]
            )
        totals = served.totals()

    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert totals["errors"] == totals["requests"] - 1


def test_tokens_come_at_the_pace_of_a_real_provider() -> None:
    body = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "Go"}], "max_tokens": 20, "stream": True}
    with serve(Settings(speed=1)) as served:
        started = time.monotonic()
        with served.http.stream("POST", "/v1/chat/completions", json=body, headers={"authorization": "Bearer k"}) as r:
            arrived = [(time.monotonic() - started, line) for line in r.iter_lines() if "obfuscation" in line]

    first_chunk_s = arrived[0][0]
    first_token_s = next(at for at, line in arrived if '"delta":{"content":"' in line)
    last_s = arrived[-1][0]
    assert first_chunk_s < first_token_s
    # The ranges of the model, with room above for a busy machine.
    assert 0.08 <= first_token_s < 1.0
    assert 19 / 60 <= last_s - first_token_s < 19 / 40 + 1.0


@pytest.mark.parametrize("settings", [{"speed": 0.0}, {"speed": 5000.0}, {"fault_rate": 1.5}, {"fault_rate": -0.1}])
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Settings(**settings)  # type: ignore[arg-type]  # the seed is not among them


def test_a_taken_port_is_an_error_and_leaves_nothing_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = ServedProvider(FAST, taken.getsockname()[1])

        with pytest.raises(OSError, match="in use"):
            served.__enter__()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.alias)
def test_every_model_on_offer_has_a_list_price(model: Model) -> None:
    for name in (model.alias, model.snapshot):
        cost = price(Call(model.provider, (name,), Usage(1000, 0), time.time_ns()))

        assert isinstance(cost, Cost)
        assert cost.total_usd > 0


def test_the_application_answers_http_only() -> None:
    async def never() -> dict[str, object]:
        raise AssertionError

    async def sink(event: object) -> None:
        raise AssertionError

    asyncio.run(LocalProvider()({"type": "websocket"}, never, sink))
