"""Helicone's header catalogue, line by line, through the vendors' SDKs: from defaults, from one call, and both."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from support.span_log import Spans, attributes
from support.sse_server import (
    CHAT_REQUEST,
    CHAT_RESPONSE,
    CLAUDE_REQUEST,
    CLAUDE_RESPONSE,
    Reply,
    SseServer,
    json_reply,
)
from tokentrail.instrumentation import properties, session, user
from tokentrail.instrumentation.config import Capture

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

pytestmark = pytest.mark.usefixtures("quiet", "nothing_left_behind")

Call = Callable[[SseServer, Mapping[str, str], Mapping[str, str]], None]
"""Makes a call with default headers and extra ones."""

MESSAGES: Any = CHAT_REQUEST["messages"]


def _openai(server: SseServer, default: Mapping[str, str], extra: Mapping[str, str]) -> None:
    with openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", default_headers=default, max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, extra_headers=extra)


def _openai_raw(server: SseServer, default: Mapping[str, str], extra: Mapping[str, str]) -> None:
    with openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", default_headers=default, max_retries=0) as client:
        completions = client.chat.completions.with_raw_response
        completions.create(model="gpt-4o-mini", messages=MESSAGES, extra_headers=extra).parse()


def _openai_async(server: SseServer, default: Mapping[str, str], extra: Mapping[str, str]) -> None:
    async def call() -> None:
        async with openai.AsyncOpenAI(
            api_key="k", base_url=f"{server.url}/v1", default_headers=default, max_retries=0
        ) as client:
            await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, extra_headers=extra)

    asyncio.run(call())


def _openai_options(server: SseServer, default: Mapping[str, str], extra: Mapping[str, str]) -> None:
    """The one call's headers come from a copy of the client."""
    with openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", default_headers=default, max_retries=0) as client:
        copy = client.with_options(default_headers=extra)
        copy.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)


def _anthropic(server: SseServer, default: Mapping[str, str], extra: Mapping[str, str]) -> None:
    with anthropic.Anthropic(api_key="k", base_url=server.url, default_headers=default, max_retries=0) as client:
        client.messages.create(**CLAUDE_REQUEST, extra_headers=extra)


CALLS = (_openai, _openai_raw, _openai_async, _openai_options, _anthropic)


def made(call: Call, spans: Spans, server: SseServer, default: Mapping[str, str], extra: Mapping[str, str]) -> Any:
    """The attributes of the span of a call with these headers."""
    server.script(json_reply(CLAUDE_RESPONSE if call is _anthropic else CHAT_RESPONSE))
    given = dict(default), dict(extra)
    call(server, default, extra)
    assert (dict(default), dict(extra)) == given, "the caller's own are not touched"
    return attributes(spans.one())


WHO = ("user.", "session.", "gen_ai.conversation", "gen_ai.prompt.", "tokentrail.")
NOT_FROM_HEADERS = (
    *("tokentrail.cost.", "tokentrail.pricing.", "tokentrail.response.", "tokentrail.request.retry_count"),
    "tokentrail.usage.",
)


def metadata(found: Mapping[str, Any]) -> dict[str, Any]:
    """What headers can have given."""
    return {
        name: value
        for name, value in found.items()
        if name.startswith(WHO) and (not name.startswith(NOT_FROM_HEADERS) or name == "tokentrail.pricing.model")
    }


SESSION = {"session.id": "s", "gen_ai.conversation.id": "s", "tokentrail.session.path": "/"}

# One line for each line of the catalogue that is honoured: header, value, attributes.
HONOURED: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("Helicone-User-Id", "u", {"user.id": "u"}),
    ("Helicone-Session-Id", "s", SESSION),
    ("Helicone-Session-Name", "n", {"tokentrail.session.name": "n"}),
    ("Helicone-Session-Path", "/parent/child", {"tokentrail.session.path": "/parent/child"}),
    ("Helicone-Session-Path", "parent/child", {"tokentrail.session.path": "/parent/child"}),
    ("Helicone-Property-Feature", "f", {"tokentrail.property.Feature": "f"}),
    (
        "Helicone-Property-UserId",
        "u",
        {"user.id": "u", "tokentrail.property.UserId": "u"},
    ),
    ("Helicone-Request-Id", "7b1d", {"tokentrail.request.id": "7b1d"}),
    ("Helicone-Prompt-Id", "triage-classifier-v1", {"gen_ai.prompt.name": "triage-classifier-v1"}),
    ("Helicone-Prompt-Version", "3", {"gen_ai.prompt.version": "3"}),
    ("Helicone-Model-Override", "gpt-4o", {"tokentrail.pricing.model": "gpt-4o"}),
    ("Helicone-Omit-Request", "true", {}),
    ("Helicone-Omit-Response", "true", {}),
    ("Helicone-Node-Id", "d", {"tokentrail.node.id": "d"}),
    ("Helicone-Experiment-Id", "e", {"tokentrail.property.Experiment-Id": "e"}),
    ("Helicone-Experiment-Column-Id", "c", {"tokentrail.property.Experiment-Column-Id": "c"}),
    ("Helicone-Experiment-Row-Index", "1", {"tokentrail.property.Experiment-Row-Index": "1"}),
    ("Helicone-Stream-Usage", "true", {}),
)

