"""The second reading of the framings that responses come in, by nothing but `json`, `struct` and string splitting.

- server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html
- AWS event streams: https://smithy.io/2.0/aws/amazon-eventstream.html
- JSON lines: one object a line; JSON arrays: one array whose items came one after another
"""

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

from support.expected_values import Json

_PRELUDE: Final = struct.Struct(">III")
"""Length of the whole frame, length of its headers, checksum of these two."""
_STRING: Final = 7
"""The only header type that Bedrock uses."""


def events(body: bytes) -> Iterator[Json]:
    """The JSON payloads of a stream of server-sent events, `[DONE]` left out."""
    for block in body.decode().replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].lstrip(" ") for line in block.split("\n") if line.startswith("data:"))
        if data and data != "[DONE]":
            yield json.loads(data)


def lines(body: bytes) -> list[Json]:
    """The objects of a body that holds one a line."""
    return [json.loads(line) for line in body.decode().splitlines() if line.strip()]


def items(body: bytes) -> list[Json]:
    """The items of a JSON array."""
    parsed: list[Json] = json.loads(body)
    assert isinstance(parsed, list)
    return parsed


def frames(body: bytes) -> Iterator[tuple[str, Json]]:
    """Event type and payload of the frames of an AWS event stream; the checksums have to be right."""
    at = 0
    while at < len(body):
        length, headers_length, checksum = _PRELUDE.unpack_from(body, at)
        assert zlib.crc32(body[at : at + 8]) == checksum, "the prelude of a frame is damaged"
        frame = body[at : at + length]
        assert zlib.crc32(frame[:-4]) == int.from_bytes(frame[-4:]), "a frame is damaged"
        headers = _headers(frame[_PRELUDE.size : _PRELUDE.size + headers_length])
        assert headers[":message-type"] == "event", f"a frame is no event: {headers}"
        yield headers[":event-type"], json.loads(frame[_PRELUDE.size + headers_length : -4])
        at += length


def chunks(body: bytes) -> Iterator[Json]:
    """What a model streamed, out of the frames that Bedrock wraps it in."""
    for kind, payload in frames(body):
        assert kind == "chunk", f"unknown frame {kind}"
        yield json.loads(base64.b64decode(payload["bytes"]))


def _headers(packed: bytes) -> dict[str, Any]:
    headers, at = {}, 0
    while at < len(packed):
        name = packed[at + 1 : at + 1 + packed[at]].decode()
        at += 1 + packed[at]
        assert packed[at] == _STRING, f"header {name} is of type {packed[at]}"
        length = int.from_bytes(packed[at + 1 : at + 3])
        headers[name] = packed[at + 3 : at + 3 + length].decode()
        at += 3 + length
    return headers
