"""Export requests as an application of agents sends them, deterministic but for the time.

Of 100 spans about 54 are chats, 12 embeddings, 24 tools and 10 agents, with about 20 attributes a span (chats 27), 12
attributes of the resource and 3 scopes. A chat holds `content_bytes` of messages: the conversation so far, which is
repeated within its trace, and an answer, of words with the frequencies of a language. No chat tells its cost.
"""

import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from support.otlp import any_value

Attribute = str | bool | int | float | list[str]

SCOPES: Final = ("opentelemetry.instrumentation.openai_v2", "opentelemetry.util.genai", "acme.agents")
_TRACE: Final = "AECCTCCTCETCACCTC"
"""Agent, embedding, chat, tool: one letter a span."""
_MODELS: Final = (
    ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "api.openai.com"),
    ("openai", "gpt-4o", "gpt-4o-2024-08-06", "api.openai.com"),
    ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "api.anthropic.com"),
)
_RESOURCE: Final[Mapping[str, Attribute]] = {
    "service.name": "support-agent",
    "service.version": "3.14.2",
    "service.namespace": "support",
    "deployment.environment.name": "production",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.language": "python",
    "telemetry.sdk.version": "1.45.0",
    "host.name": "node-17.example.net",
    "k8s.namespace.name": "support",
    "k8s.pod.name": "support-agent-7c9d6bfb4c-x2k8p",
    "process.pid": 4711,
    "process.runtime.version": "3.12.4",
}
_VOCABULARY: Final = 4000


@dataclass(frozen=True, slots=True)
class Request:
    """One export request."""

    body: bytes
    spans: int
    calls: int
    """Spans that are billable model calls: one row each."""
    contents: int
    """Calls with messages."""


def requests(content_bytes: int, spans: int, seed: int = 1) -> Iterator[Request]:
    """Requests of `spans` spans each, without end; no id comes twice."""
    chance = random.Random(seed)
    words = _Words(chance)
    letters = _letters(chance)
    traces = 0
    while True:
        made: dict[str, list[Span]] = {scope: [] for scope in SCOPES}
        calls = contents = 0
        trace, parent, history = b"", b"", ""
        for _ in range(spans):
            letter, first = next(letters)
            if first or not trace:
                trace, parent, history = chance.randbytes(16), b"", words.text(max(content_bytes, 16))
                traces += 1
            span = _span(letter, trace, parent, chance)
            scope = _fill(span, letter, chance, words, history, content_bytes)
            parent = span.span_id if letter == "A" else parent
            calls += letter in "CE"
            contents += letter == "C" and content_bytes > 0
            made[scope].append(span)
        yield Request(_request(made), spans, calls, contents)


def _letters(chance: random.Random) -> Iterator[tuple[str, bool]]:
    while True:
        body = list(_TRACE[1:])
        chance.shuffle(body)
        yield _TRACE[0], True
        for letter in body:
            yield letter, False


