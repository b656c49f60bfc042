"""Parsing JSON, and narrowing what was parsed: what is not of the wanted type is treated as absent.

Bodies come from anybody's server, so every field is looked at before it is believed.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final

from tokentrail.semconv.usage import NOT_A_COUNT

Json = Mapping[str, object]
"""A JSON object."""

EMPTY: Final[Json] = {}

_INT64: Final = 2**63
"""One past the largest whole number that a span attribute can carry (OTLP's `int_value`)."""


def _fast_parser() -> Callable[[bytes], object] | None:
    """The parser of jiter, where it is installed: the SDKs of OpenAI and Anthropic bring it along."""
    try:
        parser = import_module("jiter").from_json
    except (ImportError, AttributeError):
        return None
    return parser if callable(parser) else None


_fast_parse: Final = _fast_parser()


def parse(data: bytes | bytearray) -> object:
    """What the JSON text `data` holds. Raises `ValueError`, or `RecursionError` when it is nested too deep.

    By jiter where there is one (a stream's chunk in a third of the time, a long prompt in a twentieth). What jiter
    refuses has the last word of `json`, which reads some more: half surrogate pairs, deeper nesting.
    """
    if _fast_parse is not None:
        try:
            return _fast_parse(bytes(data))
        except ValueError:
            pass
    return json.loads(data)


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
    if type(value) is int:  # nearly always
        return value if -_INT64 <= value < _INT64 else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64:
        return value
    return None


def count(value: object) -> int | None:
    """`value` as a count of tokens: `None` where there is none, `NOT_A_COUNT` where there is something else.

    That is a number that is negative, a fraction, not finite (`NaN` is no JSON, but sent) or beyond 64 bits, and
    anything that is no number. What it stands for was used, so that such a usage is not the same as a smaller one.
    """
    if value is None:
        return None
    found = integer(value)
    return found if found is not None and found >= 0 else NOT_A_COUNT


def first_count(*values: object) -> int | None:
    """The first of `values` that is there, as a count: the names of a field in several dialects."""
    return next((count(value) for value in values if value is not None), None)


def total_count(*counts: int | None) -> int | None:
    """The sum of what is known of `counts`: `None` when nothing is, `NOT_A_COUNT` when one of them or the sum is."""
    if NOT_A_COUNT in counts:
        return NOT_A_COUNT
    known = [each for each in counts if each is not None]
    return count(sum(known)) if known else None


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
