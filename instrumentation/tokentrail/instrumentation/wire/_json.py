"""Narrowing of parsed JSON: what is not of the wanted type is treated as absent.

Bodies come from anybody's server, so every field is looked at before it is believed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

Json = Mapping[str, object]
"""A JSON object."""

EMPTY: Final[Json] = {}

_INT64: Final = 2**63
"""One past the largest whole number that a span attribute can carry (OTLP's `int_value`)."""


def mapping(value: object) -> Json:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else EMPTY


def sequence(value: object) -> Sequence[object]:
    """`value` if it is an array, else an empty one."""
    return value if isinstance(value, list) else ()


def text(value: object) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def integer(value: object) -> int | None:
    """`value` if it is a whole number that an attribute can carry (64 bits, signed), else `None`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64:
        return value
    return None


def number(value: object) -> float | None:
    """`value` as a finite float if it is a number, else `None`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:  # JSON sets no limit to the digits of a whole number
        return None
    return found if math.isfinite(found) else None


def index(value: object, limit: int = 1024) -> int:
    """`value` as the index of a choice or a tool call: 0 when it is none, or beyond what any provider has."""
    found = integer(value)
    return found if found is not None and 0 <= found < limit else 0
