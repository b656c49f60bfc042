"""No body can make a reader raise: random JSON, and real fields with values of other types."""

import copy
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from tokentrail.instrumentation import content
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire import WIRE_FORMATS, endpoints
from tokentrail.instrumentation.wire._base import Response, WireFormat

CASES: Final = 1_000
"""For each format and kind of input."""
VALUES: Final = 4_000
"""That objects and events are put together from: to make new ones each time takes much longer than to read them."""
FIXTURES: Final = Path(__file__).parents[1] / "fixtures" / "wire"
KEYS: Final = (
    *("id", "model", "choices", "index", "delta", "message", "messages", "content", "role", "text", "type", "name"),
    *("usage", "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "cached_tokens", "cost"),
    *(
        "completion_tokens_details",
        "reasoning_tokens",
        "x_groq",
        "tool_calls",
        "function",
        "arguments",
        "finish_reason",
    ),
    *("error", "code", "detail", "object", "input", "output", "response", "item", "output_index", "status", "thinking"),
    *("content_block", "stop_reason", "system", "tools", "input_tokens", "output_tokens", "stop", "source", "data"),
    *(
        "incomplete_details",
        "reason",
        "summary",
        "image_url",
        "url",
        "file",
        "refusal",
        "audio",
        "total_cost",
        "call_id",
    ),
    *("temperature", "max_tokens", "seed", "n", "top_k", "stream", "service_tier", "dimensions", "encoding_format"),
)
KINDS: Final = (
    *("response.created", "response.completed", "response.output_text.delta", "response.output_item.added", "error"),
    *("message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop", "text_delta"),
    *("input_json_delta", "thinking_delta", "tool_use", "tool_result", "text", "image", "base64", "function_call"),
    *("message", "reasoning", "function_call_output", "computer_screenshot", "image_url", "input_audio", "file"),
)
ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2**63, -(2**63) - 1, 10**400, 1.5, 1e300, float("nan"), float("inf"), -0.0),
    *("", "x", "\ud800", "\x00", "🙂", "data:image/png;base64,AAAA", "data:", "{", '{"a": 1}', "[" * 5000),
    *([], {}, [[]], [None], {"": None}, [{}], "1", 1024, 10**6),
)


def _value(source: random.Random, depth: int = 0) -> Any:
    choice = source.random()
    if depth > 5 or choice < 0.25:
        return copy.deepcopy(source.choice(ODD))
    if choice < 0.35:
        return source.choice(KINDS)
    if choice < 0.55:
        return [_value(source, depth + 1) for _ in range(source.randrange(4))]
    return _object(source, depth + 1)


def _object(source: random.Random, depth: int = 0) -> dict[str, Any]:
    made = {source.choice(KEYS): _value(source, depth) for _ in range(source.randrange(8))}
    if source.random() < 0.5:
        made["type"] = source.choice(KINDS)
    return made


@cache
def _values() -> tuple[str, ...]:
    """Random values as JSON, the same for all formats."""
    source = random.Random("values")
    return tuple(json.dumps(_value(source)) for _ in range(VALUES))


def _any_object(source: random.Random) -> dict[str, Any]:
    """As `_object`, of `_values`: fresh, for a reader may keep what it is given."""
    members = [f"{json.dumps(source.choice(KEYS))}: {source.choice(_values())}" for _ in range(source.randrange(8))]
    made: dict[str, Any] = json.loads(f"{{{', '.join(members)}}}")
    if source.random() < 0.5:
        made["type"] = source.choice(KINDS)
    return made


def _mutated(source: random.Random, value: Any, depth: int = 0) -> Any:
    """`value` with one thing somewhere in it replaced by something odd, though not the whole."""
    if isinstance(value, (dict, list)) and value and (depth == 0 or source.random() < 0.85):
        key = source.choice(list(value)) if isinstance(value, dict) else source.randrange(len(value))
        value[key] = _mutated(source, value[key], depth + 1)
        return value
    return _value(source, 4)


def _fixtures(wire: WireFormat) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((FIXTURES / wire.name).glob("*.json"))]


