"""Compares what a row or a span says with what the recorded exchange says. Every difference is a line for a person."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

from support.expected import Choice, Expected, ToolCall
from support.otlp_sink import SentSpan

Row = Mapping[str, Any]
"""A row in the field names of the API."""

BILLABLE: Final = frozenset({"chat", "text_completion", "generate_content", "embeddings", "rerank"})
"""Operations whose spans are counted for cost."""

_GENERATING: Final = frozenset({"chat", "text_completion", "generate_content"})
"""Operations that have messages: what was asked, and what was generated."""

_EXACT: Final = (
    "operation",
    "provider",
    "request_model",
    "response_model",
    "response_id",
    "stream",
    "input_tokens",
    "output_tokens",
    "error_type",
    "request_id",
    "retry_count",
)
_BREAKDOWNS: Final = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")

_KEY: Final = re.compile(r"\bsk-[\w-]{4,}")
"""What the vendors' API keys look like."""

_SPAN_FIELDS: Final = {
    "gen_ai.operation.name": ("operation", str),
    "gen_ai.provider.name": ("provider", str),
    "gen_ai.request.model": ("request_model", str),
    "gen_ai.response.model": ("response_model", str),
    "gen_ai.response.id": ("response_id", str),
    "gen_ai.request.stream": ("stream", bool),
    "gen_ai.usage.input_tokens": ("input_tokens", int),
    "gen_ai.usage.output_tokens": ("output_tokens", int),
    "gen_ai.usage.cache_read.input_tokens": ("cache_read_tokens", int),
    "gen_ai.usage.cache_write.input_tokens": ("cache_write_tokens", int),
    "gen_ai.usage.reasoning.output_tokens": ("reasoning_tokens", int),
    "gen_ai.response.finish_reasons": ("finish_reasons", list),
    "gen_ai.response.time_to_first_chunk": ("time_to_first_chunk_ms", float),
    "tokentrail.response.time_to_first_token": ("ttft_ms", float),
    "gen_ai.input.messages": ("input_messages", str),
    "gen_ai.output.messages": ("output_messages", str),
    "gen_ai.system_instructions": ("system", str),
    "server.address": ("server_address", str),
    "http.response.status_code": ("status_code", int),
    "error.type": ("error_type", str),
    "tokentrail.response.request_id": ("request_id", str),
    "tokentrail.request.retry_count": ("retry_count", int),
    "tokentrail.ratelimit.limit_requests": ("ratelimit_limit_requests", int),
    "tokentrail.ratelimit.remaining_requests": ("ratelimit_remaining_requests", int),
    "tokentrail.ratelimit.limit_tokens": ("ratelimit_limit_tokens", int),
    "tokentrail.ratelimit.remaining_tokens": ("ratelimit_remaining_tokens", int),
}
"""Row field and type of the value, by attribute."""


def differences(expected: Expected, row: Row, *, zero_breakdowns: bool = False) -> list[str]:
    """What `row` says otherwise than the exchange does; empty when it says the same.

    `zero_breakdowns` takes a breakdown of 0 for one that is absent: spans of other producers carry it.
    """
    found = [_difference(name, getattr(expected, name), _value(row, name)) for name in _EXACT]
    found += [
        _difference(name, getattr(expected, name), (row.get(name) or None) if zero_breakdowns else row.get(name))
        for name in _BREAKDOWNS
    ]
    found += [
        _difference("server_address", expected.host, row.get("server_address")),
        _difference("status_code", expected.status, row.get("status_code")),
        _difference("finish_reasons", list(expected.finish_reasons), list(row.get("finish_reasons") or ())),
        *(_difference(name, value, row.get(name)) for name, value in (expected.ratelimit or {}).items()),
        _message_difference(expected.error_message, _value(row, "error_message")),
        *_timing(expected, row),
        *_content(expected, row),
    ]
    return [line for line in found if line]


def modality_differences(expected: Expected, span: SentSpan) -> list[str]:
    """What `span` says otherwise of audio and image tokens: a row has no field for them."""
    found = []
    for modality in ("audio", "image"):
        for direction in ("input", "output"):
            name = f"gen_ai.usage.{modality}.{direction}_tokens"
            want = (expected.modalities or {}).get(f"{modality}.{direction}")
            found.append(_difference(name, want, span.attributes.get(name)))
    return [line for line in found if line]


