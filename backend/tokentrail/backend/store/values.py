"""Values into and out of ClickHouse's text: parameters of a query, and its answer.

The answer is `JSONCompactEachRowWithNamesAndTypes`: a line of column names, a line of types, a line of values for each
row. Numbers are read by their type, so that decimals stay exact and big integers whole.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

_Convert = Callable[[object], object]

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
_WRAPPERS: Final = ("Nullable", "LowCardinality")


def parameter(value: object) -> str:
    r"""`value` as ClickHouse reads the parameter of a query: in the escaping of TSV, whatever its type.

    Takes str, bool, int, float, Decimal, None (for a Nullable) and sequences of str (for an Array). Raises `TypeError`
    for anything else. The type in the query decides how the text is read, so no value can become SQL.
    """
    match value:
        case None:
            return r"\N"
        case str():
            return _clean(value).translate(_ESCAPES)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case Decimal():
            return f"{value:f}"
        case list() | tuple():
            return _array(value)
    raise TypeError(f"a query cannot take a {type(value).__name__} as parameter")


def quoted(text: str) -> str:
    """`text` as a string in a statement, for where parameters cannot be: what each node of a cluster is to run."""
    return "'" + _clean(text).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _array(items: Sequence[object]) -> str:
    quoted = []
    for item in items:
        if not isinstance(item, str):
            raise TypeError(f"a query takes arrays of str, not of {type(item).__name__}")
        quoted.append("'" + _clean(item).translate(_ESCAPES).replace("'", "\\'") + "'")
    return "[" + ",".join(quoted) + "]"


def _clean(text: str) -> str:
    """`text` without lone surrogates, which no UTF-8 can carry."""
    return text.encode("utf-8", "replace").decode()


def decode(answer: bytes) -> list[dict[str, object]]:
    """The rows of an answer, as dicts by column."""
    lines = answer.decode("utf-8", "replace").split("\n")
    return decode_rows(json.loads(lines[0]), json.loads(lines[1]), filter(None, lines[2:]))


def decode_rows(names: Sequence[str], types: Sequence[str], lines: Iterable[str]) -> list[dict[str, object]]:
    """The rows of an answer whose columns have these names and types; each line is one row, a JSON array."""
    converts = [_converter(kind) for kind in types]
    return [
        {name: convert(value) for name, convert, value in zip(names, converts, _load(line), strict=True)}
        for line in lines
    ]


def _load(line: str) -> list[object]:
    # Floats as Decimal: ClickHouse writes decimals as bare numbers, and a float in between would round them.
    loaded: list[object] = json.loads(line, parse_float=Decimal)
    return loaded


def _converter(kind: str) -> _Convert:
    """How to turn a JSON value of ClickHouse type `kind` into ours."""
    name, _, rest = kind.partition("(")
    inner = rest.removesuffix(")")
    if name in _WRAPPERS:
        return _converter(inner)
    if name == "SimpleAggregateFunction":
        return _converter(inner.partition(", ")[2])
    if name == "Array":
        return _list_of(_converter(inner))
    if name == "Map":
        return _dict_of(_converter(inner[_end_of_key(inner) + 2 :]))
    if name.startswith("Decimal"):
        return lambda value: None if value is None else Decimal(str(value))
    if name.startswith("Float"):
        return lambda value: None if value is None else float(str(value))
    return lambda value: value


def _list_of(convert: _Convert) -> _Convert:
    return lambda value: [convert(item) for item in value] if isinstance(value, list) else value


def _dict_of(convert: _Convert) -> _Convert:
    return lambda value: {key: convert(item) for key, item in value.items()} if isinstance(value, dict) else value


def _end_of_key(inner: str) -> int:
    """Where the key type of `key, value` ends: at the first comma outside parentheses."""
    depth = 0
    for index, character in enumerate(inner):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            return index
    raise ValueError(f"no map type: {inner}")
