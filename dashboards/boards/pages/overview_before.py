"""Panels of the first page: each number beside what it was a day, a week or longer before, as the variable says."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Panel

from boards import link
from boards.board import Placed, Section
from boards.calls import beside
from boards.panel import COUNT, SECONDS, SHARE, USD, Column, lines, table
from boards.query import Shape

_NOTE: Final = " Before is the same time as many days earlier as *Compare with* says."


def _line(title: str, what: str, unit: str, value: str, address: tuple[str, str] | None = None) -> Panel:
    """`value` (SQL, `WHICH` is the condition for the calls of one of the two times) over time, of both."""
    now, before = value.replace("WHICH", "Now"), value.replace("WHICH", "NOT Now")
    return lines(
        f"{title}, and before",
        what + _NOTE,
        beside(
            f"SELECT BIN AS time, {now} AS now, {before} AS before FROM both GROUP BY time ORDER BY time", Shape.SERIES
        ),
        unit,
        columns=[Column("now", color="blue"), Column("before", color="gray")],
        link=address or ("Requests of now", link.to_requests()),
    )


_FAILED: Final = ("What fails now", link.to_requests(status="error"))
_USD: Final = "toFloat64(sumIf(ifNull(CostUsd, 0), WHICH))"
_RATE: Final = "countIf(Failed AND WHICH) / nullIf(countIf(WHICH), 0)"
_P95: Final = "quantileExactOrNullIf(0.95)(Seconds, WHICH)"
_USERS: Final = "uniqExactIf(UserId, UserId != '' AND WHICH)"
_TOKENS: Final = "toFloat64(sumIf(Tokens, WHICH))"
_LINES: Final = (
    _line("Requests", "Calls in each interval.", COUNT, "countIf(WHICH)"),
    _line("Spend", "US dollars in each interval.", USD, _USD),
    _line("Tokens", "Input and output in each interval.", COUNT, _TOKENS),
    _line("Error rate", "Failed calls by all calls of each interval.", SHARE, _RATE, _FAILED),
    _line("P95 latency", "Of the calls of each interval.", SECONDS, _P95),
    _line("Users", "Different users with a call in each interval.", COUNT, _USERS),
)
_NUMBERS: Final = {
    "Requests": "toFloat64(countIf(WHICH))",
    "Spend, $": _USD,
    "Cost per request, $": "toFloat64(avgOrNullIf(CostUsd, WHICH))",
    "Tokens": _TOKENS,
    "Error rate, %": f"100 * {_RATE}",
    "Mean latency, s": "avgOrNullIf(Seconds, WHICH)",
    "P95 latency, s": _P95,
    "P95 to first token, s": "quantileExactOrNullIf(0.95)(TtftSeconds, WHICH)",
    "Users": f"toFloat64({_USERS})",
    "Sessions": "toFloat64(uniqExactIf(SessionId, SessionId != '' AND WHICH))",
}


def _rows() -> str:
    both = (
        (name, *(value.replace("WHICH", which) for which in ("Now", "NOT Now"))) for name, value in _NUMBERS.items()
    )
    return ",\n    ".join(f"('{name}', toNullable({now}), toNullable({before}))" for name, now, before in both)


_TABLE: Final = table(
    "The whole time, and before",
    "All calls of the time shown beside those of the earlier time, and by how much each number changed." + _NOTE,
    beside(
        f"""
SELECT number.1 AS what, number.2 AS now, number.3 AS before, now / nullIf(before, 0) - 1 AS change
FROM (SELECT arrayJoin([
    {_rows()}
]) AS number FROM both HAVING count() > 0)
LIMIT {len(_NUMBERS)}
"""
    ),
    [
        Column("what", "What", link=("Requests of now", link.to_requests())),
        Column("now", "Now", COUNT),
        Column("before", "Before", COUNT),
        Column("change", "Change", SHARE, decimals=1),
    ],
)

SECTION: Final = Section(
    "Beside an earlier time",
    (*(Placed(panel, 8, 7) for panel in _LINES), Placed(_TABLE, 24, 11)),
    collapsed=True,
)
