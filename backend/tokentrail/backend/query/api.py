"""The HTTP API for reading: `/api/requests` and `/api/totals`. Knows no server: parameters in, a response out.

Answers are newline-delimited JSON, one object a line; errors are one JSON object with `error`, and for a bad parameter
its name as `parameter` and what would be right as `allowed`.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.query import filter as filters
from tokentrail.backend.query import sql
from tokentrail.backend.query.errors import QueryError
from tokentrail.backend.query.record import dump, read
from tokentrail.backend.store import Store, StoreError, StoreUnavailable

DEFAULT_LIMIT: Final = 100
"""Calls that `/api/requests` shows unless told otherwise."""
MAX_LIMIT: Final = 10_000
"""Calls that it shows at most; `until` leads to earlier ones."""

NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Response:
    """What to answer."""

    status: int
    content_type: str
    body: bytes


class Api:
    """The API over a store. Thread-safe where the store is; `now_ns` is the clock that relative times count from."""

    def __init__(self, store: Store, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._now_ns = now_ns
        self._endpoints: Final[Mapping[str, Callable[[dict[str, str]], Iterable[Mapping[str, object]]]]] = {
            "/api/requests": self._requests,
            "/api/totals": self._totals,
        }

    def handle(self, path: str, params: Mapping[str, str]) -> Response:
        """Answer GET `path` with query parameters `params`. Never raises for what a client sends."""
        endpoint = self._endpoints.get(path.rstrip("/"))
        if endpoint is None:
            return _error(404, f"there is nothing at {path}", allowed=tuple(self._endpoints))
        try:
            objects = endpoint(dict(params))
        except QueryError as error:
            return _error(400, error.message, parameter=error.parameter, allowed=error.allowed)
        except StoreUnavailable as error:
            return _error(503, str(error))
        except StoreError as error:
            return _error(500, str(error))
        return Response(200, NDJSON, "".join(f"{dump(each)}\n" for each in objects).encode("utf-8", "replace"))

    def _requests(self, params: dict[str, str]) -> Iterable[Mapping[str, object]]:
        limit = _limit(params.pop("limit", str(DEFAULT_LIMIT)))
        content = _flag("content", params.pop("content", "0"))
        condition = self._condition(params, "limit", "content")
        return map(read, self._store.query(*sql.requests(condition, limit, content=content)))

    def _totals(self, params: dict[str, str]) -> Iterable[Mapping[str, object]]:
        by = params.pop("by", None)
        condition = self._condition(params, "by")
        if by is None:
            return self._store.query(*sql.totals(condition))
        rows = self._store.query(*sql.totals_by(by, condition))
        return ({by if name == "key" else name: value for name, value in row.items()} for row in rows)

    def _condition(self, params: Mapping[str, str], *own: str) -> filters.Condition:
        """The filters in `params`; `own` are the parameters of the endpoint beside them."""
        try:
            return filters.read(params, self._now_ns())
        except QueryError as error:
            allowed = (*own, *error.allowed) if error.allowed == filters.FILTERS else error.allowed
            raise QueryError(error.parameter, error.message, allowed) from None


def _limit(value: str) -> int:
    if value.isascii() and value.isdigit() and len(value) < 10 and 1 <= int(value) <= MAX_LIMIT:
        return int(value)
    allowed = f"1 to {MAX_LIMIT}"
    raise QueryError("limit", f"limit is {value!r}: expected a number from {allowed}", (allowed,))


def _flag(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise QueryError(name, f"{name} is {value!r}: expected 0 or 1", ("0", "1"))
    return value == "1"


def _error(status: int, message: str, *, parameter: str = "", allowed: tuple[str, ...] = ()) -> Response:
    body: dict[str, object] = {"error": message}
    if parameter:
        body["parameter"] = parameter
    if allowed:
        body["allowed"] = allowed
    return Response(status, JSON, f"{dump(body)}\n".encode("utf-8", "replace"))
