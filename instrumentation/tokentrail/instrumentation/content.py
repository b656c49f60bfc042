"""Captured content: message parts in the conventions' format, and JSON within bounds.

A message is `{"role": ..., "parts": [...]}`; parts are those of the GenAI semantic conventions (`text`, `reasoning`,
`tool_call`, `tool_call_response`, `blob`, `uri`, `file`). Binary content is never kept: a `blob` carries its size and
SHA-256 in place of its bytes. A text that is too long is cut and says so, with its original length and hash.
"""

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, cast
from urllib.parse import unquote_to_bytes

Part = Mapping[str, object]
Message = Mapping[str, object]

_MIN_PART_BYTES: Final = 256
_EMPTY_BYTES: Final = sys.getsizeof("")
_MAX_DEPTH: Final = 64
"""What is nested deeper is left out: Python can neither walk nor write JSON of any depth."""
_TEXTS: Final = ("content", "arguments", "response")
"""Fields of parts that hold a text as long as it came."""
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_MIME_TYPE: Final = re.compile(r"[\w.+\-]{1,64}/[\w.+\-]{1,64}")
_LENIENT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
_STRICT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
MIN_BYTES: Final = 2
"""The least that `dump` can be asked for: an empty list."""
MAX_TEXT_CHARS: Final = 4 * 1024 * 1024
"""Longest text that is assembled from the deltas of a stream, characters."""


class TextBuffer:
    """Text that arrives in pieces; what comes after `MAX_TEXT_CHARS` is dropped. Falsy while empty."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0

    def append(self, piece: str) -> None:
        """Add `piece` at the end."""
        if piece and self._size < MAX_TEXT_CHARS:
            piece = piece[: MAX_TEXT_CHARS - self._size]
            self._pieces.append(piece)
            self._size += len(piece)

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def __str__(self) -> str:
        return "".join(self._pieces)


def text(content: str) -> Part:
    """A text part."""
    return {"type": "text", "content": content}


def reasoning(content: str) -> Part:
    """A reasoning part."""
    return {"type": "reasoning", "content": content}


def tool_call(call_id: str, name: str, arguments: object) -> Part:
    """A tool call; `arguments` that are a JSON string are parsed, and stay a string when they are cut off or wrong."""
    return {"type": "tool_call", "id": call_id or None, "name": name, "arguments": parse_arguments(arguments)}


def parse_arguments(arguments: object) -> object:
    """What the JSON string `arguments` holds, an empty object for an empty one; anything else as it is."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments) if arguments else {}
    except (ValueError, RecursionError):
        return arguments


def tool_response(call_id: str, response: object) -> Part:
    """The application's answer to a tool call."""
    return {"type": "tool_call_response", "id": call_id or None, "response": response}


def media(modality: str, location: str, mime_type: str = "") -> Part:
    """An image, audio or document by URL; a `data:` URL, or bare base64 where some take a URL, becomes a blob."""
    if location[:5].lower() == "data:":
        head, _, data = location[5:].partition(",")
        mime_type = mime_type if (declared := head.partition(";")[0]) == "" else declared
        mime_type = mime_type if _MIME_TYPE.fullmatch(mime_type) else ""
        if head.lower().endswith(";base64"):
            return blob(modality, data, mime_type)
        raw = unquote_to_bytes(data)
        return _blob(modality, len(raw), raw, mime_type)
    if location and not _SCHEME.match(location):
        return blob(modality, location, mime_type)
    part = {"type": "uri", "modality": modality, "uri": location}
    return {**part, "mime_type": mime_type} if mime_type else part


def blob(modality: str, base64_data: str, mime_type: str = "") -> Part:
    """Inline binary content by its size in bytes and the SHA-256 of its base64 text; the content is left out."""
    size = len(base64_data) * 3 // 4 - base64_data[-2:].count("=")
    return _blob(modality, size, base64_data.encode("utf-8", "replace"), mime_type)


def _blob(modality: str, size: int, hashed: bytes, mime_type: str) -> Part:
    digest = hashlib.sha256(hashed).hexdigest()
    part = {"type": "blob", "modality": modality, "content": "", "bytes": size, "sha256": digest}
    return {**part, "mime_type": mime_type} if mime_type else part


def file(modality: str, file_id: str) -> Part:
    """A file the provider holds."""
    return {"type": "file", "modality": modality, "file_id": file_id}


def message(role: str, parts: Sequence[Part]) -> Message:
    """A message of `role`."""
    return {"role": role, "parts": list(parts)}


def dump(items: Sequence[Mapping[str, object]], max_part_bytes: int, max_bytes: int) -> str:
    """What `encode` gives, as text."""
    return str(encode(items, max_part_bytes, max_bytes), "utf-8")


