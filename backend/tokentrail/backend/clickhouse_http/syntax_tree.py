r"""What `EXPLAIN AST` says of a statement, as a tree.

    SelectWithUnionQuery (children 1)
     ExpressionList (children 1)
      SelectQuery (children 2)
       ExpressionList (children 1)
        Function count (alias n) (children 1)
         ...
       TablesInSelectQuery (children 1)

A line is a node, indented by its depth, with the number of its children. Names in it come from whoever wrote the
statement, and can have line breaks and look like nodes: so the numbers must add up exactly, and a name cannot pass for
a child or a sibling of a node that the engine has counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.clickhouse_http.errors import RefusedError

MAX_DEPTH: Final = 300
"""Of a tree: what people and Grafana write has less than 40."""

_LINE: Final = re.compile(r"( *)(.*?)(?: \(children (\d+)\))?")


@dataclass(frozen=True, slots=True)
class Node:
    """One node."""

    label: str
    """All of its line but the indentation and the number of children."""
    children: tuple["Node", ...]

    @property
    def kind(self) -> str:
        """The first word."""
        return self.label.partition(" ")[0]

    def walk(self) -> Iterator["Node"]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def read(lines: str) -> Node:
    """The tree. Raises `RefusedError` where the lines are none."""
    rows = []
    for line in lines.rstrip("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None or not match[2]:
            raise _unreadable()
        rows.append((len(match[1]), match[2], int(match[3] or 0)))
    node, used = _node(rows, 0, 0)
    if used != len(rows):
        raise _unreadable()
    return node


def _node(rows: list[tuple[int, str, int]], at: int, depth: int) -> tuple[Node, int]:
    if at >= len(rows) or rows[at][0] != depth:
        raise _unreadable()
    if depth > MAX_DEPTH:
        raise RefusedError("the statement is nested too deeply")
    _, label, count = rows[at]
    at += 1
    children = []
    for _ in range(count):
        child, at = _node(rows, at, depth + 1)
        children.append(child)
    return Node(label, tuple(children)), at


def _unreadable() -> RefusedError:
    return RefusedError("the statement has names with line breaks or other characters that are not allowed here")
