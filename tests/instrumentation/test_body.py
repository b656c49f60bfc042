import gzip
import json
import zlib
from collections.abc import Iterable

import pytest

from tokentrail.instrumentation.body import BodyReader
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import Response
from tokentrail.instrumentation.wire._json import Json

STREAM = b"event: a\ndata: 1\n\ndata: out\n\ndata: 2\n\n"


class Recording:
    """A reader that keeps what it is fed; events with `out` carry output, those with `bad` are no JSON."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.bodies: list[Json] = []

    def feed_event(self, event: Event) -> bool:
        """Keep it."""
        if event.data == b"bad":
            json.loads("{")
        self.events.append(event)
        return event.data == b"out"

    def feed_body(self, body: Json) -> None:
        """Keep it."""
        self.bodies.append(body)

    def result(self) -> Response:
        """A count, to tell results apart."""
        return Response(id=f"{len(self.events)} {len(self.bodies)}")


def _read(
    pieces: Iterable[bytes], content_type: str = "", content_encoding: str = "", max_bytes: int = 1_000
) -> tuple[BodyReader, Recording]:
    recording = Recording()
    reader = BodyReader(recording, content_type, content_encoding, max_bytes)
    for ticks, piece in enumerate(pieces):
        reader.feed(ticks, piece)
    reader.finish(99)
    return reader, recording


def _bytes_of(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


@pytest.mark.parametrize("content_type", ["text/event-stream", "Text/Event-Stream; charset=utf-8", "", "text/plain"])
@pytest.mark.parametrize("start", [b"", b"\n\n", b": hello\n\n", b"id: 1\n", b"retry: 5\n", b"\xef\xbb\xbf"])
def test_a_stream_is_known_by_its_type_or_by_its_first_bytes(content_type: str, start: bytes) -> None:
    reader, recording = _read([start + STREAM], content_type)

    assert reader.is_stream
    assert reader.problem == ""
    assert recording.events == [Event("a", b"1"), Event("", b"out"), Event("", b"2")]


@pytest.mark.parametrize("start", [b"", b"\n\n", b": hello\n\n", b"id: 1\n", b"retry: 5\n"])
def test_a_stream_without_a_type_is_known_wherever_its_first_bytes_are_cut(start: bytes) -> None:
    body = start + STREAM

    for pieces in [_bytes_of(body), *([body[:cut], body[cut:]] for cut in range(12))]:
        reader, recording = _read(pieces)

        assert reader.is_stream
        assert [event.data for event in recording.events] == [b"1", b"out", b"2"]


@pytest.mark.parametrize("content_type", ["application/json", "application/vnd.api+json", "", "text/plain"])
@pytest.mark.parametrize("body", [b'{"a": 1}', b' \r\n{"a": 1}\n', b'\xef\xbb\xbf{"a": 1}', b'[{"a": 1}]'])
def test_a_document_is_read_once_it_has_ended(content_type: str, body: bytes) -> None:
    for pieces in ([body], _bytes_of(body)):
        reader, recording = _read(pieces, content_type)

        assert not reader.is_stream
        assert reader.problem == ""
        assert recording.bodies == [{"a": 1}]


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"[1]"])
def test_a_document_that_is_no_object_is_left_alone(body: bytes) -> None:
    reader, recording = _read([body], "application/json")

    assert reader.problem == ""
    assert recording.bodies == []


@pytest.mark.parametrize("body", [b'{"a": ', b"<html></html>", b"\xff\xfe\xff", b"[" * 100_000, b"da", b" ", b"e"])
def test_a_document_that_is_no_json_is_reported(body: bytes) -> None:
    for pieces in ([body], [body[:1], body[1:]]):
        reader, recording = _read(pieces, max_bytes=200_000)

        assert reader.problem == "undecodable"
        assert recording.bodies == []


def test_a_body_without_bytes_is_no_problem() -> None:
    reader, recording = _read([b"", b""])

    assert reader.problem == ""
    assert not reader.is_stream
    assert recording.bodies == []
    assert recording.events == []


def test_a_garbled_event_does_not_keep_the_others_from_being_read() -> None:
    _, recording = _read([b"data: bad\n\ndata: 1\n\n"], "text/event-stream")

    assert recording.events == [Event("", b"1")]


def test_json_nested_too_deep_in_an_event_does_not_keep_the_others_from_being_read() -> None:
    class Parsing(Recording):
        def feed_event(self, event: Event) -> bool:
            json.loads(event.data)
            return super().feed_event(event)

    recording = Parsing()
    reader = BodyReader(recording, "text/event-stream", "", 10)

    reader.feed(0, b"data: " + b"[" * 100_000 + b"\n\ndata: 1\n\n")

    assert recording.events == [Event("", b"1")]


def test_times_are_those_of_the_pieces_that_completed_the_first_event_and_the_first_output() -> None:
    reader, _ = _read(
        [b": ping\n\n", b"data: 1\n", b"\n", b"data: 2\n\nda", b"ta: out\n\n", b"data: out\n\n"], "text/event-stream"
    )

    assert (reader.first_chunk_ticks, reader.first_token_ticks) == (2, 4)


def test_an_event_cut_off_at_the_end_is_timed_with_the_end() -> None:
    reader, _ = _read([b"data: out"], "text/event-stream")

    assert (reader.first_chunk_ticks, reader.first_token_ticks) == (99, 99)


def test_a_document_has_no_times() -> None:
    reader, _ = _read([b"{}"])

    assert (reader.first_chunk_ticks, reader.first_token_ticks) == (None, None)


@pytest.mark.parametrize(("size", "problem"), [(1_000, ""), (1_001, "too_large")])
@pytest.mark.parametrize("content_type", ["application/json", ""])
def test_a_document_over_the_limit_is_not_read(size: int, problem: str, content_type: str) -> None:
    body = b'{"a":"' + b"x" * (size - 8) + b'"}'
    assert len(body) == size

    for pieces in ([body], _bytes_of(body)):
        reader, recording = _read(pieces, content_type)

        assert reader.problem == problem
        assert len(recording.bodies) == (0 if problem else 1)


def test_the_limit_is_of_the_decoded_document() -> None:
    reader, recording = _read([gzip.compress(b'{"a":"' + b"x" * 2_000 + b'"}')], "application/json", "gzip")

    assert reader.problem == "too_large"
    assert recording.bodies == []


def test_blanks_without_end_do_not_gather() -> None:
    reader, _ = _read([b"\n" * 100 for _ in range(100)])

    assert reader.problem == "too_large"


def test_a_stream_has_no_limit() -> None:
    reader, recording = _read([STREAM] * 1_000, "text/event-stream")

    assert reader.problem == ""
    assert len(recording.events) == 3_000


@pytest.mark.parametrize("content_type", ["text/event-stream", ""])
def test_a_coded_stream_is_read_as_it_comes(content_type: str) -> None:
    for pieces in ([gzip.compress(STREAM)], _bytes_of(gzip.compress(STREAM))):
        reader, recording = _read(pieces, content_type, "gzip")

        assert reader.problem == ""
        assert [event.data for event in recording.events] == [b"1", b"out", b"2"]


def test_a_body_in_an_unknown_coding_is_reported_and_not_read() -> None:
    reader, recording = _read([b"{}"], "application/json", "rot13")

    assert reader.problem == "undecodable"
    assert recording.bodies == []


def test_of_a_coding_that_breaks_what_came_before_counts() -> None:
    compress = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    good = compress.compress(b"data: 1\n\n") + compress.flush(zlib.Z_SYNC_FLUSH)

    reader, recording = _read([good, b"\xff" * 50, good], "text/event-stream", "gzip")

    assert reader.problem == "undecodable"
    assert recording.events == [Event("", b"1")]


def test_the_result_is_what_the_reader_says() -> None:
    reader = BodyReader(Recording(), "text/event-stream", "", 10)
    reader.feed(0, STREAM)

    assert reader.finish(1) == reader.finish(2) == Response(id="3 0")
