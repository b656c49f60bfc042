"""The text fields of a form (RFC 7578), without its files.

    --boundary                                                     chosen by the client; the first line of the body
    Content-Disposition: form-data; name="model"
                                                                   an empty line ends the headers
    whisper-1
    --boundary
    Content-Disposition: form-data; name="file"; filename="a.mp3"
    Content-Type: audio/mpeg

    (bytes)
    --boundary--

What is read is bounded, whatever is sent: fields before the first file, and those in the last `MAX_FIELDS_BYTES` of the
body. In between there are files, which are neither searched nor copied. Lines end in CRLF, as all clients write them.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

MAX_FIELDS_BYTES: Final = 64 * 1024
"""Longest text field that is read, and the length of each end of a body in which fields are looked for."""
MAX_FIELDS: Final = 100

_MAX_HEADERS_BYTES: Final = 4096
_MAX_BOUNDARY_BYTES: Final = 200
"""The RFC allows 70; some clients write more."""
_START: Final = b"--"
_END_OF_HEADERS: Final = b"\r\n\r\n"
_NAME: Final = re.compile(rb'form-data\s*;(?:[^\r\n]*;)?\s*name\*?=(?:"([^"\r\n]*)"|([^\s;"]+))', re.IGNORECASE)
_FILE: Final = re.compile(rb";\s*filename\*?=", re.IGNORECASE)


def read_form(body: bytes) -> bytes:
    """The text fields of `body` as a JSON object of strings; `body` itself where it is no form."""
    # JSON never starts so: telling the two apart costs nothing.
    if not body.startswith(_START) or (fields := read_fields(body)) is None:
        return body
    return write_fields(fields.items())


def write_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Fields as a JSON object of strings: the first of each name, long ones left out."""
    written: dict[str, str] = {}
    for name, value in fields:
        if len(value) <= MAX_FIELDS_BYTES and len(written) < MAX_FIELDS:
            written.setdefault(name, value)
    return json.dumps(written).encode("ascii")


def read_fields(body: bytes) -> dict[str, str] | None:
    """The text fields of `body` by name, the first of each; `None` where it is no form. Raises nothing."""
    end = body.find(b"\r\n", 0, _MAX_BOUNDARY_BYTES)
    if end <= len(_START) or not body.startswith(_START):
        return None
    fields: dict[str, str] = {}
    for name, value in _texts(body, body[:end]):
        if len(fields) >= MAX_FIELDS:
            break
        fields.setdefault(name.decode("utf-8", "replace"), value.decode("utf-8", "replace"))
    return fields


def _texts(body: bytes, delimiter: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of the text fields: from the front up to the first file, then in the last part of the body."""
    line = b"\r\n" + delimiter
    start = len(delimiter)
    while True:
        end = body.find(line, start, start + MAX_FIELDS_BYTES)
        if end < 0 or _is_file(body, start):
            break
        if (field := _field(body, start, end)) is not None:
            yield field
        start = end + len(line)
    # A delimiter is wanted first: what stands before it is the end of a file.
    start = body.find(line, max(start, len(body) - MAX_FIELDS_BYTES))
    while start >= 0:
        start += len(line)
        end = body.find(line, start)
        if end >= 0 and not _is_file(body, start) and (field := _field(body, start, end)) is not None:
            yield field
        start = end


def _is_file(body: bytes, start: int) -> bool:
    end = body.find(_END_OF_HEADERS, start, start + _MAX_HEADERS_BYTES)
    return end < 0 or _FILE.search(body, start, end) is not None


def _field(body: bytes, start: int, end: int) -> tuple[bytes, bytes] | None:
    head = body.find(_END_OF_HEADERS, start, min(end, start + _MAX_HEADERS_BYTES))
    found = _NAME.search(body, start, head) if head >= 0 else None
    if found is None:
        return None
    return found.group(1) if found.group(1) is not None else found.group(2), body[head + len(_END_OF_HEADERS) : end]
