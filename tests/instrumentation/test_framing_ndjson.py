import json
import random

import pytest

from tokentrail.instrumentation.body import BodyReader
from tokentrail.instrumentation.framing import FRAMINGS, ndjson
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.framing.ndjson import NdjsonDecoder
from tokentrail.instrumentation.wire import OLLAMA_CHAT


def _decode(*pieces: bytes) -> list[Event]:
    decoder = NdjsonDecoder()
    return [*(event for piece in pieces for event in decoder.feed(piece)), *decoder.flush()]


BODIES: list[tuple[str, bytes, list[bytes]]] = [
    ("empty", b"", []),
    ("one line", b'{"a":1}\n', [b'{"a":1}']),
    ("several lines", b'{"a":1}\n{"b":2}\n{"c":3}\n', [b'{"a":1}', b'{"b":2}', b'{"c":3}']),
    ("no line end at the end", b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
    ("cut off in a document", b'{"a":1}\n{"b', [b'{"a":1}', b'{"b']),
    ("empty lines", b'\n\n{"a":1}\n\n \t\n{"b":2}\n\n', [b'{"a":1}', b'{"b":2}']),
    ("space around documents", b' {"a":1} \n\t[2]\t\n', [b'{"a":1}', b"[2]"]),
    ("escaped line ends", b'{"a":"x\\ny"}\n', [b'{"a":"x\\ny"}']),
    ("byte order mark", b'\xef\xbb\xbf{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
    ("a mark is one at the start only", b'{"a":1}\n\xef\xbb\xbf{"b":2}\n', [b'{"a":1}', b'\xef\xbb\xbf{"b":2}']),
    (
        "characters of several bytes",
        '{"a":"🙂é"}\n{"b":"é"}\n'.encode(),
        ['{"a":"🙂é"}'.encode(), '{"b":"é"}'.encode()],
    ),
    ("not UTF-8", b'{"a":"\xff"}\n\xfe\n', [b'{"a":"\xff"}', b"\xfe"]),
    ("other separators are text", b'{"a":"\xe2\x80\xa8\x0b\x0c\x85"}\n', [b'{"a":"\xe2\x80\xa8\x0b\x0c\x85"}']),
    ("garbage", b"\x00\x01\n<html>\n", [b"\x00\x01", b"<html>"]),
]

each_body = pytest.mark.parametrize(
    ("body", "expected"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES]
)
each_line_end = pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])


@each_body
@each_line_end
def test_a_body_is_cut_into_its_lines(body: bytes, expected: list[bytes], line_end: bytes) -> None:
    body = body.replace(b"\n", line_end)
    events = [Event("", data) for data in expected]

    assert _decode(body) == events
    assert _decode(*(body[i : i + 1] for i in range(len(body)))) == events
    for position in range(len(body) + 1):
        assert _decode(body[:position], b"", body[position:]) == events, position


@each_body
def test_a_line_comes_as_soon_as_it_has_ended(body: bytes, expected: list[bytes]) -> None:
    decoder = NdjsonDecoder()
    found = 0

    for position in range(len(body)):
        ended = [line for line in body[: position + 1].split(b"\n")[:-1] if line.strip()]
        found += len(decoder.feed(body[position : position + 1]))

        assert found == len(ended)


def test_random_documents_cut_at_random_places_come_as_they_were() -> None:
    source = random.Random("ndjson")

    for _ in range(300):
        lines = [
            json.dumps({"text": "".join(source.choices('ab"\\\n\r\u2028é🙂 ', k=source.randrange(40)))}).encode()
            for _ in range(source.randrange(1, 20))
        ]
        body = b"\n".join([*lines, b""])
        cuts = sorted(source.randrange(len(body) + 1) for _ in range(source.randrange(30)))
        pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]

        assert _decode(*pieces) == [Event("", line) for line in lines]


@pytest.mark.parametrize("piece_bytes", [1, 3, 10, 1000])
def test_a_line_that_is_too_long_is_dropped_and_no_other(monkeypatch: pytest.MonkeyPatch, piece_bytes: int) -> None:
    monkeypatch.setattr(ndjson, "MAX_EVENT_BYTES", 10)
    body = b"1234567890\n12345678901\n12\n" + b"x" * 25 + b"\n\n1234567890\n12345678901"

    events = _decode(*(body[i : i + piece_bytes] for i in range(0, len(body), piece_bytes)))

    assert [event.data for event in events] == [b"1234567890", b"12", b"1234567890"]


def test_a_line_that_is_too_long_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "MAX_EVENT_BYTES", 1000)
    decoder = NdjsonDecoder()

    for _ in range(100):
        decoder.feed(b"x" * 100)

    assert sum(map(len, decoder._rest)) <= 1000
    assert decoder.feed(b'\n{"a":1}\n') == [Event("", b'{"a":1}')]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/stream+json",
    ],
)
def test_the_media_types_in_use_are_known(media_type: str) -> None:
    reader = BodyReader(OLLAMA_CHAT.reader(True), f"{media_type.title()}; charset=utf-8", "", 1000)

    reader.feed(1, b'{"model":"m","message":{"role":"assistant","content":""},"done":false}\n')
    reader.feed(2, b'{"model":"m","message":{"role":"assistant","content":"x"},"done":false}\n')

    assert FRAMINGS[media_type] is NdjsonDecoder
    assert (reader.is_stream, reader.first_chunk_ticks, reader.first_token_ticks) == (True, 1, 2)
    assert reader.finish(3).model == "m"
