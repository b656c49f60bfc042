"""HTTP connections that do not go on: closed after a time, whatever the other side leaves undone.

uvicorn closes a connection that is idle between two requests. These are the others: nothing was sent yet, or a part of
the headers (bodies: `intake`); and answers that nobody reads, which would stay in memory for as long as the other side
likes, also after uvicorn has closed the connection: closing waits for what is written to leave.
"""

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 256 * 1024
"""Of a request line with its headers, give or take what is read at once. Longer statements of SQL go into a body."""
MAX_HEADERS: Final = 256
"""Of one request, trailers included."""
_TOO_LARGE: Final = b"The request has more headers than are read.\n"
_REFUSAL: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_TOO_LARGE), _TOO_LARGE)
)
_CHECKS: Final = 4
"""How often within the timeout it is looked at an answer that is being read: a reader may be slow, but not stop."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection with an end. Overrides asyncio's callbacks and the one of a completed response."""

    timeout_s: ClassVar[float] = 60.0
    """Seconds for the headers of a request, and without any progress of an answer."""

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _unread_bytes = 0
    _checks = 0
    _head_bytes = 0
    """What came since a body, or the end of a request, last did."""
    _has_moved_on = False
    _has_too_many = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Whatever comes between two requests begins the next one."""
        self._has_moved_on = False
        super().data_received(data)
        self._head_bytes = 0 if self._has_moved_on else self._head_bytes + len(data)
        if self._has_too_many or self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif self._is_between_requests():
            self._await_head()
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or a trailer."""
        if len(self.headers) < MAX_HEADERS:
            super().on_header(name, value)
        else:
            self._has_too_many = True

    def on_body(self, body: bytes) -> None:
        """A piece of a body; whoever reads it bounds it."""
        self._has_moved_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._has_moved_on = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        """An answer leaves more slowly than it is written."""
        super().pause_writing()
        self._await_reader()

    def on_response_complete(self) -> None:
        """All of an answer is written, which does not mean that it has left."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._await_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _refuse(self) -> None:
        """Read no more. An answer on its way would be mixed with ours."""
        if self._is_between_requests() and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()
        else:
            self.transport.abort()

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.timeout_s, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self._is_between_requests():
            self.transport.abort()

    def _await_reader(self) -> None:
        if self._write_timer is None:
            self._unread_bytes, self._checks = self.transport.get_write_buffer_size(), 0
            self._write_timer = self.loop.call_later(self.timeout_s / _CHECKS, self._check_reader)

    def _check_reader(self) -> None:
        self._write_timer = None
        unread_bytes = self.transport.get_write_buffer_size()
        if not unread_bytes:
            return
        # More than before is another answer: somebody who asks on and does not read.
        self._checks = 0 if unread_bytes < self._unread_bytes else self._checks + 1
        self._unread_bytes = unread_bytes
        if self._checks >= _CHECKS:
            self.transport.abort()
        else:
            self._write_timer = self.loop.call_later(self.timeout_s / _CHECKS, self._check_reader)
