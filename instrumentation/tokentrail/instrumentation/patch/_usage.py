"""What the hooks share that ask for the usage of a stream and hide it (`stream_usage`): when, and never to fail.

may_change(headers)                  before a body is sent in place of the application's
hiding(content_type, coding)         when a response to that has come; `None` where there is nothing to hide
shown = hide.feed(data), hide.end()  what the application may read of it
"""

from collections.abc import Iterable
from typing import Final

from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.headers import RequestHeaders
from tokentrail.instrumentation.stream_usage import UsageFilter

_HIDING: Final = protect("hiding the usage of a stream")
_SEALS: Final = frozenset(
    {
        *(b"content-md5", b"digest", b"content-digest", b"repr-digest", b"signature", b"signature-input"),
        *(b"x-amz-content-sha256", b"x-content-sha256"),
    }
)
"""Request headers that cover the body: RFC 9530, RFC 9421, RFC 1864, and those of AWS and OCI."""
_SIGNED: Final = (b"aws4-", b"signature ", b"hmac")
"""How the `authorization` of a signed request begins, in lower case."""


def may_change(headers: RequestHeaders) -> bool:
    """True when no header of a request covers its body, so that another may be sent."""
    return not any(
        name.lower() in _SEALS or (name.lower() == b"authorization" and value.lower().startswith(_SIGNED))
        for name, value in headers.raw
    )


def replaced(headers: Iterable[tuple[str | bytes, object]], body: bytes) -> dict[str | bytes, str]:
    """The headers, of those of a request, that are others with `body`, which is to be answered without coding.

    A length that is not there is not added, for then the client finds it out. What is hidden must be found.
    """
    values = {"content-length": str(len(body)), "accept-encoding": "identity"}
    names = ((name, name.decode("latin-1") if isinstance(name, bytes) else name) for name, _ in headers)
    return {name: values[text.lower()] for name, text in names if text.lower() in values}


class Hiding:
    """What an application may read of a stream. Never raises: what fails shows everything. Not thread-safe."""

    __slots__ = ("_filter",)

    def __init__(self, usage_filter: UsageFilter) -> None:
        self._filter: UsageFilter | None = usage_filter

    @property
    def decodes(self) -> bool:
        """True when what comes out has no content coding any more."""
        return self._filter is not None and self._filter.decodes

    def feed(self, data: bytes) -> bytes:
        """What the application may read when `data` has come; empty while that may be the usage."""
        if self._filter is None:
            return data
        with _HIDING:
            return self._filter.feed(data)
        with _HIDING:
            return self._filter.give_up(data)
        return data

    def end(self) -> bytes:
        """What it may read besides when the stream has ended."""
        hide, self._filter = self._filter, None
        with _HIDING:
            if hide is not None:
                return hide.flush()
        with _HIDING:
            if hide is not None:
                return hide.give_up(b"")
        return b""


def hiding(content_type: str, content_encoding: str) -> Hiding | None:
    """What hides the usage in a response; `None` where its body is no stream of events, or cannot be decoded."""
    if not content_type.startswith("text/event-stream"):
        return None
    try:
        return Hiding(UsageFilter(content_encoding))
    except LookupError:
        return None
