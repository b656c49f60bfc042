"""AWS event stream, incrementally (media type `application/vnd.amazon.eventstream`), as Bedrock streams.

    prelude   total length, length of the headers: 4 bytes each, big-endian; CRC-32 of these eight bytes
    headers   length of the name: 1 byte, name, type of the value: 1 byte, value
    payload   what is left
    CRC-32 of all that is before it

`:message-type` tells what a message is: `event`, named by `:event-type`; `exception`, named by `:exception-type`;
`error`, with `:error-code` and `:error-message` in place of a payload. The name of an `Event` is that of the event, or
`exception:<type>`, or `error:<code>`, so that a reader can tell them apart; the data of an error is
`{"message": "<its message>"}`, like that of an exception. A message whose checksum is wrong is left out; with a wrong
prelude nobody knows where the next one begins, and reading ends.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html (read 2026-11).
"""

import json
import struct
import zlib
from typing import Final

from tokentrail.instrumentation.framing._base import MAX_EVENT_BYTES, Event

_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_LEAST: Final = _PRELUDE.size + _CRC.size
"""Bytes of a message without headers and payload."""
_MAX_HEADER_BYTES: Final = 128 * 1024
"""The specification's limit to the headers of a message."""

_BOOLEANS: Final = (0, 1)
"""Types of values that are true and false by themselves."""
_FIXED: Final = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a value by its type: byte, short, integer, long, timestamp, UUID."""
_BYTES, _STRING = 6, 7
"""Types of values that begin with their length, 2 bytes."""

_MAX_NAMES: Final = 64
"""Different headers whose meaning is remembered: a stream repeats a handful."""


class EventStreamDecoder:
    """Cuts a body, fed in pieces of any size, into events. Not thread-safe."""

    __slots__ = ("_ended", "_names", "_needed_bytes", "_pieces", "_rest_bytes", "_skip_bytes")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        """What has come of the next message, `_rest_bytes` of the `_needed_bytes` that it takes to read on."""
        self._rest_bytes = 0
        self._needed_bytes = _PRELUDE.size
        self._skip_bytes = 0
        """Still to come of a message that is too long to be kept."""
        self._names: dict[bytes, tuple[str, bytes]] = {}
        self._ended = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes, in order."""
        if self._ended:
            return []
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(piece))
            self._skip_bytes -= skipped
            piece = piece[skipped:]
        self._pieces.append(piece)
        self._rest_bytes += len(piece)
        if self._rest_bytes < self._needed_bytes:
            return []
        return self._read_messages(piece if self._rest_bytes == len(piece) else b"".join(self._pieces))

    def flush(self) -> list[Event]:
        """Nothing: of a message that was cut off, neither the headers nor the payload can be trusted."""
        self._ended = True
        self._keep(b"", 0)
        return []

    def _read_messages(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        start, needed = 0, _PRELUDE.size
        while len(data) - start >= _PRELUDE.size:
            total, headers, checksum = _PRELUDE.unpack_from(data, start)
            if zlib.crc32(data[start : start + 8]) != checksum or not _is_possible(total, headers):
                self._ended = True
                start = len(data)
                break
            end = start + total
            if total > MAX_EVENT_BYTES + _LEAST + headers:
                self._skip_bytes = max(0, end - len(data))
                start = min(end, len(data))
                continue
            if end > len(data):
                needed = total
                break
            if zlib.crc32(data[start : end - _CRC.size]) == _CRC.unpack_from(data, end - _CRC.size)[0]:
                payload_start = start + _PRELUDE.size + headers
                name, told = self._name(data[start + _PRELUDE.size : payload_start])
                events.append(Event(name, told or data[payload_start : end - _CRC.size]))
            start = end
        self._keep(data[start:], needed)
        return events

    def _keep(self, rest: bytes, needed: int) -> None:
        self._pieces, self._rest_bytes, self._needed_bytes = [rest], len(rest), needed

    def _name(self, headers: bytes) -> tuple[str, bytes]:
        known = self._names.get(headers)
        if known is None:
            known = _name(read_headers(headers))
            if len(self._names) < _MAX_NAMES:
                self._names[headers] = known
        return known


def read_headers(data: bytes) -> dict[str, str]:
    """The headers of one message that are text, by name; those before the first that cannot be read."""
    headers: dict[str, str] = {}
    position, end = 0, len(data)
    while position < end:
        name_end = position + 1 + data[position]
        if name_end >= end:
            break
        name, kind, position = data[position + 1 : name_end], data[name_end], name_end + 1
        if kind in _BOOLEANS:
            continue
        if kind in _FIXED:
            position += _FIXED[kind]
        elif kind in (_BYTES, _STRING) and position + 2 <= end:
            value_start = position + 2
            position = value_start + int.from_bytes(data[position:value_start], "big")
            if position > end:
                break
            if kind == _STRING:
                headers[name.decode("utf-8", "replace")] = data[value_start:position].decode("utf-8", "replace")
        else:
            break
    return headers


def _is_possible(total: int, headers: int) -> bool:
    return headers <= _MAX_HEADER_BYTES and total >= _LEAST + headers


def _name(headers: dict[str, str]) -> tuple[str, bytes]:
    """The name of an event with these headers, and its data where the headers have it."""
    kind = headers.get(":message-type", "event")
    if kind == "exception":
        return f"exception:{headers.get(':exception-type', '')}", b""
    if kind == "error":
        message = json.dumps({"message": headers.get(":error-message", "")})
        return f"error:{headers.get(':error-code', '')}", message.encode()
    return headers.get(":event-type", ""), b""
