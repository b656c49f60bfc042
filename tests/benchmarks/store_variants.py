"""Other ways to lay the calls' table out, to compare with the one that ships."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Variant:
    """A change of the table's statement: each pattern replaced once, which must be there."""

    name: str
    changes: tuple[tuple[str, str], ...] = ()

    def create(self, statement: str, table: str) -> str:
        """The statement that creates it as `table`, from that of the shipped one."""
        changed = re.sub(r"CREATE TABLE \S+", f"CREATE TABLE {table}", statement, count=1)
        for pattern, replacement in self.changes:
            changed, found = re.subn(pattern, replacement, changed, flags=re.DOTALL)
            if not found:
                raise ValueError(f"{self.name}: the table has no {pattern}")
        return changed


_ORDER: Final = r"ORDER BY \(.*?\)\nSETTINGS"


def _ordered(name: str, order: str) -> Variant:
    return Variant(name, ((_ORDER, f"ORDER BY ({order})\nSETTINGS"),))


_HOUR: Final = "toStartOfHour(Timestamp, 'UTC')"
_NO_INDEX: Final = (r"INDEX idx_(?:trace_id|user_id|session_id) \w+ TYPE bloom_filter\([\d.]+\) GRANULARITY 1,\s*", "")
_PARTITION: Final = r"PARTITION BY [^\n]*"

VARIANTS: Final = (
    Variant("shipped"),
    _ordered("time", "Timestamp"),
    _ordered("env_time", "Environment, Timestamp"),
    _ordered("env_service_hour", f"Environment, Service, {_HOUR}, Timestamp"),
    _ordered("hour_model", f"{_HOUR}, Environment, Service, RequestModel, Timestamp"),
    _ordered("hour_trace", f"{_HOUR}, TraceId, Timestamp"),
    Variant("no_indexes", (_NO_INDEX,)),
    Variant("zstd3", ((r"ZSTD\(1\)", "ZSTD(3)"),)),
    Variant("lz4", ((r"ZSTD\(1\)", "LZ4"),)),
    Variant("by_month", ((_PARTITION, "PARTITION BY toYYYYMM(Timestamp, 'UTC')"),)),
    Variant("by_week", ((_PARTITION, "PARTITION BY toMonday(Timestamp, 'UTC')"),)),
    Variant("by_day", ((_PARTITION, "PARTITION BY toDate(Timestamp, 'UTC')"),)),
)
