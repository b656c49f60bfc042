"""Attribute values as what they mean: senders write numbers as strings, lists as JSON, and absence in many ways.

Every function takes whatever an attribute held and answers `None` (or an empty text) when it does not mean what is
asked for; none raises.
"""

import base64
import json
import math
import re
from collections.abc import Mapping
from typing import Final

from tokentrail.backend.span import Attributes, Value
from tokentrail.semconv.usage import NOT_A_COUNT

_ABSENT: Final = frozenset({"", "null", "{}", "[]", "<REDACTED>", "__REDACTED__"})
_LONGEST_ABSENT: Final = max(map(len, _ABSENT))
"""Content, which is long, is not hashed to find out that it is there."""
_DECIMAL: Final = re.compile(r"\d{1,18}(\.\d{1,18})?([eE][+-]?\d{1,2})?")
_MAX_WHOLE: Final = 2**63 - 1
_HALVES: Final = ("\\ud", "\\uD")
"""How JSON spells the halves of surrogate pairs."""


def first(attributes: Attributes, *names: str) -> Value:
    """The value of the first of `names` that is present and says something. Aliases are alternatives."""
    for name in names:
        # Most names are absent from most spans: that case must cost one lookup and no more.
        if (value := attributes.get(name)) is not None and (
            len(value) > _LONGEST_ABSENT or value not in _ABSENT if type(value) is str else value != () and value != {}
        ):
            return value
    return None


def text(attributes: Attributes, *names: str) -> str:
    """The first of `names` as text; empty when none is there."""
    for name in names:
        if (value := attributes.get(name)) is not None:
            if type(value) is str:
                if len(value) > _LONGEST_ABSENT or value not in _ABSENT:
                    return value
            elif value != () and value != {}:
                return as_text(value)
    return ""


def model(attributes: Attributes, *names: str) -> str:
    """The first of `names` that names a model; Micrometer, and Spring AI with it, writes `none` where there is none."""
    told = text(attributes, *names)
    return "" if told == "none" else told


def as_text(value: Value) -> str:
    """A scalar as text, anything nested as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return as_json(value)


def whole(attributes: Attributes, *names: str) -> int | None:
    """The first of `names` that is a count: a non-negative whole number, as a number or as text."""
    for name in names:
        if (value := attributes.get(name)) is not None and (count := as_whole(value)) is not None:
            return count
    return None


def as_whole(value: Value) -> int | None:
    """A non-negative whole number below 2**63, however written."""
    if type(value) is int:
        return value if 0 <= value <= _MAX_WHOLE else None
    number = as_number(value)
    if number is None or number < 0 or number > _MAX_WHOLE or not float(number).is_integer():
        return None
    return int(number)


def count(attributes: Attributes, *names: str) -> int | None:
    """The first of `names` that is a count, as `whole`; `NOT_A_COUNT` where they hold only numbers that are none.

    Those are negative, a fraction or not finite: not the same as nothing, since what they stand for was used.
    """
    wrong = False
    for name in names:
        if (value := attributes.get(name)) is not None:
            if (found := as_whole(value)) is not None:
                return found
            wrong = wrong or _is_number(value)
    return NOT_A_COUNT if wrong else None


def _is_number(value: Value) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(attributes: Attributes, *names: str) -> float | None:
    """The first of `names` that is a finite number, as a number or as text; never negative when text."""
    for name in names:
        if (value := attributes.get(name)) is not None and (found := as_number(value)) is not None:
            return float(found)
    return None


def as_number(value: Value) -> int | float | None:
    """A finite number, exact when it is whole."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str) and _DECIMAL.fullmatch(value := value.strip()):
        return int(value) if value.isdecimal() else float(value)
    return None


def flag(attributes: Attributes, *names: str) -> bool | None:
    """The first of `names` that is a boolean or its English word; `None` is not `False`."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
    return None


def texts(value: Value) -> tuple[str, ...]:
    """A list of texts: a list, a JSON list in a string, or one bare string."""
    if isinstance(value, str):
        parsed = parse_json(value)
        if not isinstance(parsed, list):
            return (value,) if value not in _ABSENT else ()
        return tuple(item if isinstance(item, str) else json.dumps(item) for item in parsed)
    if isinstance(value, tuple):
        return tuple(as_text(item) for item in value)
    return () if value is None else (as_text(value),)


def parse_json(value: str) -> object:
    """`value` as JSON, or `None` when it is not."""
    if value[:1] not in ("[", "{", '"'):
        return None
    try:
        parsed: object = json.loads(value)
        if any(half in value for half in _HALVES):  # one without the other is no UTF-8, and could not be stored
            parsed = json.loads(json.dumps(parsed, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return parsed


def opened(value: Value) -> object:
    """Structured values as they are, JSON in strings parsed, any other text as it is; `None` for nothing."""
    if isinstance(value, str):
        parsed = parse_json(value)
        return (value or None) if parsed is None else parsed
    return plain(value)


def fields(attributes: Attributes, name: str) -> Mapping[str, object]:
    """The object that `name` holds, structured or as JSON; empty when it holds none."""
    found = opened(first(attributes, name))
    return found if isinstance(found, Mapping) else {}


def as_json(value: Value) -> str:
    """A nested value as compact JSON; bytes as base64, as OTLP writes them."""
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


def written(value: object) -> str:
    """Parsed JSON as compact JSON that is UTF-8: half of a surrogate pair, which JSON allows, becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def plain(value: Value) -> object:
    """A value in the types of `json`; what JSON cannot spell (NaN, infinities) as text."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
