"""Google's endpoints: where they are, what is none, and what goes from them to the span."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from support.http_shells import Shell, run
from support.span_log import Spans, attributes
from support.sse_server import Reply, SseServer, json_reply, sse_reply
from tokentrail.instrumentation.body import BodyReader
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire import (
    ANTHROPIC_MESSAGES,
    GEMINI_EMBEDDINGS,
    GEMINI_GENERATE_CONTENT,
    GEMINI_INTERACTIONS,
    IMAGEN_PREDICT,
    OPENAI_CHAT,
    endpoints,
)
from tokentrail.instrumentation.wire._base import Response, WireFormat
from tokentrail.semconv import cost, finish
from tokentrail.semconv.usage import Usage

GEMINI: Final = "generativelanguage.googleapis.com"
VERTEX: Final = "us-central1-aiplatform.googleapis.com"
PROJECT: Final = "/v1/projects/p/locations/us-central1"
CONTENTS: Final = {"contents": [{"parts": [{"text": "Hi"}]}]}
CONTENT: Final = {"content": {"parts": [{"text": "Hi"}]}}
TEXTS: Final = {"instances": [{"content": "Hi"}]}
PROMPTS: Final = {"instances": [{"prompt": "Hi"}]}
MESSAGES: Final = {"anthropic_version": "vertex-2023-10-16", "messages": [], "max_tokens": 1}
CHAT: Final = {"model": "m", "messages": []}

ENDPOINTS: Final[list[tuple[str, str, Mapping[str, object], WireFormat, str, bool]]] = [
    (GEMINI, "/v1beta/models/m-1:generateContent", CONTENTS, GEMINI_GENERATE_CONTENT, "m-1", False),
    (GEMINI, "/v1beta/models/m-1:streamGenerateContent", CONTENTS, GEMINI_GENERATE_CONTENT, "m-1", True),
    (GEMINI, "/v1beta/tunedModels/mine:generateContent", CONTENTS, GEMINI_GENERATE_CONTENT, "mine", False),
    (GEMINI, "/v1beta/models/m:embedContent", CONTENT, GEMINI_EMBEDDINGS, "m", False),
    (GEMINI, "/v1beta/models/m:batchEmbedContents", {}, GEMINI_EMBEDDINGS, "m", False),
    (GEMINI, "/v1beta/models/imagen-4:predict", PROMPTS, IMAGEN_PREDICT, "imagen-4", False),
    (GEMINI, "/v1beta/interactions", {"model": "m", "input": "Hi"}, GEMINI_INTERACTIONS, "m", False),
    (GEMINI, "/v1beta/openai/chat/completions", CHAT, OPENAI_CHAT, "m", False),
    *(
        (host, f"{prefix}/publishers/google/models/m:{method}", body, wire, "m", streams)
        for host, prefix in (
            (VERTEX, PROJECT),
            ("aiplatform.googleapis.com", PROJECT),
            ("aiplatform.googleapis.com", "/v1"),  # express mode
            ("aiplatform.eu.rep.googleapis.com", PROJECT),
        )
        for method, body, wire, streams in (
            ("generateContent", CONTENTS, GEMINI_GENERATE_CONTENT, False),
            ("streamGenerateContent", CONTENTS, GEMINI_GENERATE_CONTENT, True),
            ("embedContent", CONTENT, GEMINI_EMBEDDINGS, False),
            ("predict", TEXTS, GEMINI_EMBEDDINGS, False),
            ("predict", PROMPTS, IMAGEN_PREDICT, False),
        )
    ),
    (VERTEX, f"{PROJECT}/endpoints/123:generateContent", CONTENTS, GEMINI_GENERATE_CONTENT, "123", False),
    (VERTEX, f"{PROJECT}/endpoints/openapi/chat/completions", CHAT, OPENAI_CHAT, "m", False),
    (VERTEX, f"{PROJECT}/publishers/anthropic/models/c@1:rawPredict", MESSAGES, ANTHROPIC_MESSAGES, "c@1", False),
    (VERTEX, f"{PROJECT}/publishers/anthropic/models/c@1:streamRawPredict", MESSAGES, ANTHROPIC_MESSAGES, "c@1", True),
    (VERTEX, f"{PROJECT}/publishers/mistralai/models/mm:rawPredict", CHAT, OPENAI_CHAT, "mm", False),
    (VERTEX, f"{PROJECT}/publishers/mistralai/models/mm:streamRawPredict", CHAT, OPENAI_CHAT, "mm", True),
]


@pytest.mark.parametrize(("host", "path", "body", "wire", "model", "streams"), ENDPOINTS)
def test_an_endpoint_is_found_by_its_path(
    host: str, path: str, body: Mapping[str, object], wire: WireFormat, model: str, streams: bool
) -> None:
    found = endpoints.match(host, 443, path, json.dumps(body).encode())

    assert found is not None
    assert (found.wire, found.model, found.stream) == (wire, model, streams)
    assert found.provider == ("gcp.gemini" if host == GEMINI else "gcp.vertex_ai")


@pytest.mark.parametrize(
    ("host", "path", "body"),
    [
        (GEMINI, "/v1beta/models/m:countTokens", CONTENTS),
        (GEMINI, "/v1beta/cachedContents", {"model": "models/m", **CONTENTS}),
        (GEMINI, "/v1beta/models/m:batchGenerateContent", {}),
        (GEMINI, "/v1beta/models/veo:predictLongRunning", PROMPTS),
        (GEMINI, "/v1beta/interactions/v1_1/cancel", {}),
        (VERTEX, f"{PROJECT}/publishers/google/models/m:countTokens", CONTENTS),
        (VERTEX, f"{PROJECT}/publishers/google/models/m:computeTokens", CONTENTS),
        (VERTEX, f"{PROJECT}/publishers/anthropic/models/count-tokens:rawPredict", MESSAGES),
        (VERTEX, f"{PROJECT}/publishers/google/models/classifier:predict", {"instances": [{"x": 1.5}]}),
        (VERTEX, f"{PROJECT}/publishers/google/models/classifier:predict", {"instances": []}),
        (VERTEX, f"{PROJECT}/endpoints/123:predict", TEXTS),
        (VERTEX, f"{PROJECT}/endpoints/123:rawPredict", {}),
        ("app.example.com", "/v1/models/m:generateContent", {"contents": ["a"]}),
        ("app.example.com", "/v1/models/m:generateContent", {"contents": []}),
        ("app.example.com", "/v1/models/m:embedContent", {"content": "text"}),
        ("app.example.com", "/v1/models/m:batchEmbedContents", {"requests": [{"id": 1}]}),
        ("app.example.com", "/interactions", {"model": "m", "user": 1}),
        ("app.example.com", "/interactions", {"input": "text"}),
    ],
)
def test_what_only_looks_like_an_endpoint_is_none(host: str, path: str, body: Mapping[str, object]) -> None:
    assert endpoints.match(host, 443, path, json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    ("path", "body", "wire"),
    [
        ("/v1beta/models/m:generateContent", CONTENTS, GEMINI_GENERATE_CONTENT),
        ("/gemini/v1beta/models/m:embedContent", CONTENT, GEMINI_EMBEDDINGS),
        ("/v1beta/interactions", {"agent": "a", "input": []}, GEMINI_INTERACTIONS),
        ("/publishers/anthropic/models/m:rawPredict", MESSAGES, ANTHROPIC_MESSAGES),
    ],
)
def test_a_gateway_is_known_by_the_body(path: str, body: Mapping[str, object], wire: WireFormat) -> None:
    found = endpoints.match("gateway.internal", 8080, path, json.dumps(body).encode())

    assert found is not None
    assert (found.wire, found.provider) == (wire, "self_hosted")


FINISH_REASONS: Final = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT "
    "IMAGE_RECITATION MODEL_ARMOR",
    "error": "MALFORMED_FUNCTION_CALL MALFORMED_RESPONSE UNEXPECTED_TOOL_CALL MISSING_THOUGHT_SIGNATURE",
}


@pytest.mark.parametrize(("word", "reasons"), FINISH_REASONS.items())
def test_geminis_finish_reasons_have_the_words_of_the_conventions(word: str, reasons: str) -> None:
    assert {finish.canonical(reason) for reason in reasons.split()} == {word}


# Streams -------------------------------------------------------------------------------------------------------


def _events(count: int) -> list[dict[str, object]]:
    """`count` pieces of text, the last of which ends the answer; the prompt is counted anew in it, as it happens."""
    events: list[dict[str, object]] = []
    for number in range(1, count + 1):
        last = number == count
        candidate: dict[str, object] = {"content": {"parts": [{"text": f"w{number} "}], "role": "model"}, "index": 0}
        if last:
            candidate["finishReason"] = "STOP"
        usage = {"promptTokenCount": 14 if last else 15, "candidatesTokenCount": number, "totalTokenCount": 15 + number}
        events.append({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"})
    return events


def _read(events: list[dict[str, object]], *, keep_content: bool) -> Response:
    reader = GEMINI_GENERATE_CONTENT.reader(keep_content)
    for event in events:
        reader.feed_event(Event("", json.dumps(event).encode()))
    return reader.result()


@pytest.mark.parametrize("read", range(1, 7))
def test_a_stream_says_the_same_with_and_without_content_wherever_it_ends(read: int) -> None:
    events = _events(6)[:read]

    with_content, without = _read(events, keep_content=True), _read(events, keep_content=False)

    assert with_content.usage == without.usage == Usage(input_tokens=14 if read == 6 else 15, output_tokens=read)
    assert with_content.finish_reasons == without.finish_reasons == (["stop"] if read == 6 else [])
    assert with_content.complete == without.complete == (read == 6)
    assert with_content.output[0]["parts"] == [{"type": "text", "content": "".join(f"w{n + 1} " for n in range(read))}]


def test_an_end_is_not_missed_in_a_text_that_speaks_of_it() -> None:
    events = _events(3)
    events[1]["candidates"] = [{"content": {"parts": [{"text": '"finishReason": "SAFETY", "error": {}, "index": 7'}]}}]

    assert _read(events, keep_content=False).finish_reasons == ["stop"]
    assert _read(events[:2], keep_content=False).error is None
    assert _read(events[:2], keep_content=False).finish_reasons == []


@pytest.mark.parametrize("keep_content", [True, False])
def test_a_candidate_that_never_finished_is_told_beside_one_that_did(keep_content: bool) -> None:
    events = _events(2)
    other = {**events[0], "candidates": [{"content": {"parts": [{"text": "b"}]}, "index": 1}]}

    response = _read([events[0], other, events[1]], keep_content=keep_content)

    assert response.finish_reasons == ["stop", "error"]
    assert not response.complete


def test_the_usage_of_an_interaction_is_not_passed_over_with_its_text() -> None:
    def delta(**more: object) -> bytes:
        data = {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "x"}, **more}
        return b"event: step.delta\ndata: " + json.dumps(data).encode() + b"\n\n"

    usage = {"metadata": {"usage": {"total_input_tokens": 9, "total_output_tokens": 4}}}
    reader = BodyReader(GEMINI_INTERACTIONS.reader(False), "text/event-stream", "", 10_000)
    for piece in (b": hello\n\n", delta(), delta(), delta(**usage), delta()):
        reader.feed(0, piece)

    assert reader.finish(0).usage == Usage(input_tokens=9, output_tokens=4)


def test_without_content_an_event_of_text_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    name = "tokentrail.instrumentation.wire.gemini_generate_content.parse"

    def parse(data: bytes) -> object:
        parsed.append(data)
        return json.loads(data)

    monkeypatch.setattr(name, parse)

    response = _read(_events(50), keep_content=False)

    assert len(parsed) == 2
    assert response.usage.output_tokens == 50


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=UTF-8", ""])
def test_an_array_is_a_stream_where_the_endpoint_streams_and_else_a_document(content_type: str) -> None:
    body = json.dumps(_events(3)).encode()

    def read(streams: bool) -> BodyReader:
        reader = BodyReader(GEMINI_GENERATE_CONTENT.reader(False), content_type, "", 10_000, streams=streams)
        for at in range(len(body)):
            reader.feed(at, body[at : at + 1])
        return reader

    stream, document = read(streams=True), read(streams=False)

    assert stream.is_stream
    assert stream.finish(0).usage.output_tokens == 3
    assert stream.first_token_ticks == stream.first_chunk_ticks == len(json.dumps(_events(3)[0]))
    assert not document.is_stream


def test_a_stream_longer_than_the_limit_of_documents_is_read() -> None:
    body = json.dumps(_events(400)).encode()
    reader = BodyReader(GEMINI_GENERATE_CONTENT.reader(False), "application/json", "", 1_000, streams=True)

    for at in range(0, len(body), 100):
        reader.feed(at, body[at : at + 100])

    assert reader.finish(0).usage.output_tokens == 400
    assert reader.problem == ""


# On the span ---------------------------------------------------------------------------------------------------

ANSWER: Final = {
    "candidates": [{"content": {"parts": [{"text": "Hey"}], "role": "model"}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 60, "thoughtsTokenCount": 40},
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r1",
}
KEY: Final = "AIza" + "Sy0123456789abcdefghijklmnopqrstuvw"
EXPECTED: Final = {
    "gen_ai.operation.name": "generate_content",
    "gen_ai.request.model": "gemini-2.5-flash",
    "gen_ai.response.model": "gemini-2.5-flash",
    "gen_ai.response.id": "r1",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.reasoning.output_tokens": 40,
}


def _call(shell: Shell, server: SseServer, method: str, reply: Reply) -> bytes:
    server.script(reply)

    async def scenario() -> bytes:
        async with shell.client() as client:
            url = f"{server.url}/v1beta/models/gemini-2.5-flash:{method}?key={KEY}"
            return await shell.read(await shell.open(client, url, json=CONTENTS))

    body: bytes = run(scenario())
    return body


@pytest.mark.usefixtures("quiet")
def test_a_plain_call_has_its_span_and_the_key_is_nowhere(shell: Shell, spans: Spans, server: SseServer) -> None:
    body = _call(shell, server, "generateContent", json_reply(ANSWER))

    found = attributes(spans.one())
    assert json.loads(body) == ANSWER
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    assert "gen_ai.request.stream" not in found
    assert json.loads(found["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "Hey"}]
    assert KEY not in spans.exported_text()


@pytest.mark.parametrize("framing", ["events", "array"])
@pytest.mark.usefixtures("quiet")
def test_a_streamed_call_has_its_span(shell: Shell, spans: Spans, server: SseServer, framing: str) -> None:
    first = {**ANSWER, "candidates": [{"content": {"parts": [{"text": "Hey"}]}}], "usageMetadata": {}}
    last = {**ANSWER, "candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]}
    pieces = [json.dumps(item).encode() for item in (first, last)]
    if framing == "events":
        reply = sse_reply(*(b"data: " + piece + b"\r\n\r\n" for piece in pieces))
    else:
        head = {"content-type": "application/json; charset=UTF-8"}
        reply = Reply((b"[" + pieces[0], b"\r\n,\r\n", pieces[1], b"\n]", b""), 200, head)

    _call(shell, server, "streamGenerateContent", reply)

    found = attributes(spans.one())
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    assert found["gen_ai.request.stream"] is True
    assert found["tokentrail.stream.exit"] == "complete"
    assert 0 < found["gen_ai.response.time_to_first_chunk"] <= found["tokentrail.response.time_to_first_token"]
    assert json.loads(found["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "Hey"}]
    assert KEY not in spans.exported_text()


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
def test_a_failed_call_has_the_name_of_the_code(
    shell: Shell, instrument: Callable[..., Spans], server: SseServer, method: str
) -> None:
    spans = instrument()
    message = f"Consumer 'api_key:{KEY}' has been suspended."
    error = {"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}
    body: Any = [error] if method == "streamGenerateContent" else error

    _call(shell, server, method, json_reply(body, 403))

    span = spans.one()
    assert attributes(span)["error.type"] == "PERMISSION_DENIED"
    assert attributes(span)["http.response.status_code"] == 403
    assert span.status.description == "Consumer 'api_key:[redacted]' has been suspended."
    assert attributes(span).get("gen_ai.request.stream", False) == (method == "streamGenerateContent")
    assert not {"tokentrail.body.status", "tokentrail.stream.exit"} & set(attributes(span))
    assert KEY not in spans.exported_text()


# Prices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [GEMINI, VERTEX])
@pytest.mark.parametrize(
    "model", ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro", "gemini-3.5-flash"]
)
def test_recorded_models_have_a_price(host: str, model: str) -> None:
    provider = "gcp.gemini" if host == GEMINI else "gcp.vertex_ai"

    priced = cost.price(cost.Call(provider, (model,), Usage(1000, 100), 1_790_000_000 * 10**9, host, "on_demand"))

    assert isinstance(priced, cost.Cost)
    assert priced.entry == f"google/{model}"
    assert priced.assumptions == ()


def test_claude_on_vertex_ai_is_priced_by_googles_list() -> None:
    at_ns = 1_790_000_000 * 10**9
    models = ("claude-sonnet-4-20250514", "claude-sonnet-4@20250514")

    priced = cost.price(cost.Call("gcp.vertex_ai", models, Usage(1_000_000, 0), at_ns, VERTEX))

    assert isinstance(priced, cost.Cost)
    assert str(priced.total_usd.normalize()) == "3"


def test_an_array_of_the_fixtures_is_what_a_client_without_sse_gets() -> None:
    folder = Path(__file__).parents[1] / "fixtures" / "wire" / "gemini_generate_content"
    as_events, as_array = (json.loads((folder / f"streamed{kind}.json").read_text()) for kind in ("", "_array"))

    events = [json.loads(line.removeprefix("data: ")) for line in as_events["lines"] if line]

    assert json.loads("\n".join(as_array["lines"])) == events
