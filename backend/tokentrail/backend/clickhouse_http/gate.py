"""Which statements are let through: one SELECT, SHOW, DESCRIBE, EXISTS or EXPLAIN, of what may be read.

What decides is the engine's own reading of the statement (`EXPLAIN AST`), of which every node must be of a known kind.
The embedded engine would let a connection that is set to `readonly = 1` read and write files of this machine, by the
function `file` and by INTO OUTFILE: neither gets here past the gate.
"""

import re
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.clickhouse_http.catalog import DATABASE, SYSTEM, TABLE_FUNCTIONS, Catalog
from tokentrail.backend.clickhouse_http.errors import READONLY, RefusedError
from tokentrail.backend.clickhouse_http.lexemes import has_word
from tokentrail.backend.clickhouse_http.syntax_tree import Node

READS: Final = ("SELECT", "WITH", "(", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "FROM")
"""How statements that are looked at begin, in the engine's own form."""

_SELECT: Final = "SelectWithUnionQuery"
_KINDS: Final = frozenset(
    {
        *(_SELECT, "SelectIntersectExceptQuery", "SelectQuery", "ExpressionList", "Identifier", "TableIdentifier"),
        *("Function", "Literal", "Asterisk", "QualifiedAsterisk", "ColumnsRegexpMatcher", "ColumnsListMatcher"),
        *("QualifiedColumnsRegexpMatcher", "QualifiedColumnsListMatcher", "ColumnsTransformerList"),
        *("ColumnsExceptTransformer", "ColumnsReplaceTransformer", "ColumnsReplaceTransformer::Replacement"),
        *("TablesInSelectQuery", "TablesInSelectQueryElement", "TableExpression", "TableJoin", "ArrayJoin"),
        *("Subquery", "WithElement", "OrderByElement", "WindowDefinition", "WindowListElement", "SampleRatio"),
        *("InterpolateElement", "DataType", "ObjectTypeArgument", "NameTypePair"),
    }
)
"""Parts of a SELECT. Not among them: `Set` (SETTINGS inside of a statement) and APPLY, which names functions unseen."""
_MATCHERS: Final = frozenset(
    {
        *("Asterisk", "QualifiedAsterisk", "ColumnsRegexpMatcher", "ColumnsListMatcher"),
        *("QualifiedColumnsRegexpMatcher", "QualifiedColumnsListMatcher"),
    }
)
_SHOWS: Final = re.compile(
    r"SHOW (?:FULL )?(?:TABLES|DATABASES|SETTINGS)(?: FROM (?:\w+|`\w+`))?"
    r"(?: (?:NOT )?I?LIKE '(?:[^'\\]|\\.)*')?(?: LIMIT \d+)?",
    re.ASCII | re.DOTALL,
)
"""All of it: what is behind WHERE is not in the tree."""
_EXPLAINS: Final = frozenset({"Explain EXPLAIN", "Explain EXPLAIN AST", "Explain EXPLAIN SYNTAX"})
_PLAN: Final = "Explain EXPLAIN"
"""Tells how large the parts of a table are, which are of all projects."""
_NAME: Final = re.compile(r"(?:Function|TableIdentifier) (\w+(?:\.\w+)?)(?: \(alias .*\))?", re.DOTALL)
_IDENTIFIER: Final = re.compile(r"Identifier (.*?)(?: \(alias .*\))?", re.DOTALL)
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks."""

    project: str | None
    """The one project that they see, as it is stored; `None` for all. Names without a database are of `DATABASE`."""


def require_reading(statement: str) -> None:
    """Raise `RefusedError` unless `statement`, in the engine's own form, is of a kind that reads."""
    word = "(" if statement.startswith("(") else statement.partition(" ")[0].upper()
    if word not in READS:
        raise RefusedError(f"{word[:40]}: only SELECT, SHOW, DESCRIBE, EXISTS and EXPLAIN are possible here", READONLY)


def check(statement: str, root: Node, scope: Scope, catalog: Catalog) -> None:
    """Raise `RefusedError` unless `statement` may run. `root` is its tree, without FORMAT and SETTINGS at its end."""
    _check_root(statement, root)
    _Check(scope, catalog).check(root)
    if scope.project is not None and root.label == _PLAN:
        raise RefusedError("a key of one project sees no plans: EXPLAIN AST and EXPLAIN SYNTAX are possible")
    if scope.project is not None and has_word(statement, "PREWHERE"):
        # It would be evaluated before the condition on the project, and its errors tell of other rows.
        raise RefusedError("PREWHERE is not possible with a key of one project: use WHERE")


def check_condition(root: Node, scope: Scope, catalog: Catalog) -> None:
    """Raise `RefusedError` unless `root` is the tree of `SELECT <one expression of the columns of a table>`."""
    node = root
    for kind in (_SELECT, "ExpressionList", "SelectQuery", "ExpressionList"):
        if node.kind != kind or len(node.children) != 1:
            raise RefusedError("a condition of additional_table_filters is not one expression")
        (node,) = node.children
    if any(each.kind in ("Subquery", "TableIdentifier", *_MATCHERS) for each in node.walk()):
        raise RefusedError("a condition of additional_table_filters may not read tables")
    _Check(scope, catalog).check(node)


