"""AWS event streams, from frames assembled here by the specification: whole, cut anywhere, cut off and corrupt.

https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Final

import pytest

from tokentrail.instrumentation.framing import FRAMINGS, aws_event_stream
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.framing.aws_event_stream import EventStreamDecoder, read_headers


def text_header(name: str, value: str) -> bytes:
    """A header of type 7."""
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()


def frame(headers: bytes, payload: bytes) -> bytes:
    """One message."""
    prelude = struct.pack(">II", 12 + len(headers) + len(payload) + 4, len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def message(payload: bytes, headers: Mapping[str, str]) -> bytes:
    """One message with text headers."""
    return frame(b"".join(text_header(name, value) for name, value in headers.items()), payload)


def event(name: str, payload: bytes) -> bytes:
    """An event as Bedrock sends it."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return message(payload, headers)


EVENTS: Final = (
    ("messageStart", b'{"role":"assistant"}'),
    ("contentBlockDelta", b'{"x":"\xc3\xa9"}'),
    ("metadata", b""),
)
BODY: Final = b"".join(event(*each) for each in EVENTS)
EXPECTED: Final = [Event(*each) for each in EVENTS]

SPECIMEN: Final = bytes.fromhex(
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1"
)
"""The message of AWS's own test vectors that has one header and a payload of JSON (`payload_one_str_header`)."""


def test_the_media_type_is_known() -> None:
    assert FRAMINGS["application/vnd.amazon.eventstream"] is EventStreamDecoder


def test_a_body_is_cut_into_its_events() -> None:
    decoder = EventStreamDecoder()

    assert decoder.feed(BODY) == EXPECTED
    assert decoder.flush() == []


def test_it_does_not_matter_where_a_body_is_cut() -> None:
    for position in range(len(BODY) + 1):
        decoder = EventStreamDecoder()

        assert [*decoder.feed(BODY[:position]), *decoder.feed(BODY[position:])] == EXPECTED


def test_a_body_may_come_byte_by_byte() -> None:
    decoder = EventStreamDecoder()

    assert [found for at in range(len(BODY)) for found in decoder.feed(BODY[at : at + 1])] == EXPECTED


def test_the_specimen_of_the_vendor_is_read() -> None:
    assert EventStreamDecoder().feed(SPECIMEN) == [Event("", b"{'foo':'bar'}")]


@pytest.mark.parametrize("position", range(len(BODY)))
def test_of_a_body_that_is_cut_off_the_whole_events_count(position: int) -> None:
    decoder = EventStreamDecoder()
    ends = [len(b"".join(event(*each) for each in EVENTS[: count + 1])) for count in range(len(EVENTS))]

    found = [*decoder.feed(BODY[:position]), *decoder.flush()]

    assert found == EXPECTED[: sum(end <= position for end in ends)]
    assert decoder.feed(BODY) == []  # after the end


def test_an_exception_and_an_error_have_names_of_their_own() -> None:
    exception = {":message-type": "exception", ":exception-type": "throttlingException"}
    error = {":message-type": "error", ":error-code": "InternalError", ":error-message": 'no "more"'}
    decoder = EventStreamDecoder()

    found = decoder.feed(message(b'{"message":"slow down"}', exception) + message(b"", error))

    assert found[0] == Event("exception:throttlingException", b'{"message":"slow down"}')
    assert found[1].name == "error:InternalError"
    assert json.loads(found[1].data) == {"message": 'no "more"'}


def test_headers_of_every_type_are_passed_over() -> None:
    values = {
        0: b"",
        1: b"",
        2: b"\x01",
        3: b"\x00\x01",
        4: b"\x00" * 4,
        5: b"\x00" * 8,
        8: b"\x00" * 8,
        9: b"\x00" * 16,
    }
    others = b"".join(b"\x01" + bytes([97 + kind, kind]) + value for kind, value in values.items())
    raw = b"\x01r\x06\x00\x03abc"

    found = read_headers(others + raw + text_header(":event-type", "é"))

    assert found == {":event-type": "é"}


@pytest.mark.parametrize("broken", [b"\x05ab", b"\x01a\x07\x00\xff", b"\x01a\x07\x00", b"\x01a\x63", b"\x01a\x04\x00"])
def test_headers_that_are_no_headers_end_what_is_read_of_them(broken: bytes) -> None:
    assert read_headers(text_header("a", "b") + broken) == {"a": "b"}


def test_a_message_with_a_wrong_checksum_is_left_out() -> None:
    spoilt = bytearray(BODY)
    spoilt[len(event(*EVENTS[0])) + 60] ^= 1

    assert EventStreamDecoder().feed(bytes(spoilt)) == [EXPECTED[0], EXPECTED[2]]


def test_a_wrong_prelude_ends_reading() -> None:
    spoilt = bytearray(BODY)
    spoilt[len(event(*EVENTS[0])) + 2] ^= 1
    decoder = EventStreamDecoder()

    assert decoder.feed(bytes(spoilt)) == EXPECTED[:1]
    assert decoder.feed(BODY) == []


@pytest.mark.parametrize(("total", "headers"), [(15, 0), (0, 0), (100, 90), (1 << 20, (1 << 17) + 1)])
def test_a_prelude_that_is_impossible_ends_reading(total: int, headers: int) -> None:
    prelude = struct.pack(">II", total, headers)
    decoder = EventStreamDecoder()

    assert decoder.feed(prelude + struct.pack(">I", zlib.crc32(prelude)) + bytes(200)) == []
    assert decoder.feed(BODY) == []


@pytest.mark.parametrize("piece_bytes", [1, 7, 64, 1_000])
def test_a_message_that_is_too_long_is_left_out_and_not_kept(piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_event_stream, "MAX_EVENT_BYTES", 100)
    body = event("a", bytes(100)) + event("b", bytes(101)) + event("c", b"{}")
    decoder = EventStreamDecoder()

    found = []
    for at in range(0, len(body), piece_bytes):
        found += decoder.feed(body[at : at + piece_bytes])
        assert decoder._rest_bytes == sum(map(len, decoder._pieces)) <= 200

    assert [each.name for each in found] == ["a", "c"]


def test_the_headers_of_many_kinds_of_messages_are_not_kept_for_ever() -> None:
    decoder = EventStreamDecoder()

    found = decoder.feed(b"".join(event(f"e{number}", b"") for number in range(500)))

    assert [each.name for each in found] == [f"e{number}" for number in range(500)]
    assert len(decoder._names) < 100


def test_noise_raises_nothing() -> None:
    for seed in range(200):
        decoder = EventStreamDecoder()
        spoilt = bytearray(BODY)
        spoilt[seed % len(BODY)] ^= 1 + seed % 255

        decoder.feed(bytes(spoilt))
        decoder.flush()
