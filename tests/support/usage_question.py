"""The one thing that the product adds to a request: the question for the usage of a stream, and a provider's answer.

Streams of OpenAI's chat and legacy completions say their usage only to a client that asks with
`stream_options.include_usage`: in one more chunk, with no choices, before the end
(https://platform.openai.com/docs/api-reference/chat/create#chat-create-stream_options). A recorded stream whose client
did not ask has none. The replay server gives one to a client that asks nevertheless, as the provider would have.
"""

import json
from dataclasses import replace
from typing import Any, Final

from support.expected_framings import events
from support.expected_values import PROVIDERS, Expected
from support.wire import Exchange, Format

USAGE: Final = {"prompt_tokens": 1201, "completion_tokens": 307, "total_tokens": 1508}
"""What the replay server answers."""

ASKING: Final = frozenset({"httpx", "httpx2", "aiohttp", "requests", "urllib3"})
"""Libraries in whose requests the product puts the question; those of the others leave as they are."""

_ASKED: Final = frozenset({"openai", "together_ai", "portkey"})
"""Providers, of those in the recordings, that are asked. Groq and Mistral always tell."""
_END: Final = b"data: [DONE]"


def is_asked(exchange: Exchange) -> bool:
    """True when the recorded request is of a stream that the product has to ask about."""
    if exchange.format not in (Format.CHAT, Format.COMPLETIONS) or PROVIDERS[exchange.authority] not in _ASKED:
        return False
    request = exchange.request_json()
    return request.get("stream") is True and not _asks(request)


def with_question(body: bytes) -> dict[str, Any]:
    """The request of a stream, parsed, with the question in it."""
    request: dict[str, Any] = json.loads(body)
    return request | {"stream_options": {**(request.get("stream_options") or {}), "include_usage": True}}


def is_answered(exchange: Exchange) -> bool:
    """True when a client that asks is told something that the recording does not have."""
    return is_asked(exchange) and exchange.is_sse and b'"prompt_tokens"' not in exchange.response_body


def told(exchange: Exchange, reading: Expected, library: str = "httpx") -> Expected:
    """The reading of an exchange replayed with `library`: of the recorded bytes, and of what else the server tells."""
    if library not in ASKING or not is_answered(exchange):
        return reading
    return replace(reading, input_tokens=USAGE["prompt_tokens"], output_tokens=USAGE["completion_tokens"])


def answer(exchange: Exchange, sent: bytes) -> bytes:
    """The response to the request as it was sent: the recorded one, with a usage for a client that asks for it."""
    body = exchange.response_body
    if not is_answered(exchange) or not _asks(json.loads(sent)):
        return body
    first = next(events(body))
    chunk = {"id": first["id"], "object": first["object"], "model": first["model"], "choices": [], "usage": USAGE}
    event = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    before, end, after = body.partition(_END)
    return before + event + end + after


def _asks(request: dict[str, Any]) -> bool:
    return (request.get("stream_options") or {}).get("include_usage") is True
