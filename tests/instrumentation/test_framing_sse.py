import random

import pytest

from tokentrail.instrumentation.framing import sse
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.framing.sse import SseDecoder


def _decode(*pieces: bytes) -> list[Event]:
    decoder = SseDecoder()
    return [*(event for piece in pieces for event in decoder.feed(piece)), *decoder.flush()]


BODIES: list[tuple[str, bytes, list[Event]]] = [
    ("empty", b"", []),
    ("one event", b"data: a\n\n", [Event("", b"a")]),
    ("named", b"event: x\ndata: a\n\n", [Event("x", b"a")]),
    ("name after data", b"data: a\nevent: x\n\n", [Event("x", b"a")]),
    ("a name is for one event", b"event: x\ndata: a\n\ndata: b\n\n", [Event("x", b"a"), Event("", b"b")]),
    ("the last name counts", b"event: x\nevent: y\ndata: a\n\n", [Event("y", b"a")]),
    ("a name without data is no event", b"event: x\n\ndata: a\n\n", [Event("", b"a")]),
    ("several data lines", b"data: a\ndata: b\ndata:\ndata: c\n\n", [Event("", b"a\nb\n\nc")]),
    ("a data field without a colon is empty", b"data: a\ndata\ndata: b\n\n", [Event("", b"a\n\nb")]),
    ("no space", b"data:a\n\n", [Event("", b"a")]),
    ("one space is taken off", b"data:  a \n\n", [Event("", b" a ")]),
    ("empty data", b"data:\n\ndata: \n\n", [Event("", b""), Event("", b"")]),
    ("colons in data", b'data: {"a": "b:c"}\n\n', [Event("", b'{"a": "b:c"}')]),
    ("comments", b": ping\n\n:\ndata: a\n: more\ndata: b\n\n", [Event("", b"a\nb")]),
    ("other fields", b"id: 7\nretry: 10\nfoo: bar\nfoo\ndata: a\n\n", [Event("", b"a")]),
    ("fields that only begin alike", b"database: x\nevents: y\ndata: a\n\n", [Event("", b"a")]),
    ("empty lines", b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [Event("", b"a"), Event("", b"b")]),
    ("byte order mark", b"\xef\xbb\xbfdata: a\n\n", [Event("", b"a")]),
    ("a mark is one at the start only", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Event("", b"a")]),
    ("not UTF-8", b"event: \xff\ndata: \xfe\xff\n\n", [Event("\ufffd", b"\xfe\xff")]),
    ("characters of several bytes", "event: é\ndata: 🙂é\n\n".encode(), [Event("é", "🙂é".encode())]),
    ("cut off before the empty line", b"data: a\n\nevent: x\ndata: b", [Event("", b"a"), Event("x", b"b")]),
    ("cut off in a field name", b"data: a\n\nda", [Event("", b"a")]),
    ("done", b"data: [DONE]\n\n", [Event("", b"[DONE]")]),
    ("garbage", b"\x00\x01\x02{}\n\x00\n\n<html>\n", []),
    ("JSON", b'{"error": "no"}\n', []),
]

each_body = pytest.mark.parametrize(
    ("body", "expected"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES]
)
each_line_end = pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])


@each_body
@each_line_end
def test_a_body_is_cut_into_its_events(body: bytes, expected: list[Event], line_end: bytes) -> None:
    body = body.replace(b"\n", line_end)

    assert _decode(body) == expected
    assert _decode(*(body[i : i + 1] for i in range(len(body)))) == expected
    for position in range(len(body) + 1):
        assert _decode(body[:position], b"", body[position:]) == expected, position


@each_body
def test_a_body_is_cut_into_its_events_in_three_pieces(body: bytes, expected: list[Event]) -> None:
    body = body.replace(b"\n", b"\r\n")

    for first in range(len(body) + 1):
        for second in range(first, len(body) + 1):
            assert _decode(body[:first], body[first:second], body[second:]) == expected, (first, second)


def test_line_ends_may_be_mixed() -> None:
    assert _decode(b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\r\n") == [Event("", b"a"), Event("", b"b"), Event("", b"c")]


def test_a_body_with_lone_carriage_returns_is_read_once_it_has_ended() -> None:
    body = b"event: x\rdata: a\rdata: b\r\rdata: c\r\r"
    decoder = SseDecoder()

    assert decoder.feed(body) == []
    assert decoder.flush() == [Event("x", b"a\nb"), Event("", b"c")]


def test_an_event_is_given_as_soon_as_its_empty_line_is_there() -> None:
    decoder = SseDecoder()

    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [Event("", b"a")]


def test_the_end_is_told_once() -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: a")

    assert decoder.flush() == [Event("", b"a")]
    assert decoder.flush() == []


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("pieces", ["whole", "parts"])
def test_an_event_over_the_limit_is_dropped_and_the_next_one_read(
    excess: int, pieces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    data = b"x" * (100 + excess)
    # Two lines of half the size, so that it is the event and not a line that is over the limit.
    body = b"data: " + data[:50] + b"\ndata: " + data[51:] + b"\n\ndata: next\n\n"

    events = _decode(body) if pieces == "whole" else _decode(*(body[i : i + 3] for i in range(0, len(body), 3)))

    whole = [Event("", data[:50] + b"\n" + data[51:])]
    assert events == [*([] if excess else whole), Event("", b"next")]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_a_line_over_the_limit_is_dropped_with_its_whole_event(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    body = b"event: big\ndata: " + b"data: 1 " * 40 + b"\ndata: tail\n\ndata: next\n\n"

    events = _decode(*(body[i : i + size] for i in range(0, len(body), size)))

    assert events == [Event("", b"next")]


def test_a_line_over_the_limit_takes_the_lines_before_it_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)

    assert _decode(b"data: head\n", b"data: " + b"x" * 100, b"\n\n") == []


@pytest.mark.parametrize("length", range(95, 310))
def test_the_rest_of_a_line_over_the_limit_is_no_line_of_its_own(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    body = b"data: " + b"x" * length + b"\ndata: tail\n\n"

    assert _decode(*(body[i : i + 1] for i in range(len(body)))) == []


def test_what_is_held_of_a_line_without_end_stays_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1_000)
    decoder = SseDecoder()

    for _ in range(1_000):
        decoder.feed(b"x" * 64)

        assert decoder._rest_bytes == sum(map(len, decoder._rest)) <= 1_000


def test_a_long_line_in_small_pieces_takes_time_in_proportion_to_its_length() -> None:
    # Quadratic work would copy 20 GB here and take many seconds.
    decoder = SseDecoder()
    decoder.feed(b"data: ")

    for _ in range(50_000):
        decoder.feed(b"x" * 16)

    assert decoder.feed(b"\n\n") == [Event("", b"x" * 800_000)]


def test_random_bytes_never_raise_and_say_the_same_however_they_are_cut() -> None:
    source = random.Random("sse")
    alphabet = [
        b"data: ",
        b"data:",
        b"event: ",
        b"\n",
        b"\n",
        b"\r\n",
        b"\r\n",
        b":",
        b"x",
        b"\xef\xbb\xbf",
        b"\xff",
        b"id: 1",
    ]

    for _ in range(2_000):
        body = b"".join(source.choices(alphabet, k=source.randrange(30)))
        cuts = sorted(source.randrange(len(body) + 1) for _ in range(source.randrange(6)))
        pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]

        assert _decode(*pieces) == _decode(body)