def row_of(span: SentSpan) -> tuple[Row, list[str]]:
    """The span in the field names of a row, and its attributes whose values have another type than they should."""
    row: dict[str, Any] = {"stream": False, "error_message": span.status_message}
    wrong = []
    for name, (field, kind) in _SPAN_FIELDS.items():
        if (value := span.attributes.get(name)) is not None:
            row[field] = value
            if type(value) is not kind:
                wrong.append(f"{name} is a {type(value).__name__}, not a {kind.__name__}")
    failed = bool(row.get("error_type"))
    if failed != (span.status_code == 2):
        wrong.append(f"span status {span.status_code} with error.type {row.get('error_type')!r}")
    if span.status_code == 1 and not is_foreign(span):
        wrong.append("span status is Ok; a success leaves it unset")
    return row, wrong


def is_foreign(span: SentSpan) -> bool:
    """True for the span that Anthropic's SDK makes itself and that is only added to.

    It says 0 where the conventions leave a breakdown out, and `Ok` where they leave the status unset.
    """
    return span.scope.startswith("com.anthropic.")


def is_billable(span: SentSpan) -> bool:
    """True for a span that is counted as a model call."""
    return span.attributes.get("gen_ai.operation.name") in BILLABLE


_TEXT_FIELDS: Final = frozenset(field.name for field in fields(Expected) if field.type is str)


def _value(row: Row, name: str) -> object:
    """Absent and `None` are the empty string of a text field."""
    value = row.get(name)
    return "" if value is None and name in _TEXT_FIELDS else value


def _difference(name: str, want: object, got: object) -> str:
    if want == got and type(want) is type(got):
        return ""
    return f"{name}: recorded {_short(want)}, got {_short(got)}"


def _message_difference(want: str, got: object) -> str:
    """The message word for word, but for a key that it quotes: no secret is recorded, so a mark stands in its place."""
    keys = _KEY.findall(want)
    pattern = r"\S+?".join(re.escape(text) for text in _KEY.split(want))
    if isinstance(got, str) and re.fullmatch(pattern, got, re.DOTALL) and not any(key in got for key in keys):
        return ""
    return f"error_message: recorded {_short(want)}, got {_short(got)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:100]} ... {text[-50:]} ({len(text)} characters)"


def _timing(expected: Expected, row: Row) -> Iterable[str]:
    for name in ("ttft_ms", "time_to_first_chunk_ms"):
        value = row.get(name)
        if not expected.stream or expected.status >= 400:
            yield _difference(name, None, value)
        elif not isinstance(value, int | float) or value < 0:
            yield f"{name}: a stream has one, got {value!r}"


def _content(expected: Expected, row: Row) -> Iterable[str]:
    outputs = _parsed(row.get("output_messages"))
    choices = [_choice(message) for message in outputs]
    if expected.operation in _GENERATING:
        yield _difference("output messages", list(expected.choices), choices)
        yield _difference("roles of the output", {"assistant"} if choices else set(), {m.get("role") for m in outputs})
        inputs = _parsed(row.get("input_messages"))
        yield _difference("user text", expected.user_text, _text_by(("user",), inputs))
        system = _texts(_parsed(row.get("system"))) + _text_by(("system", "developer"), inputs)
        yield _difference("system text", expected.system_text, system)


def _parsed(value: object) -> list[dict[str, Any]]:
    """Messages or parts, which come as a JSON string or as what it holds; nothing is an empty list."""
    parsed = json.loads(value) if isinstance(value, str) and value else value or []
    assert isinstance(parsed, list), f"content is not a list: {_short(parsed)}"
    return parsed


def _choice(message: Mapping[str, Any]) -> Choice:
    parts = message.get("parts", [])
    return Choice(
        text=_texts(parts),
        reasoning="".join(part.get("content") or "" for part in parts if part["type"] == "reasoning"),
        tool_calls=tuple(
            ToolCall(part.get("id") or "", part["name"], _arguments(part.get("arguments")))
            for part in parts
            if part["type"] == "tool_call"
        ),
    )


def _arguments(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def _text_by(roles: tuple[str, ...], messages: Iterable[Mapping[str, Any]]) -> str:
    return "".join(_texts(message.get("parts", [])) for message in messages if message.get("role") in roles)


def _texts(parts: Iterable[Mapping[str, Any]]) -> str:
    return "".join(part["content"] for part in parts if part["type"] == "text")
