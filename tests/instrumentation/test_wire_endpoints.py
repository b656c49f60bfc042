import json
import math

import pytest

from tokentrail.instrumentation.wire import (
    ANTHROPIC_MESSAGES,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    endpoints,
)
from tokentrail.instrumentation.wire._base import WireFormat
from tokentrail.instrumentation.wire._json import index, integer, number
from tokentrail.semconv import finish

CHAT = b'{"model": "m", "messages": []}'


@pytest.mark.parametrize(
    ("host", "path", "wire", "provider"),
    [
        ("api.openai.com", "/v1/chat/completions", OPENAI_CHAT, "openai"),
        ("API.OpenAI.com", "/v1/chat/completions/", OPENAI_CHAT, "openai"),
        ("api.openai.com", "/v1/responses", OPENAI_RESPONSES, "openai"),
        ("api.openai.com", "/v1/embeddings", OPENAI_EMBEDDINGS, "openai"),
        ("api.anthropic.com", "/v1/messages", ANTHROPIC_MESSAGES, "anthropic"),
        ("api.groq.com", "/openai/v1/chat/completions", OPENAI_CHAT, "groq"),
        ("api.deepseek.com", "/chat/completions", OPENAI_CHAT, "deepseek"),
        ("openrouter.ai", "/api/v1/chat/completions", OPENAI_CHAT, "openrouter"),
        ("x.openai.azure.com", "/openai/deployments/d/chat/completions", OPENAI_CHAT, "azure.ai.openai"),
        ("oai.helicone.ai", "/v1/chat/completions", OPENAI_CHAT, "openai"),
    ],
)
def test_a_known_host_and_path_are_an_endpoint_whatever_the_body(
    host: str, path: str, wire: WireFormat, provider: str
) -> None:
    for body in (CHAT, b"", b"not json"):
        found = endpoints.match(host, 443, path, body)

        assert found is not None
        assert (found.wire, found.provider) == (wire, provider)
        assert found.model == ("m" if body == CHAT else "d" if "deployments" in path else "")


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/chat", "/v1/chat/completions/x", "/", "", "/v1/messages/count_tokens"]
)
def test_another_path_is_no_endpoint(path: str) -> None:
    assert endpoints.match("api.openai.com", 443, path, CHAT) is None


@pytest.mark.parametrize(
    ("path", "body", "wire"),
    [
        ("/v1/chat/completions", {"model": "m", "messages": []}, OPENAI_CHAT),
        ("/v1/responses", {"model": "m", "input": "x"}, OPENAI_RESPONSES),
        ("/v1/responses", {"model": "m", "input": []}, OPENAI_RESPONSES),
        ("/api/embeddings", {"model": "m", "input": [[1]]}, OPENAI_EMBEDDINGS),
        ("/v1/messages", {"model": "m", "messages": [], "max_tokens": 1}, ANTHROPIC_MESSAGES),
    ],
)
def test_an_unknown_host_with_a_body_of_the_format_is_self_hosted(
    path: str, body: dict[str, object], wire: WireFormat
) -> None:
    found = endpoints.match("localhost", 8000, path, json.dumps(body).encode())

    assert found is not None
    assert (found.wire, found.provider, found.model, found.body) == (wire, "self_hosted", "m", body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", b'{"model": "m"}'),
        ("/v1/chat/completions", b'{"messages": []}'),
        ("/v1/chat/completions", b'{"model": 5, "messages": []}'),
        ("/v1/messages", CHAT),
        ("/api/responses", b'{"answers": [1, 2]}'),
        ("/api/embeddings", b'{"model": "m", "input": 5}'),
        ("/v1/chat/completions", b""),
        ("/v1/chat/completions", b"[]"),
        ("/v1/chat/completions", b"\xff\xfe"),
        ("/v1/chat/completions", b"[" * 100_000),
    ],
)
def test_an_unknown_host_with_another_body_is_not_ours(path: str, body: bytes) -> None:
    assert endpoints.match("app.example.com", 443, path, body) is None


def test_the_port_of_ollama_names_it() -> None:
    found = endpoints.match("localhost", 11434, "/v1/chat/completions", b"")

    assert found is not None
    assert found.provider == "ollama"


LONG = "x" * 20_000


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ({"model": "m", "messages": [{"content": LONG}]}, "m"),
        ({"messages": [{"content": LONG}], "model": "m"}, "m"),
        ({"messages": [{"content": 'say "model": "other" ' + LONG}], "model": "m"}, "m"),
        ({"metadata": {"model": "other"}, "messages": [{"content": LONG}], "model": "m"}, "m"),
        ({"tools": [{"properties": {"model": {"type": "string"}}}], "messages": LONG, "model": "m"}, "m"),
        ({"model": 'odd " model', "messages": LONG}, 'odd " model'),
        ({"messages": LONG}, ""),
    ],
)
def test_the_model_of_a_long_body_is_that_of_its_top_level(body: dict[str, object], model: str) -> None:
    found = endpoints.match("api.openai.com", 443, "/v1/chat/completions", json.dumps(body).encode())

    assert found is not None
    assert found.model == model


def test_a_long_body_with_one_plain_model_is_not_parsed_on_the_way() -> None:
    body = json.dumps({"model": "m", "messages": [{"content": LONG}]}).encode()

    found = endpoints.match("api.openai.com", 443, "/v1/chat/completions", body)

    assert found is not None
    assert found.body is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_object_parses_as_an_empty_one(body: bytes) -> None:
    assert endpoints.parse(body) == {}


ODD: list[object] = [True, False, None, "1", [], {}, math.nan, math.inf, -math.inf, 10**400, -(10**400)]
NOT_FINITE = [(value, None) for value in ODD]
NOT_WHOLE = [*NOT_FINITE, (1.5, None), (1e300, None), (2**63, None), (-(2**63) - 1, None)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (-5, -5),
        (7.0, 7),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        *NOT_WHOLE,
    ],
)
def test_a_whole_number_is_one_that_an_attribute_can_carry(value: object, expected: int | None) -> None:
    assert integer(value) == expected
    assert type(integer(value)) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (-0.5, -0.5),
        *NOT_FINITE,
    ],
)
def test_a_number_is_finite(value: object, expected: float | None) -> None:
    assert number(value) == expected
    assert type(number(value)) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (1023, 1023), (1024, 0), (-1, 0), (None, 0), ("1", 0), (2.0, 2)]
)
def test_an_index_beyond_what_providers_have_is_the_first(value: object, expected: int) -> None:
    assert index(value) == expected


FINISH_REASONS = {
    "stop": "stop end_turn stop_sequence STOP COMPLETE eos eos_token completed",
    "length": "length max_tokens MAX_TOKENS max_output_tokens model_length model_context_window_exceeded ERROR_LIMIT",
    "tool_call": "tool_call tool_calls tool-calls tool_use function_call TOOL_CALL",
    "content_filter": "content_filter content-filter content_filtered SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT "
    "SPII IMAGE_SAFETY refusal guardrail_intervened ERROR_TOXIC",
    "error": "error ERROR failed cancelled MALFORMED_FUNCTION_CALL USER_CANCEL TIMEOUT",
}


@pytest.mark.parametrize(("canonical", "reasons"), FINISH_REASONS.items())
def test_a_finish_reason_has_the_word_of_the_conventions(canonical: str, reasons: str) -> None:
    assert {finish.canonical(reason) for reason in reasons.split()} == {canonical}


@pytest.mark.parametrize("reason", ["", "pause_turn", "compaction", "Unknown", "other"])
def test_a_finish_reason_nobody_knows_stays_as_it_is(reason: str) -> None:
    assert finish.canonical(reason) == reason