# Asked of a proxy: noted, and left on the request.
NOTED = (
    ("helicone-org-id", "o"),
    ("Helicone-Prompt-Name", "n"),
    ("Helicone-Prompt-Mode", "m"),
    ("Helicone-Prompt-Format", "f"),
    ("Helicone-Cache-Enabled", "true"),
    ("Helicone-Cache-Control", "max-age=60"),
    ("Helicone-Cache-Bucket-Max-Size", "3"),
    ("Helicone-Cache-Seed", "user-123"),
    ("Helicone-Cache-Ignore-Keys", "a,b"),
    ("Helicone-Retry-Enabled", "true"),
    ("helicone-retry-num", "3"),
    ("helicone-retry-factor", "2"),
    ("helicone-retry-min-timeout", "1000"),
    ("helicone-retry-max-timeout", "10000"),
    ("Helicone-Fallbacks", '[{"target-url": "https://api.example"}]'),
    ("Helicone-Fallback-Model", "gpt-4o"),
    ("Helicone-Fallback-OnCodes", "429,500"),
    ("Helicone-RateLimit-Policy", "10;w=1000;u=cents;s=user"),
    ("Helicone-Moderations-Enabled", "true"),
    ("Helicone-LLM-Security-Enabled", "true"),
    ("Helicone-Prompt-Security-Enabled", "true"),
    ("Helicone-LLM-Security-Advanced", "true"),
    ("Helicone-Posthog-Host", "https://posthog.example"),
    ("Helicone-Lytix-Host", "https://lytix.example"),
    ("Helicone-Webhook-Enabled", "true"),
)

SECRET = (
    *("Helicone-Auth", "helicone-jwt", "Helicone-Manual-Access-Key", "Helicone-Posthog-Key", "Helicone-Lytix-Key"),
    "Authorization",
)
IGNORED = ("Helicone-Stream-Force-Format", "helicone-increase-timeout")


# Honoured ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__.strip("_"))
@pytest.mark.parametrize("place", ["default", "extra", "both"])
def test_every_header_that_is_honoured(
    instrument: Callable[..., Spans], server: SseServer, call: Call, place: str
) -> None:
    for number, (name, value, expected) in enumerate(HONOURED):
        spans = instrument(capture=Capture.SPAN_ONLY)
        default = {name: value} if place == "default" else {name: "false"} if place == "both" else {}
        extra = {} if place == "default" else {name: value}

        found = made(call, spans, server, default, extra)

        assert metadata(found) == expected, (number, name)
        assert ("gen_ai.input.messages" in found) == (name != "Helicone-Omit-Request"), name
        assert ("gen_ai.output.messages" in found) == (name != "Helicone-Omit-Response"), name
        assert name.lower() not in server.requests[-1].names, "it is for us, not for the provider"
        _switch_off()


def _switch_off() -> None:
    from tokentrail.instrumentation import TokentrailInstrumentor

    TokentrailInstrumentor().uninstrument()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__.strip("_"))
def test_the_headers_of_one_call_win_over_the_defaults_in_whatever_case(
    spans: Spans, server: SseServer, call: Call
) -> None:
    default = {"helicone-user-id": "default", "Helicone-Property-Team": "red", "Helicone-Session-Id": "s"}
    extra = {"Helicone-User-Id": "call", "HELICONE-PROPERTY-TEAM": "blue"}

    found = made(call, spans, server, default, extra)

    assert found["user.id"] == "call"
    assert found["session.id"] == "s"
    assert {name.lower(): value for name, value in found.items() if "property" in name} == {
        "tokentrail.property.team": "blue"
    }


def test_headers_win_over_the_context_and_share_properties_with_it(spans: Spans, server: SseServer) -> None:
    extra = {"Helicone-Session-Id": "header", "Helicone-Property-Feature": "header", "Helicone-User-Id": "header"}

    with session("context", name="n", path="/a"), user("context"), properties(Feature="context", Tier="pro"):
        found = made(_openai, spans, server, {}, extra)

    assert metadata(found) == {
        "session.id": "header",
        "gen_ai.conversation.id": "header",
        "tokentrail.session.path": "/",
        "user.id": "header",
        "tokentrail.property.Feature": "header",
        "tokentrail.property.Tier": "pro",
    }