def encode(items: Sequence[Mapping[str, object]], max_part_bytes: int, max_bytes: int) -> bytes:
    """`items` (messages or parts) as JSON in UTF-8 of at most `max_bytes` (`MIN_BYTES` or more), always valid.

    Texts over `max_part_bytes` are cut. If that is not enough they are cut shorter, and then items are dropped from
    the front, the oldest first, with a message or part of type `omitted` that says how many.
    """
    if (small := _encode_small(items, min(max_part_bytes, max_bytes))) is not None:
        return small
    encoded = _encode([_bounded(item, max_part_bytes) for item in items])
    part_bytes = max_part_bytes
    while len(encoded) > max_bytes and part_bytes > _MIN_PART_BYTES:
        part_bytes = max(part_bytes // 4, _MIN_PART_BYTES)
        encoded = _encode([_bounded(item, part_bytes) for item in items])
    if len(encoded) <= max_bytes:
        return encoded
    return _newest([_bounded(item, part_bytes) for item in items], max_bytes)


def _encode_small(items: Sequence[Mapping[str, object]], max_bytes: int) -> bytes | None:
    """`items` as JSON when all of it is no longer than one part may be, so that nothing need be cut; else `None`."""
    rough = 0
    for item in items:
        parts = item.get("parts")
        for part in parts if isinstance(parts, list) else (item,):
            text = part.get("content") if isinstance(part, Mapping) else None
            rough += len(text) if isinstance(text, str) else 0
    if rough > max_bytes:
        return None
    try:
        encoded = _STRICT(items).encode("utf-8")
    except (ValueError, TypeError, RecursionError):  # not JSON yet, half a surrogate pair, or nested without end
        return None
    return encoded if len(encoded) <= max_bytes and encoded.count(b"[") < _MAX_DEPTH else None


def _newest(items: list[object], max_bytes: int) -> bytes:
    kept: list[object] = []
    room = max_bytes - 100  # for the brackets and the note below
    for item in reversed(items):
        room -= len(_encode(item)) + 1
        if room < 0:
            break
        kept.append(item)
    note: Mapping[str, object] = {"type": "omitted", "items": len(items) - len(kept)}
    if any(isinstance(item, Mapping) and "parts" in item for item in items[:1]):
        note = message("system", [note])
    encoded = _encode([note, *reversed(kept)])
    return encoded if len(encoded) <= max_bytes else b"[]"


def _bounded(value: object, max_bytes: int, depth: int = 0) -> object:
    """`value` with every string in it cut to `max_bytes`; a part that was cut says so."""
    if isinstance(value, str):
        return _cut(value, max_bytes)
    # What is parsed JSON is told by its type: to ask what else might be a sequence takes longer than the rest.
    if type(value) is not dict and type(value) is not list and not _holds_more(value):
        return _bounded_scalar(value)
    if depth == _MAX_DEPTH:
        return "[nested too deep]"
    if type(value) is list or not isinstance(value, Mapping):
        return [_bounded(item, max_bytes, depth + 1) for item in cast("Sequence[object]", value)]
    key_bytes = max(max_bytes, _MIN_PART_BYTES)
    bounded: dict[str, object] = {}
    for key, item in value.items():
        # A short text, as most values are, stays as it is (UTF-8 takes four bytes a character at most).
        is_short = type(item) is str and len(item) * 4 <= max_bytes
        bounded[_cut(str(key), key_bytes)] = item if is_short else _bounded(item, max_bytes, depth + 1)
    for name in _TEXTS if "type" in value else ():
        original = value.get(name)
        if isinstance(original, str) and bounded[name] is not original:
            raw = original.encode("utf-8", "replace")
            bounded |= {"truncated": True, "original_bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    return bounded


def _holds_more(value: object) -> bool:
    return isinstance(value, (Mapping, Sequence)) and not isinstance(value, (bytes, bytearray))


def _bounded_scalar(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # Python reads NaN in JSON, which is not JSON
    if value is None or isinstance(value, (int, float)):
        return value
    return str(value)  # came from no JSON


def _cut(value: str, max_bytes: int) -> str:
    if len(value) * 4 <= max_bytes:
        return value
    # Python keeps a text in one, two or four bytes a character, which are at most two, three or four of UTF-8.
    if len(value) + sys.getsizeof(value) - _EMPTY_BYTES <= max_bytes:
        return value
    raw = value.encode("utf-8", "replace")
    return value if len(raw) <= max_bytes else raw[:max_bytes].decode("utf-8", "ignore")


def _encode(value: object) -> bytes:
    # The serializer of pydantic, where an SDK has loaded it, takes a sixth of the time; it refuses what needs care.
    if (core := sys.modules.get("pydantic_core")) is not None:
        with suppress(Exception):
            return bytes(core.to_json(value))
    # Half of a surrogate pair, which JSON allows, is no UTF-8 and becomes `?`.
    return _LENIENT(value).encode("utf-8", "replace")
