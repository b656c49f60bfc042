"""One correction of costs at a time, among all backends of a server: whoever makes the table holds the lock.

ClickHouse has no locks for its users, but of two that create a table only one succeeds. Its comment names the holder
and says since when (the server's time, seconds), so that a backend that was killed takes its own lock again when it is
back.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, Protocol

from tokentrail.backend.store.errors import StoreError, StoreUnavailable

STALE_S: Final = 3600
"""A lock of this age is of a backend that is gone: corrections take minutes at most."""

_ALREADY_EXISTS: Final = 57
_TABLE: Final = "cost_correction_lock"
_LOOK: Final = f"""
SELECT toUnixTimestamp(now()) AS now, (
    SELECT anyLast(comment) FROM system.tables WHERE database = currentDatabase() AND name = '{_TABLE}'
) AS holder
"""  # noqa: S608 - a constant of this module


class _Execute(Protocol):
    def __call__(self, sql: str, parameters: Mapping[str, object]) -> object: ...


class _Query(Protocol):
    def __call__(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]: ...


@contextmanager
def exclusively(execute: _Execute, query: _Query, instance: str) -> Iterator[None]:
    """Hold the lock as `instance`. Raises `StoreUnavailable` while another does; errors of the callables pass through.

    One thread of an instance at a time.
    """
    (seen,) = query(_LOOK)
    now_s, (holder, _, since_s) = int(str(seen["now"])), str(seen["holder"] or "").rpartition(" ")
    if holder and (holder == instance or now_s - int(since_s) > STALE_S):
        execute(f"DROP TABLE IF EXISTS {_TABLE} SYNC", {})
    name = instance.replace("\\", "\\\\").replace("'", "\\'")
    try:
        execute(f"CREATE TABLE {_TABLE} (Nothing UInt8) ENGINE = Memory COMMENT '{name} {now_s}'", {})
    except StoreError as error:
        if error.code != _ALREADY_EXISTS:
            raise
        raise StoreUnavailable("Another backend changes stored costs at the moment: try again later.") from error
    try:
        yield
    finally:
        with suppress(StoreError):  # it becomes stale
            execute(f"DROP TABLE IF EXISTS {_TABLE} SYNC", {})
