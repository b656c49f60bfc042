"""What is called: the requests that the SDK is asked to make, and the responses of the local provider, byte for byte.

The bodies are shaped like those of OpenAI's chat completions (recorded in April 2026), with their usual headers, and
say the same token counts in every call.
"""

import base64
import json
import struct
from dataclasses import dataclass
from typing import Any, Final

HOST: Final = "api.openai.com"
"""The name that the SDK calls; the workers resolve it to the loopback interface."""
MODEL: Final = "gpt-4o-mini"
EMBEDDING_MODEL: Final = "text-embedding-3-small"
MARK: Final = "Benchmark question"
"""Every prompt starts with it: where it is found on a span, content was captured."""
INPUT_TOKENS: Final = 211
OUTPUT_TOKENS: Final = 48

_ANSWERED_BY: Final = "gpt-4o-mini-2024-07-18"
_SENTENCE: Final = 'She asked: "how much does it cost?"\nThe answer of the café was 12 €, and more was said. '
_WORDS: Final = ("The", "answer", "to", "this", "question", "depends", "on", "who", "is", "asking", "and", "why", ".")
_EMBEDDING_FLOATS: Final = 1536


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of call."""

    name: str
    title: str
    """As the tables call it."""
    prompt_bytes: int
    """About, in UTF-8."""
    messages: int = 1
    chunks: int = 0
    """Events of a streamed response, the one with the usage among them; 0 for a plain one."""
    embedding: bool = False
    pause_s: float = 0.0
    """Between the events."""
    calls: int = 50
    """In one block of a measurement."""

    @property
    def output_tokens(self) -> int:
        """What the response says."""
        return 0 if self.embedding else OUTPUT_TOKENS

    def arguments(self) -> dict[str, Any]:
        """Of the method of the SDK."""
        if self.embedding:
            return {"model": EMBEDDING_MODEL, "input": _text(self.prompt_bytes)}
        each = self.prompt_bytes // self.messages
        roles = ("user", "assistant")
        messages = [{"role": roles[index % 2], "content": _text(each)} for index in range(self.messages)]
        arguments: dict[str, Any] = {"model": MODEL, "messages": messages, "temperature": 0.2, "max_tokens": 512}
        if self.chunks:
            arguments |= {"stream": True, "stream_options": {"include_usage": True}}
        return arguments

    def response(self) -> list[bytes]:
        """What is sent, in the pieces in which it is sent: the head, then one piece of transfer encoding an event."""
        if not self.chunks:
            body = json.dumps(self._embedding() if self.embedding else self._completion()).encode()
            return [_head("application/json", f"content-length: {len(body)}") + body]
        # Without spaces, as OpenAI writes its events.
        events = (json.dumps(event, separators=(",", ":")) for event in self._events())
        pieces = [b"data: " + event.encode() + b"\n\n" for event in events]
        pieces.append(b"data: [DONE]\n\n")
        chunked = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
        return [_head("text/event-stream; charset=utf-8", "transfer-encoding: chunked"), *chunked, b"0\r\n\r\n"]

    def _completion(self) -> dict[str, object]:
        message: dict[str, object] = {"role": "assistant", "content": _text(600), "refusal": None, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return _envelope("chat.completion") | {"choices": [choice], "usage": _usage()}

    def _events(self) -> list[dict[str, object]]:
        deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
        deltas += [({"content": " " + _WORDS[index % len(_WORDS)]}, None) for index in range(self.chunks - 3)]
        deltas.append(({}, "stop"))
        events = []
        for delta, reason in deltas:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            events.append(_envelope("chat.completion.chunk") | {"choices": [choice], "usage": None})
        events.append(_envelope("chat.completion.chunk") | {"choices": [], "usage": _usage()})
        return [event | {"obfuscation": "p0Wy7Rq2"} for event in events]

    def _embedding(self) -> dict[str, object]:
        floats = struct.pack(f"<{_EMBEDDING_FLOATS}f", *(index / 4096 for index in range(_EMBEDDING_FLOATS)))
        data = {"object": "embedding", "index": 0, "embedding": base64.b64encode(floats).decode()}
        usage = {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}
        return {"object": "list", "data": [data], "model": EMBEDDING_MODEL, "usage": usage}


CASES: Final = (
    Case("plain", "plain, 1 KB", 1_000, calls=24),
    Case("plain_large", "plain, 200 KB", 200_000, messages=20, calls=8),
    Case("stream_50", "50 chunks", 1_000, chunks=50, calls=5),
    Case("stream_500", "500 chunks", 1_000, chunks=500, calls=1),
    Case("stream_large", "50 chunks, 200 KB", 200_000, messages=20, chunks=50, calls=4),
    Case("embeddings", "embedding, 1 KB", 1_000, embedding=True, calls=24),
)
"""What CPU time is measured for."""

TRICKLE: Final = Case("trickle", "100 chunks in half a second", 1_000, chunks=100, pause_s=0.005)
"""What the lag of an event loop is measured under."""


def case(name: str) -> Case:
    """The case called `name`. Raises `KeyError` when there is none."""
    return {each.name: each for each in (*CASES, TRICKLE)}[name]


def _text(size: int) -> str:
    """Text of about `size` bytes, with characters that JSON escapes and some that are not ASCII."""
    text = f"{MARK}. " + _SENTENCE * (size // len(_SENTENCE.encode()) + 1)
    return text.encode()[:size].decode(errors="ignore")


def _envelope(kind: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-BKlbLGk8dJMRmpZ7u0V1u4CUrJNnT",
        "object": kind,
        "created": 1_760_000_000,
        "model": _ANSWERED_BY,
        "service_tier": "default",
        "system_fingerprint": "fp_b376dfbbd5",
    }


def _usage() -> dict[str, object]:
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0},
    }


def _head(content_type: str, length: str) -> bytes:
    lines = [
        "HTTP/1.1 200 OK",
        "date: Thu, 09 Apr 2026 00:57:33 GMT",
        f"content-type: {content_type}",
        length,
        "connection: keep-alive",
        "server: cloudflare",
        "cf-ray: 9e05b8a0cb2af1a1-FRA",
        "cf-cache-status: DYNAMIC",
        "strict-transport-security: max-age=31536000; includeSubDomains; preload",
        "x-content-type-options: nosniff",
        "access-control-expose-headers: X-Request-ID",
        "openai-organization: example",
        "openai-processing-ms: 835",
        "openai-version: 2020-10-01",
        "x-ratelimit-limit-requests: 10000",
        "x-ratelimit-limit-tokens: 30000000",
        "x-ratelimit-remaining-requests: 9999",
        "x-ratelimit-remaining-tokens: 29999958",
        "x-ratelimit-reset-requests: 6ms",
        "x-ratelimit-reset-tokens: 0s",
        "x-request-id: req_51c71d0bd05d42e08a8da78743ad7b67",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
