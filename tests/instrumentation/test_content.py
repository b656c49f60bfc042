import hashlib
import json
import random
from typing import Any

import pytest

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import TextBuffer
from tokentrail.instrumentation.wire import WIRE_FORMATS
from tokentrail.instrumentation.wire._base import RequestContent

BASE64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
DATA_URL = f"data:image/png;base64,{BASE64}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _load(items: Any, max_part_bytes: int = 1_000, max_bytes: int = 100_000) -> Any:
    dumped = content.dump(items, max_part_bytes, max_bytes)
    assert len(dumped.encode("utf-8")) <= max_bytes
    return json.loads(dumped, parse_constant=_reject)


def _reject(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _user(text: str) -> content.Message:
    return content.message("user", [content.text(text)])


# One text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["x" * 1_000, "é" * 500, "🙂" * 250], ids=["one byte", "two bytes", "four bytes"])
def test_a_text_at_the_limit_is_whole(text: str) -> None:
    assert _load([_user(text)]) == [_user(text)]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * 1_001, "x" * 1_000),
        ("é" * 501, "é" * 500),
        ("x" + "🙂" * 250, "x" + "🙂" * 249),
        ("x" * 10**6, "x" * 1_000),
    ],
    ids=["one byte", "two bytes", "four bytes", "huge"],
)
def test_a_text_past_the_limit_is_cut_between_characters_and_says_so(text: str, kept: str) -> None:
    assert _load([_user(text)]) == [
        {
            "role": "user",
            "parts": [
                {
                    "type": "text",
                    "content": kept,
                    "truncated": True,
                    "original_bytes": len(text.encode()),
                    "sha256": _sha256(text),
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    "part",
    [
        content.tool_call("c", "f", "{" + "x" * 2_000),
        content.tool_response("c", "x" * 2_000),
        content.reasoning("x" * 2_000),
    ],
    ids=["arguments that are no JSON", "an answer", "reasoning"],
)
def test_other_long_texts_of_a_part_say_that_they_were_cut_too(part: content.Part) -> None:
    [cut] = _load([part])

    assert cut["truncated"] is True
    assert cut["original_bytes"] in (2_000, 2_001)
    assert cut["type"] == part["type"]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc00\ud800", "🙂\ud83d"])
def test_half_of_a_surrogate_pair_becomes_a_question_mark(text: str) -> None:
    [loaded] = _load([_user(text)])

    expected = text.encode("utf-8", "replace").decode()
    assert loaded["parts"][0]["content"] == expected
    assert "?" in expected


@pytest.mark.parametrize(
    "text", ["", "\x00\x01\x1f", '"\\', "\u2028\u2029", "\ufeff", "</script>", "\n\r\t", "🏳️‍🌈", "\x7f\x80", "\uffff"]
)
def test_awkward_texts_come_back_as_they_were(text: str) -> None:
    assert _load([_user(text)]) == [_user(text)]


# Tool calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ("", {}),
        ("null", None),
        ('{"a": ', '{"a": '),
        ("rm -rf", "rm -rf"),
        ({"a": 1}, {"a": 1}),
        (None, None),
    ],
)
def test_arguments_are_parsed_where_they_are_json(arguments: object, expected: object) -> None:
    assert content.tool_call("id", "f", arguments)["arguments"] == expected


def test_a_call_without_an_id_has_none() -> None:
    assert content.tool_call("", "f", "")["id"] is None
    assert content.tool_response("", "x")["id"] is None


@pytest.mark.parametrize("depth", [10, 200, 400, 600, 900, 50_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_arguments_of_any_depth_are_dumped_as_valid_json(depth: int, opening: str, closing: str) -> None:
    arguments = opening * depth + "1" + closing * depth

    [message] = _load([content.message("assistant", [content.tool_call("c", "f", arguments)])])

    assert message["parts"][0]["name"] == "f"
    assert ("1" in json.dumps(message["parts"][0]["arguments"])) == (depth == 10)


def test_numbers_that_json_does_not_have_become_texts() -> None:
    [part] = _load([content.tool_call("c", "f", '{"a": NaN, "b": [Infinity, -Infinity], "c": 1e999}')])

    assert part["arguments"] == {"a": "nan", "b": ["inf", "-inf"], "c": "inf"}


def test_large_arguments_stay_within_the_limits_and_keep_the_rest_of_the_call() -> None:
    arguments = json.dumps({f"key {i}": ["x" * 100] * 100 for i in range(100)})

    [message] = _load([content.message("assistant", [content.tool_call("c", "f", arguments)])], max_bytes=20_000)

    assert message == {"role": "system", "parts": [{"type": "omitted", "items": 1}]}


def test_long_keys_are_cut() -> None:
    [part] = _load([content.tool_call("c", "f", {"k" * 5_000: 1})])

    assert part["arguments"] == {"k" * 1_000: 1}


def test_a_tiny_part_limit_leaves_the_names_of_fields_alone() -> None:
    [message] = _load([_user("hello")], max_part_bytes=1)

    assert message["role"] == "u"
    assert message["parts"][0]["content"] == "h"


def test_values_that_are_not_json_are_named() -> None:
    [part] = _load([content.tool_call("c", "f", {"a": {1}, 5: 1})])

    assert part["arguments"] == {"a": "{1}", "5": 1}


# The whole ------------------------------------------------------------------------------------------------------


def test_content_at_the_limit_is_whole_and_one_byte_past_it_is_cut() -> None:
    items = [_user("x" * 900), _user("y" * 900)]
    size = len(content.dump(items, 1_000, 10**6))

    assert _load(items, max_bytes=size) == items
    assert _load(items, max_bytes=size - 1) != items


def test_texts_are_cut_before_messages_are_dropped() -> None:
    items = [_user("x" * 900) for _ in range(10)]

    loaded = _load(items, max_bytes=6_000)

    assert len(loaded) == 10
    assert all(message["parts"][0]["truncated"] for message in loaded)


def test_the_oldest_messages_are_dropped_and_counted() -> None:
    items = [_user(f"{i}") for i in range(1_000)]

    loaded = _load(items, max_bytes=1_000)

    kept = len(loaded) - 1
    assert kept > 5
    assert loaded == [{"role": "system", "parts": [{"type": "omitted", "items": 1_000 - kept}]}, *items[-kept:]]


def test_dropped_parts_are_counted_by_a_part() -> None:
    parts = [content.text(f"{i}") for i in range(1_000)]

    loaded = _load(parts, max_bytes=1_000)

    assert loaded == [{"type": "omitted", "items": 1_001 - len(loaded)}, *parts[1_001 - len(loaded) :]]


@pytest.mark.parametrize("max_bytes", [2, 10, 60, 99, 100, 101, 150, 256, 300])
def test_the_smallest_limits_hold(max_bytes: int) -> None:
    for items in (
        [_user("x" * 10_000)] * 5,
        [content.text("🙂" * 10_000)] * 5,
        [content.tool_call("c", "f", {"a": [1] * 9_999})],
    ):
        assert isinstance(_load(items, max_bytes=max_bytes), list)


def test_no_items_are_an_empty_array() -> None:
    assert content.dump([], 10, 10) == "[]"


def test_random_content_is_always_valid_and_within_its_limits() -> None:
    source = random.Random("content")
    alphabet = ["a", "é", "🙂", "\ud800", '"', "\\", "\x00", "x" * 500, "\udfff" * 300, "\u2028"]

    def value(depth: int = 0) -> Any:
        kind = source.randrange(6 if depth < 4 else 3)
        if kind < 2:
            return "".join(source.choices(alphabet, k=source.randrange(8)))
        if kind == 2:
            return source.choice([1, 1.5, None, True, float("nan"), 10**30])
        if kind == 3:
            return [value(depth + 1) for _ in range(source.randrange(5))]
        return {source.choice([*alphabet, "type", "content", "arguments"]): value(depth + 1) for _ in range(4)}

    for _ in range(1_500):
        items = [content.message(value(9), [content.tool_call("c", "f", value())]) for _ in range(source.randrange(4))]
        limits = source.choice([1, 10, 256, 1_000]), source.choice([2, 200, 1_000, 5_000])

        assert isinstance(_load(items, *limits), list)


# Binary content -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base64_data", "size"), [("", 0), ("AA==", 1), ("AAA=", 2), ("AAAA", 3), ("A" * 4_000, 3_000)]
)
def test_a_blob_carries_its_size_and_hash_in_place_of_its_bytes(base64_data: str, size: int) -> None:
    assert content.blob("image", base64_data, "image/png") == {
        "type": "blob",
        "modality": "image",
        "content": "",
        "bytes": size,
        "sha256": _sha256(base64_data),
        "mime_type": "image/png",
    }


@pytest.mark.parametrize(
    "location", [DATA_URL, DATA_URL.replace("data:", "DATA:"), DATA_URL.replace(";base64", ";a=b;BASE64")]
)
def test_a_data_url_is_a_blob_of_its_type(location: str) -> None:
    assert content.media("image", location) == content.blob("image", BASE64, "image/png")


def test_a_data_url_without_base64_is_a_blob_of_its_own_bytes() -> None:
    part = content.media("document", "data:text/plain,a%20b")

    assert (part["bytes"], part["sha256"], part["mime_type"]) == (3, _sha256("a b"), "text/plain")


def test_bare_base64_in_place_of_a_url_is_a_blob() -> None:
    assert content.media("document", BASE64, "application/pdf") == content.blob("document", BASE64, "application/pdf")


@pytest.mark.parametrize(
    "location", [f"data:{BASE64}", f"data:image/png;base64;{BASE64}", f"data:image/{'a' * 90},{BASE64}"]
)
def test_a_data_url_that_is_wrong_shows_nothing_of_its_data(location: str) -> None:
    assert BASE64[:12] not in json.dumps(content.media("image", location))


@pytest.mark.parametrize("location", ["https://example.com/a.png", "gs://bucket/a", "file:///a", ""])
def test_a_url_stays(location: str) -> None:
    assert content.media("image", location, "image/png") == {
        "type": "uri",
        "modality": "image",
        "uri": location,
        "mime_type": "image/png",
    }


CHAT_PARTS: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": DATA_URL}},
    {"type": "image_url", "image_url": DATA_URL},
    {"type": "image_url", "image_url": {"url": BASE64}},
    {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}},
    {"type": "file", "file": {"file_data": DATA_URL, "filename": "a.pdf"}},
    {"type": "file", "file": {"file_data": BASE64}},
    {"type": "video", "data": BASE64},
]
RESPONSES_PARTS: list[dict[str, Any]] = [
    {"type": "input_image", "image_url": DATA_URL},
    {"type": "input_file", "file_data": DATA_URL},
    {"type": "input_file", "file_data": BASE64, "filename": "a.pdf"},
    {"type": "input_audio", "input_audio": {"data": BASE64, "format": "mp3"}},
    {"type": "something_new", "data": BASE64},
]
ANTHROPIC_SOURCE = {"type": "base64", "media_type": "image/png", "data": BASE64}
ANTHROPIC_PARTS: list[dict[str, Any]] = [
    {"type": "image", "source": ANTHROPIC_SOURCE},
    {"type": "document", "source": ANTHROPIC_SOURCE},
    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": ANTHROPIC_SOURCE}]},
    {"type": "something_new", "data": BASE64},
]
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    *(("openai_chat", {"messages": [{"role": "user", "content": [part]}]}) for part in CHAT_PARTS),
    *(("openai_chat", {"messages": [{"role": "tool", "tool_call_id": "c", "content": [part]}]}) for part in CHAT_PARTS),
    *(("openai_responses", {"input": [{"role": "user", "content": [part]}]}) for part in RESPONSES_PARTS),
    *(
        ("openai_responses", {"input": [{"type": "function_call_output", "call_id": "c", "output": [part]}]})
        for part in RESPONSES_PARTS
    ),
    (
        "openai_responses",
        {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": DATA_URL}}]},
    ),
    ("openai_responses", {"input": [{"type": "image_generation_call", "id": "ig_1", "result": BASE64}]}),
    *(("anthropic_messages", {"messages": [{"role": "user", "content": [part]}]}) for part in ANTHROPIC_PARTS),
]


@pytest.mark.parametrize(("name", "body"), REQUESTS)
def test_no_format_captures_base64(name: str, body: dict[str, Any]) -> None:
    [wire] = [wire for wire in WIRE_FORMATS if wire.name == name]

    asked: RequestContent = wire.read_content(body)

    assert asked.messages
    assert BASE64[:12] not in content.dump(asked.messages, 10_000, 100_000)


# Text in pieces -------------------------------------------------------------------------------------------------


def test_a_buffer_is_empty_until_it_has_text() -> None:
    buffer = TextBuffer()
    buffer.append("")

    assert not buffer
    assert str(buffer) == ""

    buffer.append("a")
    buffer.append("b")

    assert buffer
    assert str(buffer) == "ab"


def test_a_buffer_drops_what_comes_after_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_TEXT_CHARS", 10)
    buffer = TextBuffer()

    for piece in ("12345", "67890", "x"):
        buffer.append(piece)

    assert str(buffer) == "1234567890"


def test_a_buffer_cuts_the_piece_that_goes_past_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_TEXT_CHARS", 10)
    buffer = TextBuffer()

    buffer.append("12345")
    buffer.append("678901")

    assert str(buffer) == "1234567890"
