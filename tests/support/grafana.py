"""What Grafana and its ClickHouse plugin do to a query before they send it: variables and macros put in.

Written from the plugin's documentation and the behaviour of version 4.20 (macros) and of Grafana's variables
(`percentencode`, `queryparam` as `toUrlParams` of @grafana/data 11.6.0 writes it, several values, All), not from the
dashboards.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

Choice = Mapping[str, Sequence[str]]
"""The values chosen for each variable: none of them is All, one empty one is a text box that is empty."""


@dataclass(frozen=True)
class Window:
    """The time of a dashboard, and how far apart the points of a panel are."""

    start_ms: int
    end_ms: int
    interval_s: int = 60

    @property
    def range_s(self) -> int:
        return (self.end_ms - self.start_ms) // 1000


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels but headings, those in collapsed rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def sql(text: str, window: Window, choice: Choice) -> str:
    """A statement as it reaches ClickHouse."""
    return _macros(_variables(_conditionals(text, choice), choice), window)


def promql(text: str, window: Window, choice: Choice, all_values: Mapping[str, str], rate_interval_s: int = 60) -> str:
    """An expression as it reaches Prometheus; `all_values` are what variables stand for when they are All."""
    fixed = {
        "__rate_interval": f"{rate_interval_s}s",
        "__interval": f"{window.interval_s}s",
        "__range": f"{window.range_s}s",
        "__range_s": str(window.range_s),
    }

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name in fixed:
            return fixed[name]
        chosen = choice.get(name, ())
        if not chosen:
            return all_values[name]
        quoted = [re.sub(r"([\\^$*+?.()|\[\]{}])", r"\\\\\1", each) for each in chosen]
        return quoted[0] if len(quoted) == 1 else f"({'|'.join(quoted)})"

    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", value, text)


def _conditionals(text: str, choice: Choice) -> str:
    """`$__conditionalAll(condition, $variable)`: the condition, or `1=1` where the variable is All or empty."""
    macro = "$__conditionalAll("
    while (start := text.rfind(macro)) >= 0:
        end, commas = _arguments(text, start + len(macro) - 1)
        assert len(commas) == 1, f"two arguments expected: {text[start : end + 1]}"
        condition, variable = text[start + len(macro) : commas[0]], text[commas[0] + 1 : end]
        found = re.search(r"(?<=\$\{)\w+(?=\})|(?<=\$)\w+", variable)
        assert found, variable
        text = text[:start] + (condition if any(choice.get(found[0], ())) else "1=1") + text[end + 1 :]
    return text


def _arguments(text: str, opening: int) -> tuple[int, list[int]]:
    """The place of the bracket that closes the one at `opening`, and of the commas between, as the plugin counts."""
    depth = 0
    commas: list[int] = []
    for at in range(opening, len(text)):
        if text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if depth == 0:
                return at, commas
        elif text[at] == "," and depth == 1:
            commas.append(at)
    raise AssertionError(f"brackets are not closed: {text[opening : opening + 80]}")


def _variables(text: str, choice: Choice) -> str:
    def value(match: re.Match[str]) -> str:
        name, form = match[1] or match[3], match[2]
        if name.startswith("__"):
            return match[0]
        if form == "queryparam":
            return "&".join(f"var-{name}={quote(each, safe='@:$,;')}" for each in choice.get(name) or ["$__all"])
        chosen = choice.get(name)
        assert chosen, f"${name} stands outside of $__conditionalAll, and is All: {text[:200]}"
        if form == "percentencode":
            assert len(chosen) == 1, f"${{{name}}} has several values, which Grafana puts into braces"
            return quote(chosen[0], safe="")
        assert form is None, form
        return ",".join(chosen)

    return re.sub(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)", value, text)


def _macros(text: str, window: Window) -> str:
    start, end = window.start_ms // 1000, window.end_ms // 1000
    start_ms, end_ms = f"fromUnixTimestamp64Milli({window.start_ms})", f"fromUnixTimestamp64Milli({window.end_ms})"
    day = "%Y-%m-%d"
    days = [datetime.fromtimestamp(each, UTC).strftime(day) for each in (start, end)]
    plain = {
        "fromTime_ms": start_ms,
        "toTime_ms": end_ms,
        "fromTime": f"toDateTime({start})",
        "toTime": f"toDateTime({end})",
        "interval_s": str(window.interval_s),
    }
    called = {
        "timeFilter_ms": f"{{0}} >= {start_ms} AND {{0}} <= {end_ms}",
        "timeFilter": f"{{0}} >= toDateTime({start}) AND {{0}} <= toDateTime({end})",
        "dateFilter": f"{{0}} >= toDate('{days[0]}') AND {{0}} <= toDate('{days[1]}')",
        "timeInterval": f"toStartOfInterval(toDateTime({{0}}), INTERVAL {window.interval_s} second)",
    }
    for name, template in called.items():
        while found := re.search(rf"\$__{name}\(", text):
            closing, commas = _arguments(text, found.end() - 1)
            assert not commas, text[found.start() : closing]
            inner = text[found.end() : closing]
            text = text[: found.start()] + template.format(inner) + text[closing + 1 :]
    for name, value in plain.items():
        text = re.sub(rf"\$__{name}\b", value, text)
    left = re.search(r"\$(?!__all\b)__?\w+", text)  # the value of All is no macro, and the plugin leaves it
    assert left is None, f"unknown macro or variable {left and left[0]}"
    return text
