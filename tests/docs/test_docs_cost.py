"""What docs/cost.md says of prices is what the code does, and its sums are right."""

import ast
import inspect
import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from support.price_table import by_hand, published_prices
from tokentrail.backend.__main__ import main
from tokentrail.backend.dialects.reported_cost import CLIENT
from tokentrail.backend.query.filter import COLUMNS
from tokentrail.semconv import cost, genai
from tokentrail.semconv.pricing import Source
from tokentrail.semconv.pricing.tables import price_file
from tokentrail.semconv.pricing.tables.price_file import read_price_file
from tokentrail.semconv.usage import Usage

ROOT = Path(__file__).parents[2]
COST = (ROOT / "docs" / "cost.md").read_text()
PRICING = ROOT / "semconv" / "tokentrail" / "semconv" / "pricing"
BY_HAND = COST[COST.index("## A session reconciled by hand") :]
TIMES = "\N{MULTIPLICATION SIGN}"
NOV_21_NS = 1_795_219_200 * 10**9
"""2026-11-21, when the prices in the document were read."""


def _assumptions() -> dict[str, str]:
    """Constants that are documented as an assumption, with their values, from the sources."""
    found: dict[str, str] = {}
    for path in PRICING.rglob("*.py"):
        body = ast.parse(path.read_text()).body
        for constant, text in pairwise(body):
            if not isinstance(constant, ast.AnnAssign) or not isinstance(text, ast.Expr):
                continue
            told = ast.literal_eval(text.value) if isinstance(text.value, ast.Constant) else ""
            if str(told).startswith("Assumption"):
                assert isinstance(constant.target, ast.Name)
                assert constant.value is not None
                found[constant.target.id] = ast.literal_eval(constant.value)
    return found


def _first_cells(title: str) -> set[str]:
    """What the tables of a section explain: the words in code of their first column."""
    section = COST.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return {word for cell in rows for word in re.findall(r"`([a-z0-9_-]+)", cell)}


