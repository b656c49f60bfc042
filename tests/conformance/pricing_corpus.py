"""The public pricing corpus (`conformance/pricing/*.json`), read and checked, and its formulas worked out.

What a case says is described in `conformance/pricing/README.md`.
"""

import ast
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).parents[2] / "conformance" / "pricing"

PRICED: Final = "priced"
_KEYS: Final = frozenset({"id", "why", "url", "at", "request", "response", "response_headers", "prices", "expect"})
_EXPECTED: Final = frozenset(
    {"status", "usd", "formula", "components", "source", "entry", "tier", "assumptions", "evidence"}
)
_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One call and what it costs."""

    id: str
    url: str
    at_ns: int
    request: Mapping[str, Any]
    response: str
    """The body of the response, as it is sent."""
    response_headers: Mapping[str, str]
    prices: str
    """A price file in force for this case; empty for none."""
    status: str
    usd: Decimal | None
    components: Mapping[str, Decimal]
    """By component, worked out of their formulas."""
    source: str
    entry: str
    tier: str
    assumptions: frozenset[str]


def files() -> list[Path]:
    """The files of the corpus."""
    return sorted(DIRECTORY.glob("*.json"))


def cases() -> list[Case]:
    """All cases. Raises `ValueError` for one that is not as the README says."""
    found = [_case(each, file.name) for file in files() for each in json.loads(file.read_text("utf-8"))]
    ids = [case.id for case in found]
    if len(set(ids)) != len(ids):
        raise ValueError(f"an id is there twice: {sorted(one for one in set(ids) if ids.count(one) > 1)}")
    return found


def work_out(formula: str) -> Fraction:
    """The value of a formula: numbers, `+ - * /` and parentheses, exactly. Raises `ValueError` for anything else."""
    return _value(ast.parse(formula, mode="eval").body, formula)


def _value(node: ast.expr, formula: str) -> Fraction:
    match node:
        case ast.BinOp():
            if work := _OPERATORS.get(type(node.op)):
                return work(_value(node.left, formula), _value(node.right, formula))
        case ast.Constant(value=int() | float()):
            # The digits as they are written: a float would not be the price.
            return Fraction(ast.get_source_segment(formula, node) or "")
    raise ValueError(f"{formula!r} is no formula: {ast.dump(node)}")


def _case(raw: Mapping[str, Any], file: str) -> Case:
    where = f"{file}: {raw.get('id')}"
    expect = raw["expect"]
    if unknown := (raw.keys() - _KEYS) | (expect.keys() - _EXPECTED):
        raise ValueError(f"{where}: unknown keys {sorted(unknown)}")
    if missing := {"id", "why", "url", "at", "request", "response", "expect"} - raw.keys():
        raise ValueError(f"{where}: missing keys {sorted(missing)}")
    usd = _usd(expect, where)
    components = {name: _decimal(work_out(formula)) for name, formula in expect.get("components", {}).items()}
    if components and sum(components.values()) != usd:
        raise ValueError(f"{where}: the components add up to {sum(components.values())}, not to {usd}")
    response = raw["response"]
    return Case(
        id=raw["id"],
        url=raw["url"],
        at_ns=int(datetime.fromisoformat(raw["at"]).astimezone(UTC).timestamp()) * 1_000_000_000,
        request=raw["request"],
        response=response if isinstance(response, str) else json.dumps(response),
        response_headers=raw.get("response_headers", {}),
        prices="\n".join(raw.get("prices", [])),
        status=expect["status"],
        usd=usd,
        components=components,
        source=expect.get("source", ""),
        entry=expect.get("entry", ""),
        tier=expect.get("tier", "standard" if usd is not None and expect.get("source") != "provider" else ""),
        assumptions=frozenset(expect.get("assumptions", [])),
    )


def _usd(expect: Mapping[str, Any], where: str) -> Decimal | None:
    if expect["status"] != PRICED:
        if "usd" in expect:
            raise ValueError(f"{where}: an unpriced call has no cost")
        return None
    usd = Decimal(expect["usd"])
    if not expect.get("evidence"):
        raise ValueError(f"{where}: where the prices come from is not said")
    if Fraction(usd) != work_out(expect["formula"]):
        raise ValueError(f"{where}: the formula gives {_decimal(work_out(expect['formula']))}, not {usd}")
    return usd


def _decimal(value: Fraction) -> Decimal:
    """`value` as a decimal. Raises `ValueError` where it has none that ends."""
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    if Fraction(exact) != value:
        raise ValueError(f"{value} is no amount of money")
    return exact
