"""Asking for the usage of a stream, and hiding the answer from an application that did not ask.

    request    {"stream": true, ...}       leaves as {"stream_options": {"include_usage": true}, "stream": true, ...}
    response   data: {"choices": [], "usage": {...}}       is seen by us, and taken out of what the application reads

OpenAI's endpoints and their kin send the usage of a stream only then; without it the call has no tokens and no price.
A server that does not know the option answers with an error that names it: the request is then sent as it was, and the
host is not asked again. Pure: bytes in, bytes out.
"""

import json
import re
from typing import Final

from tokentrail.instrumentation.framing import coding
from tokentrail.instrumentation.wire._json import mapping, parse
from tokentrail.instrumentation.wire.endpoints import Endpoint
from tokentrail.semconv import providers

REFUSALS: Final = frozenset({400, 404, 422})
"""Status codes of an answer that may be a refusal of the option."""
MAX_HELD_BYTES: Final = 1024 * 1024
"""An event that is longer is none of usage: it goes to the application as it comes."""

_FORMATS: Final = frozenset({"openai_chat", "openai_completions"})
_SEND_ANYWAY: Final = frozenset(
    {
        *(providers.MISTRAL, providers.GROQ, providers.PERPLEXITY, providers.OPENROUTER, providers.COHERE),
        *(providers.GEMINI, providers.VERTEX, providers.CEREBRAS, providers.FIREWORKS, providers.HUGGING_FACE),
    }
)
"""Providers that say the usage of every stream, or are not known to take the option."""
_ENDS_BYTES: Final = 2048
_OPTION: Final = b"stream_options"
_STREAM_KEY: Final = b'"stream"'
_STREAM: Final = re.compile(rb'"stream"\s*:\s*true')
_OPTIONS_KEY: Final = b'"stream_options"'
_ASKED: Final = re.compile(
    rb'"stream_options"\s*:\s*\{\s*"include_usage"\s*:\s*true\s*\}'
    rb'(?:\s*,\s*"\w+"\s*:\s*(?:true|false|null|[-+.\deE]+|"[^"\\]*"))*\s*\}\s*\Z'
)
"""The end of a body that asks: from there on there are fields of the outermost object only, so this is one of them."""
_NO_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_END_OF_EVENT: Final = re.compile(rb"\r?\n\r?\n")


def ask(endpoint: Endpoint, body: bytes) -> bytes | None:
    """`body` with the question for the usage, or `None` when there is none to ask: no stream, or asked already."""
    if endpoint.wire.name not in _FORMATS or endpoint.provider in _SEND_ANYWAY:
        return None
    if not _may_stream(body) or _asks(body):
        return None
    request = endpoint.body
    if request is None:
        try:
            request = mapping(parse(body))
        except (ValueError, RecursionError):
            return None
    start = body.find(b"{") + 1
    if request.get("stream") is not True or not start:
        return None
    if "stream_options" not in request:
        # Everything else stays byte for byte what the application wrote.
        return body[:start] + b'"stream_options":{"include_usage":true},' + body[start:]
    options = request["stream_options"]
    if not isinstance(options, dict) or options.get("include_usage") is True:
        return None
    asking = {**request, "stream_options": {**options, "include_usage": True}}
    return json.dumps(asking, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _may_stream(body: bytes) -> bool:
    """True for a body that seems to ask for a stream: most do not, and this is asked of all, before they leave."""
    end = max(len(body) - _ENDS_BYTES, 0)
    if body.find(_STREAM_KEY, 0, _ENDS_BYTES) < 0 and body.find(_STREAM_KEY, end) < 0:
        return False
    return bool(_STREAM.search(body, 0, _ENDS_BYTES) or _STREAM.search(body, end))


def _asks(body: bytes) -> bool:
    """True for a body that asks already, where that can be told by its end; most that do end so."""
    start = body.rfind(_OPTIONS_KEY, max(len(body) - _ENDS_BYTES, 0))
    return start >= 0 and _ASKED.match(body, start) is not None


def is_refusal(content: bytes, content_encoding: str) -> bool:
    """True when `content`, the body of an error, is about the option."""
    try:
        decoder = coding.decoder(content_encoding)
        return _OPTION in (decoder.feed(content) if decoder is not None else content)
    except Exception:  # noqa: BLE001  every library has its own; a body that cannot be read says nothing
        return False


class UsageFilter:
    """Takes the event that has the usage and nothing else out of a stream. Not thread-safe."""

    def __init__(self, content_encoding: str) -> None:
        """Raises `LookupError` for a content coding that cannot be undone."""
        self._decoder = coding.decoder(content_encoding)
        self._held = b""
        self._taken: bytes | None = None
        """What `feed` was given, while it is in what is held and has not been looked at."""
        self._hides = True

    @property
    def decodes(self) -> bool:
        """True when what comes out has no content coding any more."""
        return self._decoder is not None

    def feed(self, data: bytes) -> bytes:
        """What the application may read now; an event that may be the one is held until it is whole."""
        given = data
        if self._decoder is not None:
            data = self._decoder.feed(data)
        if not self._hides or (not self._held and data.endswith(b"\n\n") and _NO_CHOICES.search(data) is None):
            return data
        # All of it is held before it is looked at: should that fail, nothing is lost (`give_up`).
        data = self._held = self._held + data
        self._taken = given
        shown = bytearray()
        start = 0
        for end in _END_OF_EVENT.finditer(data):
            event = data[start : end.end()]
            if not _is_usage_only(event):
                shown += event
            start = end.end()
        self._held = data[start:]
        if len(self._held) > MAX_HELD_BYTES:
            shown += self.flush()
        self._taken = None
        return bytes(shown)

    def give_up(self, data: bytes) -> bytes:
        """Hide nothing any more: what is still held, and `data`, which `feed` failed with, if it is not among that."""
        self._hides = False
        held, self._held = self._held, b""
        return held if self._taken is data else held + self.feed(data)

    def flush(self) -> bytes:
        """What is still held when the stream has ended."""
        if self._hides and _is_usage_only(self._held):
            self._held = b""
        held, self._held = self._held, b""
        return held


def _is_usage_only(event: bytes) -> bool:
    if _NO_CHOICES.search(event) is None:
        return False
    data = b"".join(line[5:] for line in event.splitlines() if line.startswith(b"data:"))
    try:
        chunk = mapping(parse(data))
    except (ValueError, RecursionError):
        return False
    return chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict) and "error" not in chunk
