"""The prices that docs/cost.md says vendors publish, and costs worked out from them: no code of the product in it."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "cost.md"
COLUMNS = ("input", "cache_read", "cache_write", "output")


def published_prices() -> dict[str, dict[str, Decimal]]:
    """USD per million tokens by model and column of the table; what a vendor does not charge apart is left out."""
    section = DOCUMENT.read_text().split("## A session reconciled by hand")[1]
    table = section[section.index("| model | input |") : section.index("The calls of the session")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "`" in line]
    return {
        row[0].strip("`"): {name: Decimal(cell) for name, cell in zip(COLUMNS, row[1:], strict=True) if cell}
        for row in rows
    }


def by_hand(model: str, counts: Mapping[str, int]) -> Decimal:
    """USD of a call with inclusive `counts` (`input_tokens`, `cache_read_tokens`, ...); reasoning costs as output."""
    prices = published_prices()[model]
    read, written = counts.get("cache_read_tokens", 0), counts.get("cache_write_tokens", 0)
    millionths = (counts["input_tokens"] - read - written) * prices["input"]
    millionths += read * prices.get("cache_read", Decimal(0))
    millionths += written * prices.get("cache_write", prices["input"])
    millionths += counts.get("output_tokens", 0) * prices.get("output", Decimal(0))
    return millionths / 1_000_000
