"""One row out of what several dialects say of the same span.

The dialect of higher priority wins, field by field; what belongs together stays together: the kind with its operation,
the token counts, the cost with its provenance. Aliases are alternatives: nothing is ever added up.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from tokentrail.backend.row import Row

_KIND: Final = ("kind", "operation")
_TOTALS: Final = ("input_tokens", "output_tokens")
_PARTS: Final = (
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "audio_cache_read_tokens",
    "image_input_tokens",
    "image_output_tokens",
    "web_searches",
)
_COST: Final = (
    "cost_usd",
    "cost_components",
    "cost_source",
    "pricing_status",
    "price_version",
    "price_entry",
    "pricing_tier",
    "pricing_assumptions",
)
_GROUPED: Final = frozenset({*_KIND, *_TOTALS, *_PARTS, *_COST, "stream", "properties"})
_SINGLE: Final = tuple(field.name for field in fields(Row) if field.name not in _GROUPED)


def merge(rows: Sequence[Row]) -> Row:
    """The row of a span from its readings, highest priority first; there is at least one."""
    if len(rows) == 1:
        return rows[0]
    values: dict[str, Any] = {name: _first(rows, name) for name in _SINGLE}
    _take(values, _KIND, next((row for row in rows if row.kind), rows[0]))
    _take(values, _COST, next((row for row in rows if row.pricing_status), rows[0]))
    counted = next((row for row in rows if row.input_tokens is not None or row.output_tokens is not None), rows[0])
    _take(values, _TOTALS, counted)
    # Parts of the same totals may be told by different vocabularies; parts of other totals are of other counts.
    agreeing = [row for row in rows if all(getattr(row, name) == values[name] for name in _TOTALS)]
    for name in _PARTS:
        values[name] = _first((counted, *agreeing), name)
    values["stream"] = any(row.stream for row in rows)
    values["properties"] = {key: text for row in reversed(rows) for key, text in row.properties.items()}
    return Row(**values)


def _first(rows: Sequence[Row], name: str) -> object:
    """The first that is not empty, else as the first row has it."""
    for row in rows:
        value = getattr(row, name)
        if value is not None and value != "" and value != ():
            return value
    return getattr(rows[0], name)


def _take(values: dict[str, Any], names: Sequence[str], row: Row) -> None:
    for name in names:
        values[name] = getattr(row, name)
