"""Images, audio and documents inside messages, as `uri`, `file` or `blob` parts; no row keeps a large binary.

    {"type": "uri",  "modality": "image", "uri": "https://..."}
    {"type": "file", "modality": "document", "file_id": "file-1"}
    {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBO..."}                  small
    {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "bytes": n, "sha256": hex}

A blob over the cap is a reference: its size in bytes and the SHA-256 of its base64 text, the form in which Tokentrail's
own instrumentation records every blob.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

Part = dict[str, object]

MAX_INLINE_CHARS: Final = 1024
"""Longest base64 text that stays in a blob, characters: an icon fits, a photograph does not."""
_MAX_DEPTH: Final = 64
"""What is nested deeper is left out: Python can neither walk nor write JSON of any depth."""
_MAX_WRAPPERS: Final = 3
"""Objects around a location: `{"image": {"image": {"url": ...}}}` is known."""
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-\s]+={0,2}\s*")
_MODALITIES: Final = ("image", "video", "audio")
_URLS: Final = ("url", "uri", "image_url", "file_url", "fileUri", "file_uri", "audio_url", "video_url")
_DATA: Final = ("data", "base64", "bytes", "file_data", "b64_json", "image", "audio")
_IDS: Final = ("file_id", "fileId")
_MIME_TYPES: Final = ("mime_type", "mimeType", "media_type", "mediaType", "contentType", "content_type")
_VECTORS: Final = frozenset({"embedding", "embeddings", "vector", "vectors"})
_VECTOR_LENGTH: Final = 8
"""A list of at least so many numbers under one of those names is a vector; shorter ones are told by people."""


def media(block: Mapping[str, object], modality: str = "", mime_type: str = "", depth: int = 0) -> Part | None:
    """The part for an object that says where a medium is, in whatever provider's words; `None` when it does not.

    `modality` (`image`, `audio`, `video`, `document`) is of the type of the block, where that tells; else of the MIME
    type. `mime_type` is for a block that names none; `depth` is of objects around the block.
    """
    declared = _first_text(block, _MIME_TYPES) or mime_type
    modality = modality or modality_of(declared)
    if url := _first_text(block, _URLS):
        return located(modality, url, declared)
    for name in _DATA:
        if (found := _inline(block.get(name), modality, declared, depth)) is not None:
            return found
    if file_id := _first_text(block, _IDS):
        return {"type": "file", "modality": modality, "file_id": file_id, **_mime(declared)}
    return None


def _inline(data: object, modality: str, mime_type: str, depth: int) -> Part | None:
    """The part for the value of a field that holds the medium itself."""
    if isinstance(data, str) and data:
        return located(modality, data, mime_type)
    if isinstance(data, Mapping) and "0" in data:  # JavaScript's array of bytes, {"0": 137, "1": 80}
        return _reference(modality, len(data), None, mime_type)
    if isinstance(data, Mapping) and depth < _MAX_WRAPPERS:
        return media(data, modality, mime_type, depth + 1)
    if isinstance(data, list) and data:
        return _reference(modality, len(data), None, mime_type)
    return None


def located(modality: str, location: str, mime_type: str = "") -> Part:
    """The part for a URL, a `data:` URL, or the base64 text that many take in the place of a URL."""
    if location[:5].lower() == "data:":
        head, _, data = location[5:].partition(",")
        mime_type = head.partition(";")[0] or mime_type
        if head.lower().endswith(";base64"):
            return blob(modality, data, mime_type)
        raw = unquote_to_bytes(data)
        return _reference(modality, len(raw), raw, mime_type)
    if not _SCHEME.match(location):
        return blob(modality, location, mime_type)
    return {"type": "uri", "modality": modality, "uri": location, **_mime(mime_type)}


def blob(modality: str, base64_text: str, mime_type: str = "") -> Part:
    """Inline binary content: as it is when it is small, else by its size and hash."""
    if len(base64_text) <= MAX_INLINE_CHARS:
        return {"type": "blob", "modality": modality, "content": base64_text, **_mime(mime_type)}
    size = len(base64_text) * 3 // 4 - base64_text[-2:].count("=")
    return _reference(modality, size, base64_text.encode("utf-8", "replace"), mime_type)


def modality_of(mime_type: str) -> str:
    """The modality of a MIME type; what is neither image, video nor audio is a document."""
    main = mime_type.partition("/")[0].lower()
    return main if main in _MODALITIES else "document"


def pruned(value: object, depth: int = 0) -> object:
    """`value` (JSON of any shape) without large binaries, embedding vectors, endless nesting and what JSON cannot say.

    For everything that goes into a row as it came: arguments and results of tools, blocks that nobody here knows.
    """
    if isinstance(value, str):
        return _pruned_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # Python reads NaN in JSON, which is not JSON
    if value is None or isinstance(value, int | float):
        return value
    if depth == _MAX_DEPTH:
        return "[nested too deep]"
    if isinstance(value, Mapping):
        return {str(key): _pruned_field(key, item, depth) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [pruned(item, depth + 1) for item in value]
    return str(value)


def is_vector(value: object) -> bool:
    """True for a list of numbers, or a list of such lists, as embeddings are."""
    if not isinstance(value, list | tuple) or not value:
        return False
    first = value[0]
    numbers = first if isinstance(first, list | tuple) and first else value
    return all(isinstance(item, int | float) and not isinstance(item, bool) for item in numbers)


def _pruned_field(name: object, value: object, depth: int) -> object:
    if name in _VECTORS and isinstance(value, list | tuple) and is_vector(value):
        count = len(value[0]) if isinstance(value[0], list | tuple) else len(value)
        if count >= _VECTOR_LENGTH:
            return f"[{len(value)} vectors]" if isinstance(value[0], list | tuple) else f"[{count} numbers]"
    return pruned(value, depth + 1)


def _pruned_text(value: str) -> object:
    if len(value) <= MAX_INLINE_CHARS:
        return value
    if value[:5].lower() == "data:":
        mime_type = value[5:200].partition(",")[0].partition(";")[0]
        return located(modality_of(mime_type), value)
    # A long text without one blank or mark is no language: every 76 characters base64 may have a line end.
    if " " not in value[:MAX_INLINE_CHARS] and _BASE64.fullmatch(value):
        return blob("document", value)
    return value


def _reference(modality: str, size: int, hashed: bytes | None, mime_type: str) -> Part:
    digest = {} if hashed is None else {"sha256": hashlib.sha256(hashed).hexdigest()}
    return {"type": "blob", "modality": modality, "content": "", "bytes": size, **digest, **_mime(mime_type)}


def _mime(mime_type: str) -> Part:
    return {"mime_type": mime_type} if mime_type else {}


def _first_text(block: Mapping[str, object], names: tuple[str, ...]) -> str:
    for name in names:
        value = block.get(name)
        if isinstance(value, Mapping):
            value = value.get("url")
        if isinstance(value, str) and value:
            return value
    return ""
