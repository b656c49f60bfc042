"""`/clickhouse`: requests of ClickHouse's HTTP interface, from the scope of a request to an answer.

POST /clickhouse/?...       the statement is the body, or begins in `query`
GET  /clickhouse/?query=    the same; without one, `Ok.`
GET  /clickhouse/ping       `Ok.`, for everybody
"""

from collections.abc import Awaitable, Callable
from typing import Final

from tokentrail.backend.access.caller import Right
from tokentrail.backend.access.errors import AccessError, UnauthenticatedError
from tokentrail.backend.access.gate import Gate
from tokentrail.backend.clickhouse_http import answers
from tokentrail.backend.clickhouse_http.answers import Response
from tokentrail.backend.clickhouse_http.errors import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    SqlError,
)
from tokentrail.backend.clickhouse_http.parameters import read_arguments, read_credentials
from tokentrail.backend.clickhouse_http.service import SqlService

PATH: Final = "/clickhouse"

_OK: Final = Response(200, answers.PLAIN, b"Ok.\n")
_WHAT: Final = "here are GET and POST of /clickhouse/, and GET of /clickhouse/ping"
_ELSEWHERE: Final = (
    "this backend keeps its data on a ClickHouse server: connect to that server itself, as the user tokentrail_reader "
    "(deploy/clickhouse/users.xml); there is no /clickhouse here"
)


def is_below(path: str) -> bool:
    """Whether a path is of this endpoint."""
    return path == PATH or path.startswith(f"{PATH}/")


class SqlEndpoint:
    """The endpoint; without a service (the store is no embedded one) it says where to go instead."""

    def __init__(self, gate: Gate, service: SqlService | None):
        self._gate, self._service = gate, service

    @property
    def max_body_bytes(self) -> int:
        """How large a body may be: larger ones than a statement may have are refused anyhow."""
        return 0 if self._service is None else 2 * self._service.limits.max_length_bytes

    async def reply(
        self,
        method: str,
        path: str,
        query_string: bytes,
        headers: list[tuple[bytes, bytes]],
        body: Callable[[], Awaitable[bytes]],
        gone: Callable[[], Awaitable[None]],
    ) -> Response:
        """The answer to a request.

        `body` reads its body, and is called for callers with a key only; `gone`, called after it, ends when the client
        has left.
        """
        if path == f"{PATH}/ping":
            return _OK
        try:
            arguments = read_arguments(query_string)
            caller = self._gate.admit(read_credentials(headers, arguments), Right.READ)
        except AccessError as error:
            code = AUTHENTICATION_FAILED if isinstance(error, UnauthenticatedError) else ACCESS_DENIED
            return answers.failure(SqlError(code, f"Authentication failed: {error}"))
        except SqlError as error:
            return answers.failure(error)
        if path.rstrip("/") != PATH or method not in ("GET", "HEAD", "POST"):
            return answers.failure(SqlError(BAD_ARGUMENTS, _WHAT))
        if self._service is None:
            return answers.failure(SqlError(NOT_IMPLEMENTED, _ELSEWHERE))
        if method != "POST" and not arguments.query:
            return _OK
        accepted = b",".join(value for name, value in headers if name == b"accept-encoding").decode("latin-1")
        question = await body() if method == "POST" else b""
        return await self._service.answer(arguments, question, caller, accepted, gone)
