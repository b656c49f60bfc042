"""YAML as values that know their line: the only door to PyYAML.

Nothing is constructed from tags, and text stays text: `5%`, `10m` and `no` mean what the alert's field says, not what
YAML 1.1 would make of them.
"""

from dataclasses import dataclass
from typing import Final

from tokentrail.backend.alerts.definition import AlertFileError

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 20


@dataclass(frozen=True, slots=True)
class Item:
    """A value and the line it begins on, counted from 1."""

    line: int
    value: "str | tuple[Item, ...] | Fields"

    @property
    def kind(self) -> str:
        """For messages: what it is."""
        match self.value:
            case str():
                return "a value"
            case tuple():
                return "a list"
        return "a mapping"


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping: names with their lines, and their values."""

    entries: tuple[tuple[str, int, Item], ...]


def parse(data: bytes, name: str) -> Item | None:
    """The document in `data`, `None` for an empty one. Raises `AlertFileError`; `name` is what it calls the file."""
    try:
        import yaml  # not for those who have no alerts to read
    except ModuleNotFoundError as error:
        raise AlertFileError(name, ((0, 'PyYAML is missing: pip install "tokentrail[backend]"'),)) from error
    if len(data) > MAX_BYTES:
        raise AlertFileError(name, ((0, f"the file has more than {MAX_BYTES} bytes"),))
    try:
        node = yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise AlertFileError(name, ((data.count(b"\n", 0, error.start) + 1, "the text is not UTF-8"),)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise AlertFileError(name, ((line, f"no YAML: {error.problem or error.context}"),)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise AlertFileError(name, ((0, f"no YAML: {error}"),)) from error
    if node is None:
        return None
    return _Reader(name).read(node, 0)


class _Reader:
    """From PyYAML's nodes to ours; a node that aliases repeat is read once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[int, Item] = {}

    def read(self, node: object, depth: int) -> Item:
        import yaml

        if (known := self._known.get(id(node))) is not None:
            return known
        assert isinstance(node, yaml.Node)  # noqa: S101  # what compose makes
        line = int(node.start_mark.line) + 1
        if depth > MAX_DEPTH:
            raise AlertFileError(self._name, ((line, f"nested more than {MAX_DEPTH} deep"),))
        value: str | tuple[Item, ...] | Fields
        if isinstance(node, yaml.MappingNode):
            value = Fields(tuple(self._entry(key, entry, depth) for key, entry in node.value))
        elif isinstance(node, yaml.SequenceNode):
            value = tuple(self.read(each, depth + 1) for each in node.value)
        else:
            value = "" if node.tag.endswith(":null") and node.value in ("~", "null") else str(node.value)
        item = self._known[id(node)] = Item(line, value)
        return item

    def _entry(self, key: object, value: object, depth: int) -> tuple[str, int, Item]:
        name = self.read(key, depth + 1)
        if not isinstance(name.value, str):
            raise AlertFileError(self._name, ((name.line, f"a name is expected, not {name.kind}"),))
        return name.value, name.line, self.read(value, depth + 1)
