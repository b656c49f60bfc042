"""The HTTP API: `/api/requests`, `/api/totals` and `/api/unpriced` for reading, `/api/reprice`. Knows no server.

Answers are newline-delimited JSON, one object a line; errors are one JSON object with `error`, and for a bad parameter
its name as `parameter` and what would be right as `allowed`.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from tokentrail.backend.access.caller import Caller
from tokentrail.backend.alerts import question
from tokentrail.backend.query import filter as filters
from tokentrail.backend.query import sql, unpriced
from tokentrail.backend.query.content import with_content
from tokentrail.backend.query.errors import QueryError, RefusedError
from tokentrail.backend.query.record import dump, read
from tokentrail.backend.query.reprice import Corrected, Repricer
from tokentrail.backend.query.stored_content import with_stored_content
from tokentrail.backend.store import Store, StoreError, StoreUnavailable

DEFAULT_LIMIT: Final = 100
"""Calls that `/api/requests` shows unless told otherwise."""
MAX_LIMIT: Final = 10_000
"""Calls that it shows at most; `until` leads to earlier ones."""

CHANGES: Final = "/api/reprice"
"""The one path that takes POST."""

NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"


_Endpoint: TypeAlias = Callable[[dict[str, str], Caller], Iterable[Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Response:
    """What to answer."""

    status: int
    content_type: str
    body: bytes


class Api:
    """The API over a store. Thread-safe where the store is; `now_ns` is the clock that relative times count from.

    `on_corrected` is told of the costs that were corrected; `alerts` tells which are in force.
    """

    def __init__(
        self,
        store: Store,
        now_ns: Callable[[], int] = time.time_ns,
        on_corrected: Corrected = lambda corrections: None,
        alerts: question.InForce = question.shipped_alerts,
    ) -> None:
        self._store = store
        self._now_ns = now_ns
        self._repricer = Repricer(store, now_ns, on_corrected)
        self._endpoints: Final[Mapping[str, _Endpoint]] = {
            "/api/requests": self._requests,
            "/api/totals": self._totals,
            "/api/unpriced": self._unpriced,
            "/api/alerts": lambda params, caller: question.answer(store, alerts, params, caller, self._now_ns()),
            CHANGES: lambda params, caller: (self._repricer.preview(params, caller),),
        }

    def handle(self, path: str, params: Mapping[str, str], caller: Caller, *, change: bool = False) -> Response:
        """Answer `path` with query parameters `params`: GET, or POST when it is to `change` what is stored.

        Of projects that `caller` does not see nothing is told, counted or changed. What the caller's role allows is
        decided before (`access.gate`).

        Never raises for what a client sends.
        """
        endpoint = self._endpoints.get(path.rstrip("/"))
        if endpoint is None:
            return _error(404, f"there is nothing at {path}", allowed=tuple(self._endpoints))
        if change:
            if path.rstrip("/") != CHANGES:
                return _error(405, f"{path} is for reading: use GET")
            endpoint = self._reprice
        try:
            objects = endpoint(dict(params), caller)
        except QueryError as error:
            return _error(400, error.message, parameter=error.parameter, allowed=error.allowed)
        except RefusedError as error:
            return _error(409, str(error))
        except StoreUnavailable as error:
            return _error(503, str(error))
        except StoreError as error:
            return _error(500, str(error))
        return Response(200, NDJSON, "".join(f"{dump(each)}\n" for each in objects).encode("utf-8", "replace"))

    def _requests(self, params: dict[str, str], caller: Caller) -> Iterable[Mapping[str, object]]:
        limit = _limit(params.pop("limit", str(DEFAULT_LIMIT)))
        content = _flag("content", params.pop("content", "0"))
        condition = self._condition(params, caller, "limit", "content")
        rows: Sequence[Mapping[str, object]] = self._store.query(*sql.requests(condition, limit))
        if content:
            rows = with_content(with_stored_content(rows, self._store.query), self._store.query)
        return map(read, rows)

    def _totals(self, params: dict[str, str], caller: Caller) -> Iterable[Mapping[str, object]]:
        by = params.pop("by", None)
        condition = self._condition(params, caller, "by")
        if by is None:
            return self._store.query(*sql.totals(condition))
        rows = self._store.query(*sql.totals_by(by, condition))
        return ({by if name == "key" else name: value for name, value in row.items()} for row in rows)

    def _unpriced(self, params: dict[str, str], caller: Caller) -> Iterable[Mapping[str, object]]:
        failed = _flag("failed", params.pop("failed", "0"))
        condition = self._condition(params, caller, "failed")
        return map(unpriced.read, self._store.query(*sql.unpriced(condition, failed=failed)))

    def _reprice(self, params: dict[str, str], caller: Caller) -> Iterable[Mapping[str, object]]:
        return (self._repricer.apply(params, caller),)

    def _condition(self, params: Mapping[str, str], caller: Caller, *own: str) -> filters.Condition:
        """The filters in `params`; `own` are the parameters of the endpoint beside them."""
        try:
            return filters.read(params, self._now_ns(), caller)
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