def test_the_user_of_the_body_is_the_user_unless_a_header_says_so(
    instrument: Callable[..., Spans], server: SseServer
) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    users = []
    for extra in ({}, {"Helicone-User-Id": "header"}):
        spans = instrument()
        with openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0) as client:
            client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, user="body", extra_headers=extra)
        users.append(attributes(spans.one())["user.id"])
        _switch_off()

    assert users == ["body", "header"]


def test_limits_of_properties_keys_and_values(spans: Spans, server: SseServer) -> None:
    long = {"Helicone-Property-" + "K" * 300: "v", "Helicone-Property-Long": "x" * 5_000}
    many = {f"Helicone-Property-Key{number}": "v" for number in range(70)}

    found = made(_openai, spans, server, {}, {**long, **many})

    kept = {name.removeprefix("tokentrail.property."): value for name, value in found.items() if "property" in name}
    assert len(kept) == 64
    assert max(len(name) for name in kept) == 256
    assert kept["Long"] == "x" * 4096


def test_usage_is_asked_for_when_a_header_says_so(instrument: Callable[..., Spans], server: SseServer) -> None:
    server.script(json_reply(CHAT_RESPONSE))
    asked = []
    for extra in ({}, {"Helicone-Stream-Usage": "true"}):
        instrument(stream_usage=False)
        with openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0) as client:
            stream = client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, stream=True, extra_headers=extra
            )
            stream.close()
        asked.append(b"include_usage" in server.requests[-1].body)
        _switch_off()

    assert asked == [False, True]


# Noted, ignored, secret ----------------------------------------------------------------------------------------


def test_what_a_proxy_is_asked_to_do_is_noted_and_travels_on(
    instrument: Callable[..., Spans], server: SseServer
) -> None:
    for name, value in NOTED:
        spans = instrument()

        found = made(_openai, spans, server, {name: value}, {})

        assert metadata(found) == {"tokentrail.helicone.asked": (name.lower().removeprefix("helicone-"),)}, name
        assert server.requests[-1].header(name) == value
        _switch_off()


def test_the_handler_of_too_long_prompts_is_a_property_and_travels_on(spans: Spans, server: SseServer) -> None:
    found = made(_openai, spans, server, {}, {"Helicone-Token-Limit-Exception-Handler": "middle-out"})

    assert metadata(found) == {"tokentrail.property.Token-Limit-Exception-Handler": "middle-out"}
    assert server.requests[-1].header("helicone-token-limit-exception-handler") == "middle-out"


@pytest.mark.parametrize("name", IGNORED)
def test_flags_of_the_transport_are_ignored(spans: Spans, server: SseServer, name: str) -> None:
    found = made(_openai, spans, server, {name: "true"}, {})

    assert metadata(found) == {}
    assert server.requests[-1].header(name) == "true"


@pytest.mark.parametrize("call", [_openai, _anthropic], ids=["openai", "anthropic"])
def test_no_secret_is_recorded_anywhere(spans: Spans, server: SseServer, call: Call) -> None:
    secret = "sk-helicone-" + os.urandom(8).hex()
    everything = dict.fromkeys(SECRET, f"Bearer {secret}") | {name: value for name, value, _ in HONOURED}

    made(call, spans, server, everything, dict(NOTED))

    assert secret not in spans.exported_text()


# Responses -----------------------------------------------------------------------------------------------------


def _answered(headers: Mapping[str, str]) -> Reply:
    plain = json_reply(CHAT_RESPONSE)
    return replace(plain, headers={**plain.headers, **headers})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"Helicone-Id": "h"}, {"tokentrail.helicone.id": "h"}),
        ({"Helicone-Cache": "MISS"}, {"tokentrail.cache.hit": False}),
        (
            {"Helicone-Cache": "HIT", "Helicone-Cache-Bucket-Idx": "2", "Helicone-Cache-Latency": "1500"},
            {"tokentrail.cache.hit": True, "tokentrail.cache.bucket_index": 2, "tokentrail.cache.saved_latency": 1.5},
        ),
        ({"Helicone-Cache-Bucket-Idx": "x", "Helicone-Cache-Latency": "-1"}, {}),
    ],
)
def test_what_a_proxy_answers(
    spans: Spans, server: SseServer, given: Mapping[str, str], expected: Mapping[str, object]
) -> None:
    server.script(_answered(given))

    _openai(server, {}, {})

    found = attributes(spans.one())
    assert metadata(found) == expected
    assert found["gen_ai.usage.cost"] == 0 if given.get("Helicone-Cache") == "HIT" else True


def test_the_index_of_the_fallback_that_answered(spans: Spans, server: SseServer) -> None:
    server.script(_answered({"Helicone-Fallback-Index": "1"}))

    _openai(server, {}, {})

    assert attributes(spans.one())["tokentrail.request.fallback_index"] == 1
