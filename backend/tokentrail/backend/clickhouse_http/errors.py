"""What a statement can fail with, in ClickHouse's own numbers, which its clients tell failures apart by.

SqlError
├── RefusedError       what it asks for is not to be had here
└── QueryError         the engine's own

Codes and names: ClickHouse, src/Common/ErrorCodes.cpp, as the engine 26.9 knows them; HTTP statuses as its
`src/Server/HTTPHandler.cpp` maps them, except that access is 403 as Grafana's plugin expects (November 2026).
"""

from collections.abc import Mapping
from typing import Final

BAD_ARGUMENTS: Final = 36
UNKNOWN_FUNCTION: Final = 46
NOT_IMPLEMENTED: Final = 48
UNKNOWN_TABLE: Final = 60
SYNTAX_ERROR: Final = 62
UNKNOWN_DATABASE: Final = 81
UNKNOWN_SETTING: Final = 115
TIMEOUT_EXCEEDED: Final = 159
READONLY: Final = 164
TOO_MANY_QUERIES: Final = 202
ABORTED: Final = 236
MEMORY_LIMIT_EXCEEDED: Final = 241
QUERY_WAS_CANCELLED: Final = 394
TOO_MANY_ROWS_OR_BYTES: Final = 396
ACCESS_DENIED: Final = 497
AUTHENTICATION_FAILED: Final = 516
UNKNOWN_EXCEPTION: Final = 1002

NAMES: Final[Mapping[int, str]] = {
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    UNKNOWN_FUNCTION: "UNKNOWN_FUNCTION",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_DATABASE: "UNKNOWN_DATABASE",
    UNKNOWN_SETTING: "UNKNOWN_SETTING",
    READONLY: "READONLY",
    TOO_MANY_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    ABORTED: "ABORTED",
    QUERY_WAS_CANCELLED: "QUERY_WAS_CANCELLED",
    TOO_MANY_ROWS_OR_BYTES: "TOO_MANY_ROWS_OR_BYTES",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}

LIMITS: Final = frozenset({158, TIMEOUT_EXCEEDED, 160, 191, MEMORY_LIMIT_EXCEEDED, 307, TOO_MANY_ROWS_OR_BYTES})
"""Codes of statements that took too much: rows, time, memory or bytes."""

_UNSPOILT: Final = frozenset(
    # What is found out before any row is read, so that no row can be in the message.
    {34, 35, 36, 42, 43, 44, 46, 47, 48, 51, 57, 60, 62, 63, 81, 115, 164, 179, 184, 207, 208, 215, 352, 386, 456, 457}
) | (LIMITS | {ACCESS_DENIED, AUTHENTICATION_FAILED, TOO_MANY_QUERIES})
_STATUSES: Final[Mapping[int, int]] = {
    **dict.fromkeys((UNKNOWN_TABLE, UNKNOWN_DATABASE, UNKNOWN_FUNCTION, 47, UNKNOWN_SETTING), 404),
    **dict.fromkeys((READONLY, ACCESS_DENIED, AUTHENTICATION_FAILED), 403),
    **dict.fromkeys((27, 34, 35, 36, 38, 41, 42, 43, 44, 53, 62, 69, 72, 130, 179, 184, 215, 456, 457), 400),
    NOT_IMPLEMENTED: 501,
    **dict.fromkeys((TOO_MANY_QUERIES, ABORTED), 503),
}
_MAX_MESSAGE_CHARS: Final = 2000


class SqlError(Exception):
    """A statement that gets no result."""

    def __init__(self, code: int, message: str, name: str = ""):
        super().__init__(message[:_MAX_MESSAGE_CHARS])
        self.code = code
        self.name = name or NAMES.get(code, "UNKNOWN_EXCEPTION")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUSES.get(self.code, 500)

    @property
    def text(self) -> str:
        """The body of the answer, as ClickHouse writes it."""
        return f"Code: {self.code}. DB::Exception: {self}. ({self.name})\n"


class RefusedError(SqlError):
    """What a statement asks for is not to be had through this endpoint."""

    def __init__(self, message: str, code: int = ACCESS_DENIED):
        super().__init__(code, message)


class QueryError(SqlError):
    """The engine's own error."""

    def without_values(self) -> "QueryError":
        """The same error; without its message, unless that is of a kind that no stored value can be in."""
        if self.code in _UNSPOILT:
            return self
        return QueryError(
            self.code, "the statement failed while it read; why is not told to keys of one project", self.name
        )