class _Words:
    """Text with Zipf's frequencies."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        self._words = ["".join(chance.choices(letters[:20], k=2 + index % 9)) for index in range(_VOCABULARY)]
        self._words[7], self._words[31] = "café", '"quoted"'
        total = 0.0
        self._weights = [total := total + 1 / (rank + 1) for rank in range(_VOCABULARY)]

    def text(self, size: int) -> str:
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=size // 5))[:size]


def _span(letter: str, trace: bytes, parent: bytes, chance: random.Random) -> Span:
    duration_ns = chance.randrange(20_000_000, 4_000_000_000)
    end_ns = time.time_ns() - chance.randrange(1_000_000_000)
    kind = Span.SPAN_KIND_CLIENT if letter in "CE" else Span.SPAN_KIND_INTERNAL
    return Span(
        trace_id=trace,
        span_id=chance.randbytes(8),
        parent_span_id=parent,
        kind=kind,
        start_time_unix_nano=end_ns - duration_ns,
        end_time_unix_nano=end_ns,
        flags=256,
    )


def _fill(span: Span, letter: str, chance: random.Random, words: _Words, history: str, content_bytes: int) -> str:
    """Give `span` its name and attributes; the answer is its scope."""
    provider, model, answered, host = chance.choice(_MODELS)
    own: dict[str, Attribute] = {
        "session.id": f"session-{chance.randrange(2000)}",
        "user.id": f"user-{chance.randrange(500)}",
        "app.tenant": f"tenant-{chance.randrange(40)}",
        "app.feature": chance.choice(["triage", "answer", "summary"]),
        "thread.id": 140_237_113_214_720 + chance.randrange(8),
        "code.function": "run_step",
    }
    if letter == "C":
        span.name = f"chat {model}"
        own |= _chat(provider, model, answered, host, chance)
        own |= _content(words, history, content_bytes)
        if chance.random() < 0.02:
            own |= {"error.type": "rate_limit_exceeded", "http.response.status_code": 429}
            span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="Rate limit reached"))
    elif letter == "E":
        span.name = "embeddings text-embedding-3-small"
        own |= _embeddings(chance)
    elif letter == "T":
        name = chance.choice(["search_orders", "refund", "lookup_customer", "send_mail"])
        span.name = f"execute_tool {name}"
        own |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name, "gen_ai.tool.type": "function"}
        own |= {"gen_ai.tool.call.id": f"call_{chance.randrange(16**12):012x}", "gen_ai.provider.name": provider}
        own |= {"gen_ai.agent.name": "support", "app.retries": 0, "app.cached": False, "app.queue": "default"}
    else:
        span.name = "invoke_agent support"
        own |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support", "gen_ai.agent.id": "asst_5j66"}
        own |= {"gen_ai.provider.name": provider, "gen_ai.request.model": model, "app.steps": chance.randrange(12)}
        own |= {"gen_ai.conversation.id": f"conv-{chance.randrange(10_000)}", "app.queue": "default", "app.retries": 0}
    span.attributes.extend(KeyValue(key=key, value=any_value(value)) for key, value in own.items())
    return SCOPES[0] if letter in "CE" else SCOPES[1] if letter == "T" else SCOPES[2]


def _chat(provider: str, model: str, answered: str, host: str, chance: random.Random) -> dict[str, Attribute]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.response.model": answered,
        "gen_ai.response.id": f"chatcmpl-{chance.randrange(16**24):024x}",
        "gen_ai.response.finish_reasons": [chance.choice(["stop", "stop", "tool_calls", "length"])],
        "gen_ai.usage.input_tokens": chance.randrange(200, 9000),
        "gen_ai.usage.output_tokens": chance.randrange(10, 900),
        "gen_ai.usage.cache_read.input_tokens": chance.choice([0, 0, 128, 200]),
        "gen_ai.usage.reasoning.output_tokens": chance.choice([0, 0, 5]),
        "gen_ai.request.temperature": chance.choice([0.0, 0.2, 0.7, 1.0]),
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.request.top_p": 0.95,
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": chance.randrange(100_000, 900_000) / 1e6,
        "gen_ai.conversation.id": f"conv-{chance.randrange(10_000)}",
        "gen_ai.agent.name": "support",
        "server.address": host,
        "server.port": 443,
    }


def _embeddings(chance: random.Random) -> dict[str, Attribute]:
    return {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "text-embedding-3-small",
        "gen_ai.response.model": "text-embedding-3-small",
        "gen_ai.usage.input_tokens": chance.randrange(20, 2000),
        "gen_ai.embeddings.dimension.count": 1536,
        "gen_ai.request.encoding_formats": ["base64"],
        "server.address": "api.openai.com",
        "server.port": 443,
    }


def _content(words: _Words, history: str, content_bytes: int) -> dict[str, Attribute]:
    if not content_bytes:
        return {}
    asked = history[: content_bytes * 3 // 4]
    inputs = [
        {"role": "user", "parts": [{"type": "text", "content": asked[: len(asked) // 2]}]},
        {"role": "assistant", "parts": [{"type": "text", "content": asked[len(asked) // 2 :]}]},
    ]
    text = words.text(content_bytes // 4)
    outputs = [{"role": "assistant", "parts": [{"type": "text", "content": text}], "finish_reason": "stop"}]
    return {
        "gen_ai.input.messages": json.dumps(inputs, ensure_ascii=False),
        "gen_ai.output.messages": json.dumps(outputs, ensure_ascii=False),
    }


def _request(made: Mapping[str, list[Span]]) -> bytes:
    resource = ResourceSpans()
    resource.resource.attributes.extend(KeyValue(key=key, value=any_value(value)) for key, value in _RESOURCE.items())
    for name, spans in made.items():
        scope = ScopeSpans(spans=spans)
        scope.scope.name, scope.scope.version = name, "2.1b0"
        resource.scope_spans.append(scope)
    return ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()
