"""Answers that are neither JSON nor events: audio, which goes by, and the texts of transcriptions."""

import gzip
import json
import random
import tracemalloc
from typing import Any, Final

import pytest

from tokentrail.instrumentation.body import BodyReader
from tokentrail.instrumentation.wire import OPENAI_CHAT, OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS
from tokentrail.instrumentation.wire._base import Response, WireFormat

MAX_BYTES: Final = 10_000
SUBTITLES: Final = "1\n00:00:00,000 --> 00:00:02,500\nÜber allen Gipfeln\n"


def _read(wire: WireFormat, body: bytes, content_type: str, *, keep_content: bool = True, coding: str = "") -> Any:
    reader = BodyReader(wire.reader(keep_content), content_type, coding, MAX_BYTES)
    for start in range(0, len(body), 1_000):
        reader.feed(start, body[start : start + 1_000])
    return reader, reader.finish(0)


def _parts(response: Response) -> list[Any]:
    return [part for message in response.output for part in _sequence(message["parts"])]


def _sequence(value: object) -> list[Any]:
    assert isinstance(value, list)
    return value


@pytest.mark.parametrize("content_type", ["audio/mpeg", "audio/wav; rate=24000", "application/octet-stream"])
def test_audio_is_counted_and_not_gathered_however_large_it_is(content_type: str) -> None:
    audio = random.Random(1).randbytes(MAX_BYTES * 3)

    reader, response = _read(OPENAI_SPEECH, audio, content_type)

    media_type = content_type.partition(";")[0]
    expected = {"type": "blob", "modality": "audio", "content": "", "bytes": len(audio), "mime_type": media_type}
    assert (reader.problem, reader.is_stream, response.complete) == ("", False, True)
    assert _parts(response) == [expected]
    assert response.usage.is_empty


def test_audio_takes_no_memory() -> None:
    reader = BodyReader(OPENAI_SPEECH.reader(True), "audio/mpeg", "", 100_000_000)
    piece = bytes(100_000)

    tracemalloc.start()
    for ticks in range(200):
        reader.feed(ticks, piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert _parts(reader.finish(0))[0]["bytes"] == 20_000_000
    assert peak < 100_000


def test_audio_leaves_nothing_where_content_is_off() -> None:
    reader, response = _read(OPENAI_SPEECH, b"\xff\xf3" * 100, "audio/mpeg", keep_content=False)

    assert (reader.problem, list(response.output)) == ("", [])


@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", "application/x-subrip", "text/vtt", "TEXT/SRT"])
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_transcript_that_is_text_is_the_answer(content_type: str, coding: str) -> None:
    body = SUBTITLES.encode()

    reader, response = _read(
        OPENAI_TRANSCRIPTIONS, gzip.compress(body) if coding else body, content_type, coding=coding
    )

    assert (reader.problem, response.complete) == ("", True)
    assert _parts(response) == [{"type": "text", "content": SUBTITLES}]


def test_a_transcript_that_is_text_is_not_gathered_where_content_is_off() -> None:
    reader, response = _read(OPENAI_TRANSCRIPTIONS, b"x" * MAX_BYTES * 2, "text/plain", keep_content=False)

    assert (reader.problem, list(response.output)) == ("", [])


def test_a_transcript_that_is_too_long_is_told_and_dropped() -> None:
    reader, response = _read(OPENAI_TRANSCRIPTIONS, b"x" * MAX_BYTES * 2, "text/plain")

    assert (reader.problem, list(response.output)) == ("too_large", [])


@pytest.mark.parametrize("wire", [OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS], ids=lambda wire: str(wire.name))
def test_an_error_is_read_as_json_all_the_same(wire: WireFormat) -> None:
    body = json.dumps({"error": {"message": "No", "type": "t", "code": "c"}}).encode()

    for content_type in ("application/json", ""):
        reader, response = _read(wire, body, content_type)

        assert reader.problem == ""
        assert response.error is not None
        assert (response.error.kind, response.error.message) == ("c", "No")


def test_another_endpoint_has_no_use_for_a_text() -> None:
    reader, _ = _read(OPENAI_CHAT, b"Bad gateway", "text/plain")

    assert reader.problem == "undecodable"