def _check_root(statement: str, root: Node) -> None:
    match root.kind:
        case "SelectWithUnionQuery":
            return
        case "ShowTables":
            if not _SHOWS.fullmatch(statement):
                raise RefusedError(
                    "of SHOW only TABLES, DATABASES, SETTINGS and CREATE TABLE are possible here, without WHERE"
                )
            allowed = ["Identifier"]
        case "DescribeQuery":
            allowed = ["TableExpression"]
        case "ShowCreateTableQuery" | "ExistsTableQuery" | "ExistsDatabaseQuery" | "ExistsViewQuery":
            allowed = ["Identifier", "Identifier"]
        case "Explain":
            allowed = [_SELECT]
            if root.label not in _EXPLAINS:
                raise RefusedError("of EXPLAIN only the plan, AST and SYNTAX are possible here")
        case _:
            raise RefusedError("only SELECT, SHOW, DESCRIBE, EXISTS and EXPLAIN are possible here", READONLY)
    # Anything else that is there is INTO OUTFILE, SETTINGS or FORMAT.
    if [each.kind for each in root.children] != allowed[: len(root.children)]:
        raise RefusedError("INTO OUTFILE, and SETTINGS and FORMAT elsewhere than at the end, are not possible here")


class _Check:
    """One statement's."""

    def __init__(self, scope: Scope, catalog: Catalog):
        self._scope, self._catalog = scope, catalog
        self._restricted: set[str] = set()

    def check(self, root: Node) -> None:
        if root.kind == "ShowCreateTableQuery":
            self._table(".".join(_identifier(each) for each in root.children))
        nodes = list(root.walk())
        for node in nodes:
            if node is not root or node.kind in _KINDS:
                self._node(node)
        if self._restricted and self._scope.project is not None:
            self._check_hidden(nodes)

    def _node(self, node: Node) -> None:
        if node.kind not in _KINDS:
            raise RefusedError(
                _UNKNOWN.get(node.kind, f"the statement has a part that is not possible here ({node.kind})")
            )
        match node.kind:
            case "SelectWithUnionQuery" if len(node.children) != 1:
                raise RefusedError(
                    "INTO OUTFILE, and SETTINGS and FORMAT elsewhere than at the end, are not possible here"
                )
            case "TableIdentifier":
                self._table(_name(node))
            case "Identifier":
                self._identifier(_identifier(node))
            case "TableExpression":
                self._table_functions(node)
            case "Function":
                if _name(node).lower() not in TABLE_FUNCTIONS:
                    self._catalog.require_function(_name(node))

    def _table_functions(self, node: Node) -> None:
        for child in node.children:
            if child.kind == "Function" and _name(child).lower() not in TABLE_FUNCTIONS:
                raise RefusedError(f"the table function {_name(child)} cannot be used here")

    def _table(self, name: str) -> None:
        """A name in the place of a table. What does not exist is left to the engine: it may be named by WITH."""
        first, dot, rest = name.partition(".")
        database, table = (first, rest) if dot else (DATABASE, name)
        catalog, every = self._catalog, self._scope.project is None
        if catalog.is_readable(database, table, all_projects=every):
            if database == SYSTEM and catalog.hidden.get(table):
                self._restricted.add(table)
        elif catalog.is_known(database, table):
            raise RefusedError(f"the table {name} cannot be read here")

    def _identifier(self, name: str) -> None:
        """A name anywhere else: after IN it may be a table's."""
        parts = name.split(".")
        if len(parts) == 1:
            if name in self._catalog.tables:
                self._table(name)
        elif parts[0] in self._catalog.databases and self._catalog.is_known(parts[0], parts[1]):
            self._table(".".join(parts[:2]))

    def _check_hidden(self, nodes: list[Node]) -> None:
        """Of some tables a project does not see all columns: they may not be named, nor be among `*`."""
        hidden = frozenset[str]().union(*(self._catalog.hidden[table] for table in self._restricted))
        tables = " and ".join(f"system.{table}" for table in sorted(self._restricted))
        for node in nodes:
            if node.kind in _MATCHERS:
                raise RefusedError(f"of {tables} a key of one project sees some columns only: name them, without *")
            if node.kind != "Literal" and (named := hidden.intersection(_WORD.findall(node.label))):
                raise RefusedError(f"a key of one project does not see {', '.join(sorted(named))} of {tables}")


_UNKNOWN: Final = {
    "Set": "SETTINGS are possible at the end of a statement only, and EXPLAIN has none here",
    "ColumnsApplyTransformer": "APPLY is not possible here: call the function",
}


def _name(node: Node) -> str:
    match = _NAME.fullmatch(node.label)
    if match is None:
        raise RefusedError("names of tables and functions may have letters, digits and underscores only here")
    return match[1]


def _identifier(node: Node) -> str:
    match = _IDENTIFIER.fullmatch(node.label)
    return match[1] if match else node.label
