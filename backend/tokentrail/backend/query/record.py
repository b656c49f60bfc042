"""A call as the API shows it: the fields of `row.Row` in their order, times and durations made readable.

`time_ns` becomes `time` (ISO 8601, UTC, nanoseconds), `*_ns` become `*_ms`. Unknown text is empty, unknown numbers are
null; money has all its digits.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Final

from tokentrail.backend.query import moment
from tokentrail.backend.row import Row

CONTENT: Final = ("input_messages", "output_messages", "system", "tools")
"""Fields that hold what people wrote: shown only when asked for."""

FIELDS: Final = tuple(each.name for each in fields(Row) if each.name not in CONTENT)
"""All the others, in the order of `Row`."""

_NS_PER_MS: Final = Decimal(10**6)


def read(row: Mapping[str, object]) -> dict[str, object]:
    """The object for a row of `sql.requests`."""
    return dict(_readable(field, value) for field, value in row.items())


def _readable(field: str, value: object) -> tuple[str, object]:
    if field == "time_ns":
        return "time", moment.iso(int(str(value)))
    if field.endswith("_ns"):
        return field.removesuffix("_ns") + "_ms", None if value is None else Decimal(str(value)) / _NS_PER_MS
    return field, value


def dump(value: object) -> str:
    """`value` as JSON on one line. Decimals are numbers with exactly their digits, never in exponent form."""
    match value:
        case Decimal():
            digits = f"{value:f}"
            return digits.rstrip("0").rstrip(".") if "." in digits else digits
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(str(key))}: {dump(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(dump, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
