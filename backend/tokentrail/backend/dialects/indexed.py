"""Lists that a producer has flattened into attribute names, put together again.

    llm.input_messages.0.message.role = "user"        ->  [{"message": {"role": "user",
    llm.input_messages.0.message.contents.1.text = x                   "contents": [{"text": x}]}}]

Gaps close up. What contradicts another attribute (a value where the other has fields), lies deeper than anybody nests,
or is numbered higher than anybody counts is left out.
"""

from typing import Final

from tokentrail.backend.dialects import coerce
from tokentrail.backend.span import Attributes

_MAX_INDEX_DIGITS: Final = 4
"""Items up to 9,999: more are nobody's messages."""
_MAX_DEPTH: Final = 16


def items(attributes: Attributes, prefix: str) -> list[dict[str, object]]:
    """The items below `prefix`, which ends with a dot, in the order of their numbers.

    An item is a mapping of its fields; fields that are numbered are lists. Items that are plain values, and values
    that say nothing (`coerce.first`), are not there.
    """
    names = [key for key in attributes if key.startswith(prefix)]
    if not names:
        return []
    root: dict[str, object] = {}
    start = len(prefix)
    for key in names:
        if (value := coerce.first(attributes, key)) is not None:
            _put(root, key[start:].split("."), value if isinstance(value, str) else coerce.plain(value))
    closed = _closed(root)
    return [item for item in closed if isinstance(item, dict)] if isinstance(closed, list) else []


def _put(root: dict[str, object], path: list[str], value: object) -> None:
    if len(path) > _MAX_DEPTH or any(len(part) > _MAX_INDEX_DIGITS and part.isdecimal() for part in path):
        return
    node = root
    for part in path[:-1]:
        below = node.setdefault(part, {})
        if not isinstance(below, dict):
            return
        node = below
    node.setdefault(path[-1], value)


def _closed(node: object) -> object:
    """`node` with every mapping that has only numbers for keys as a list."""
    if not isinstance(node, dict):
        return node
    if node and all(key.isascii() and key.isdecimal() for key in node):
        return [_closed(node[key]) for key in sorted(node, key=int)]
    return {key: _closed(value) for key, value in node.items()}