def _session() -> list[tuple[str, Mapping[str, int], str]]:
    """The calls of the table: model, counts and sum."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in BY_HAND.splitlines() if TIMES in line]
    calls = [row for row in rows if len(row) == 8]
    names = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    return [(row[1].strip("`"), dict(zip(names, map(int, row[2:7]), strict=True)), row[7]) for row in calls]


def _value(formula: str) -> Decimal:
    """What a sum of products comes to."""
    products = [[Decimal(factor) for factor in part.split(TIMES)] for part in formula.split("+")]
    total = Decimal(0)
    for factors in products:
        product = Decimal(1)
        for factor in factors:
            product *= factor
        total += product
    return total


def test_every_assumption_is_explained_and_no_other() -> None:
    found = _assumptions()

    assert len(found) >= 8
    assert {name for name in vars(cost) if name.endswith("_ASSUMED")} <= set(found)
    assert _first_cells("What is assumed") == set(found.values())


def test_no_constant_that_looks_like_an_assumption_was_overlooked() -> None:
    sources = "\n".join(path.read_text() for path in PRICING.rglob("*.py"))
    names = set(
        re.findall(r"^([A-Z0-9_]+(?:_ASSUMED|_NOT_PRICED|_PRICE)): Final(?:\[str\])? = \"", sources, re.MULTILINE)
    )

    assert names - set(_assumptions()) == set()


def test_every_reason_and_every_source_is_explained() -> None:
    assert _first_cells("When there is no price") == set(cost.Reason)
    assert _first_cells("Where a price is from") == set(Source)
    assert f"`{CLIENT}`" in COST
    assert f"`{cost.PRICED}`" in COST


def test_every_component_is_explained() -> None:
    assert _first_cells("What is added up") == set(cost.COMPONENTS)


def test_every_key_of_a_price_file_is_explained() -> None:
    section = COST[COST.index("## The price file") : COST.index("## Commands")]

    assert [key for key in price_file._KEYS | price_file._TIER_KEYS if f"`{key}" not in section] == []


def test_the_limits_of_a_price_file_are_those_of_the_code() -> None:
    limits = (
        f"{price_file.MAX_BYTES // 2**20} MiB, {price_file.MAX_ENTRIES:,} entries, {price_file.MAX_DIGITS} digits an "
        f"amount, amounts below {price_file.MAX_PRICE:,} and multipliers below {price_file.MAX_FACTOR:,}"
    )

    assert limits in " ".join(COST.split())


def test_the_price_file_in_the_document_can_be_read() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", COST, re.DOTALL)

    assert len(read_price_file(example.encode(), "example", Source.USER).entries) == 6


def test_the_errors_in_the_document_are_those_that_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = COST[COST.index("$ tokentrail prices check prices.toml") :].split("```")[0]
    lines = re.findall(r"^ +\d+ \| (.*)$", console, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("prices.toml").write_text("\n".join(["schema = 1", "price = [", *lines, "]", ""]))

    assert main(["prices", "check", "prices.toml"]) == 1
    assert capsys.readouterr().err == console.split("\n", 1)[1]


def test_every_group_of_the_command_is_named() -> None:
    section = COST[COST.index("## Commands") :]

    assert [name for name in COLUMNS if f"`{name}`" not in section] == []


def test_the_attributes_named_exist() -> None:
    named = set(re.findall(r"`(tokentrail\.[a-z_.]+)`", COST))

    assert named
    assert named <= {value for value in vars(genai).values() if isinstance(value, str)}


def test_the_published_prices_are_those_that_are_in_force() -> None:
    for model, prices in published_prices().items():
        provider = "anthropic" if model.startswith("claude") else "openai"
        for component, usage in (
            ("input", Usage(1_000_000, 0)),
            ("cache_read", Usage(1_000_000, 0, cache_read_tokens=1_000_000)),
            ("cache_write", Usage(1_000_000, 0, cache_write_tokens=1_000_000, cache_write_1h_tokens=0)),
            ("output", Usage(0, 1_000_000)),
        ):
            if component in prices and (provider, component) != ("openai", "cache_write"):
                usage_in_band = Usage(**{name: _scaled(getattr(usage, name)) for name in _COUNTS})
                priced = cost.price(cost.Call(provider, (model,), usage_in_band, NOV_21_NS))
                assert isinstance(priced, cost.Cost)
                assert priced.total_usd * 10 == prices[component], (model, component)


_COUNTS = tuple(inspect.signature(Usage).parameters)


def _scaled(count: int | None) -> int | None:
    """A tenth: a call of a million tokens would be in another band."""
    return None if count is None else count // 10


def test_the_sums_of_the_session_are_right() -> None:
    calls = _session()

    assert len(calls) == 5
    for model, counts, formula in calls:
        products, _, result = formula.partition("=")
        assert _value(products) == Decimal(result.strip()), formula
        assert by_hand(model, counts) * 1_000_000 == Decimal(result.strip()), formula


def test_the_total_of_the_session_is_what_the_code_and_the_shown_command_say() -> None:
    total = sum((by_hand(model, counts) for model, counts, _ in _session()), Decimal(0))
    priced = [
        cost.price(cost.Call("anthropic", (model,), Usage(cache_write_1h_tokens=0, **counts), NOV_21_NS))
        for model, counts, _ in _session()
    ]

    assert sum((each.total_usd for each in priced if isinstance(each, cost.Cost)), Decimal(0)) == total
    assert f"Together {(total * 1_000_000).normalize():f} millionths: ${total.normalize():f}." in BY_HAND
    assert f"Exactly ${total.normalize():f}: " in BY_HAND


def test_the_components_of_the_session_are_right() -> None:
    text = " ".join(BY_HAND[BY_HAND.index("By component:") :].split("```")[0].split())
    sums = dict(re.findall(rf"(input|cache reads|cache writes|output|reasoning) ([\d.+{TIMES} ]+ = [\d.]+\d)", text))
    shown = dict(re.findall(r"(input|cache reads|cache writes|output|reasoning) \$([\d.]+\d)", BY_HAND))

    assert len(sums) == len(shown) == 5
    for name, formula in sums.items():
        products, _, result = formula.partition("=")
        assert _value(products) == Decimal(result.strip()), formula
        assert Decimal(shown[name]) * 1_000_000 == Decimal(result.strip()), name