def _requests(wire: WireFormat, source: random.Random) -> Iterator[Any]:
    real = [json.dumps(fixture["request"]) for fixture in _fixtures(wire)]
    for _ in range(CASES):
        yield _any_object(source)
        yield _mutated(source, json.loads(source.choice(real)))


def _bodies(wire: WireFormat, source: random.Random) -> Iterator[Any]:
    real = [json.dumps(fixture["body"]) for fixture in _fixtures(wire) if isinstance(fixture.get("body"), dict)]
    for _ in range(CASES):
        yield _any_object(source)
        yield _mutated(source, json.loads(source.choice(real)))


def _streams(wire: WireFormat, source: random.Random) -> Iterator[list[Event]]:
    lines = [line.removeprefix("data: ") for fixture in _fixtures(wire) for line in fixture.get("lines", ())]
    lines = [line for line in lines if line.startswith("{") and line.endswith("}")]
    for _ in range(CASES):
        events = []
        for _ in range(source.randrange(1, 8)):
            known = lines and source.random() < 0.7
            chosen = json.loads(source.choice(lines if known else _values()))
            events.append(Event(source.choice(KINDS), json.dumps(_mutated(source, chosen)).encode()))
        events.append(Event("", source.choice([b"", b"[DONE]", b"[", b"\xff", b"null", b'"' * 3, b"[" * 90_000])))
        yield events


def _check(response: Response) -> None:
    assert isinstance(response.id + response.model + response.service_tier, str)
    for name in response.usage.__dataclass_fields__:
        count = getattr(response.usage, name)
        # Together they may pass 64 bits; the pricing refuses such a usage and says so.
        assert count is None or (type(count) is int and abs(count) < 2**66), name
    assert response.reported_usd is None or response.reported_usd.is_finite()
    assert all(isinstance(reason, str) for reason in response.finish_reasons)
    if response.output:
        json.loads(content.dump(response.output, 1_000, 5_000))


@pytest.mark.parametrize("wire", WIRE_FORMATS, ids=lambda wire: str(wire.name))
def test_no_request_makes_a_format_raise(wire: WireFormat) -> None:
    for body in _requests(wire, random.Random(f"{wire.name} requests")):
        wire.recognises(body)
        request = wire.read_request(body)
        asked = wire.read_content(body)

        assert isinstance(request.model + request.user, str)
        for items in (asked.messages, asked.system, asked.tools):
            dumped = content.dump(items, 1_000, 5_000)
            assert isinstance(json.loads(dumped), list)
            assert len(dumped.encode()) <= 5_000


@pytest.mark.parametrize("wire", WIRE_FORMATS, ids=lambda wire: str(wire.name))
def test_no_plain_body_makes_a_reader_raise(wire: WireFormat) -> None:
    for body in _bodies(wire, random.Random(f"{wire.name} bodies")):
        reader = wire.reader(True)

        reader.feed_body(body)

        _check(reader.result())


@pytest.mark.parametrize("wire", WIRE_FORMATS, ids=lambda wire: str(wire.name))
def test_no_event_makes_a_reader_raise_but_for_json_that_is_none(wire: WireFormat) -> None:
    for events in _streams(wire, random.Random(f"{wire.name} streams")):
        for keep_content in (True, False):
            reader = wire.reader(keep_content)

            for event in events:
                try:
                    carries_output = reader.feed_event(event)
                except (ValueError, RecursionError):
                    continue  # from `json.loads` itself, as BodyReader expects
                assert isinstance(carries_output, bool)

            _check(reader.result())


def test_no_bytes_make_the_endpoint_table_raise() -> None:
    source = random.Random("endpoints")
    paths = ("/v1/chat/completions", "/responses", "/v1/embeddings/", "/v1/messages", "/", "")

    for _ in range(3_000):
        body = json.dumps(_value(source)).encode()
        body = source.choice([body, body[: source.randrange(len(body) + 1)], source.randbytes(20), b"[" * 50_000])
        found = endpoints.match(source.choice(["api.openai.com", "localhost", ""]), 80, source.choice(paths), body)

        assert found is None or isinstance(found.model, str)
