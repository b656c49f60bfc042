"""Filters that all pages share hold for their numbers; no panel fails on odd texts, nor where there is nothing."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Final

import pytest

from support import dashboard_store as truth
from support import grafana
from support.dashboard_seed import Call
from support.dashboard_store import DAY, DAY_MS, Choice, Seeded, groups, quantile, spend
from support.grafana import Window

approx = pytest.approx
PAGES = sorted(path.stem for path in truth.COMMITTED.glob("*.json"))
LONG_AGO = Window(DAY.start_ms - 3_000 * DAY_MS, DAY.start_ms - 2_999 * DAY_MS, 900)

FILTERS: Final[dict[str, tuple[Choice, Callable[[Call], bool]]]] = {
    "env": ({"env": "staging"}, lambda call: call.environment == "staging"),
    "service": ({"service": "assistant"}, lambda call: call.service == "assistant"),
    "provider": ({"provider": "anthropic"}, lambda call: call.provider == "anthropic"),
    "models": ({"model": ["gpt-4o", "house-7b"]}, lambda call: call.model in ("gpt-4o", "house-7b")),
    "operation": ({"operation": ["chat", "embeddings"]}, lambda call: True),
    "project": ({"project": truth.PROJECT}, lambda call: truth.project_of(call) == truth.PROJECT),
    "no project": ({"project": "default"}, lambda call: truth.project_of(call) == ""),
    "several, one with an awkward name": (
        {"env": [truth.AWKWARD_CHOICE, "staging"]},
        lambda call: call.environment in (truth.AWKWARD_CHOICE, "staging"),
    ),
    "several": (
        {"env": ["staging", "production"], "model": "gpt-4o-mini", "project": ["default", "other"]},
        lambda call: call.model == "gpt-4o-mini" and not truth.project_of(call),
    ),
}


def sessions(calls: list[Call]) -> int:
    return len(groups(calls, lambda call: call.session))


def hit_rate(calls: list[Call]) -> float:
    return sum(call.cached_tokens for call in calls) / sum(call.input_tokens for call in calls)


def mean_answer(calls: list[Call]) -> float:
    return fmean(call.output_tokens for call in calls if not call.error_type)


NUMBERS: Final[Sequence[tuple[str, str, str, Callable[[list[Call]], float]]]] = (
    ("overview", "Spend", "usd", spend),
    ("cost", "Spend", "usd", spend),
    ("cost", "Tokens", "total", truth.tokens),
    ("users", "Active users", "users", lambda calls: len({call.user for call in calls})),
    ("latency", "P99 by P50", "times", lambda of: quantile(truth.seconds(of), 0.99) / quantile(truth.seconds(of), 0.5)),
    ("errors", "Error rate", "error_rate", truth.error_rate),
    ("sessions", "Sessions", "sessions", sessions),
    ("prompts", "Mean answer", "mean", mean_answer),
    ("properties", "Spend that has it", "usd", spend),
    ("requests", "Requests", "requests", len),
    ("cache-limits", "Prompt cache hit rate", "hit_rate", hit_rate),
)


@pytest.mark.parametrize(("choice", "keep"), list(FILTERS.values()), ids=list(FILTERS))
def test_a_shared_filter_holds_on_every_page(seeded: Seeded, choice: Choice, keep: Callable[[Call], bool]) -> None:
    calls, before = seeded.told(keep), seeded.before(keep)

    for page, title, column, value in NUMBERS:
        row = seeded.row(page, title, choice=choice)
        assert row[column] == approx(value(calls), rel=1e-12), (page, title)
        if "change" in row:
            difference = value(calls) - value(before)
            wanted = difference if page == "cache-limits" else difference / value(before) if value(before) else None
            assert row["change"] == (None if wanted is None else approx(wanted)), (page, title)
    assert calls


@pytest.mark.parametrize(("choice", "keep"), list(FILTERS.values()), ids=list(FILTERS))
def test_a_shared_filter_holds_for_whole_hours(seeded: Seeded, choice: Choice, keep: Callable[[Call], bool]) -> None:
    calls = [call for call in seeded.seed.calls if call.start_ns <= DAY.end_ms * 10**6 and keep(call)]

    assert seeded.row("cost", "This month", choice=choice)["so_far"] == approx(spend(calls), rel=1e-12)
    assert seeded.row("errors", "Error budget left", choice=choice)["budget_left"] == approx(
        1 - 100 * truth.error_rate(calls)
    )
    active = seeded.row("users", "Active in a day, a week, a month", choice=choice)
    assert active["month"] == len({call.user for call in calls})


@pytest.mark.parametrize("name", ["env", "service", "provider", "models"])
def test_a_shared_filter_holds_for_what_is_read_from_spans(seeded: Seeded, name: str) -> None:
    choice, keep = FILTERS[name]

    rows = seeded.rows("cache-limits", "Cache of a gateway", choice=choice)

    assert sum(row["misses"] for row in rows) == len([c for c in seeded.told(keep) if c.span[0] % 5 == 0]) > 0


# Texts that people type --------------------------------------------------------------------------------------------

BOXES: Final = ("user", "session", "session_name", "path", "feature", "property_value", "trace")
"""Variables that take any text; `property` is a choice that takes one, too."""
ODD: Final = (
    "it's",
    '"',
    "back\\slash",
    "at the end\\",
    "\\' OR 1=1 --",
    "a), (b, c",
    "$__fromTime",
    "100 %41",
    "naïve 😀",
)


def statements(page: str) -> list[tuple[str, str]]:
    """Titles and SQL of all panels."""
    return [
        (panel["title"], target["rawSql"])
        for panel in grafana.panels(truth.dashboard(page))
        for target in panel.get("targets") or ()
        if "rawSql" in target
    ]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("text", ODD)
def test_odd_texts_fail_no_panel(seeded: Seeded, page: str, text: str) -> None:
    typed: Choice = {**dict.fromkeys(BOXES, text), "property": text}

    for title, sql in statements(page):
        if any(f"${{{name}:" in sql for name in typed):
            try:
                seeded.ask(sql, choice=typed)
            except Exception as error:
                raise AssertionError(f"{title} in {page}: {error}") from error


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("box", [box for box in BOXES if box not in ("trace", "session_name")])
def test_odd_texts_find_nothing(seeded: Seeded, box: str, text: str) -> None:
    chosen: Choice = {box: text}

    assert seeded.row("requests", "Requests", choice=chosen)["requests"] == 0
    assert seeded.rows("requests", "Calls", choice=chosen) == []


LISTS: Final = ("env", "service", "provider", "model", "operation", "project", "prompt")
"""Variables that take several values."""
ODD_CHOICES: Final = [text for text in ODD if "$__" not in text]
"""Grafana leaves `$` as it is, and its plugin takes `$__fromTime` for its own wherever it stands."""


@pytest.mark.parametrize("text", ODD_CHOICES)
def test_odd_choices_find_nothing(seeded: Seeded, text: str) -> None:
    for name in LISTS:
        chosen: Choice = {name: [text, "another"]}
        assert seeded.row("requests", "Requests", choice=chosen)["requests"] == 0, name


@pytest.mark.parametrize("name", LISTS)
def test_an_odd_choice_leaves_the_others_as_they_are(seeded: Seeded, name: str) -> None:
    known = CHOICES["one of each"][name]
    assert isinstance(known, str)

    alone = seeded.row("requests", "Requests", choice={name: known})
    among = seeded.row("requests", "Requests", choice={name: [*ODD_CHOICES[:4], known, *ODD_CHOICES[4:]]})

    assert among == alone
    assert alone["requests"] > 0


@pytest.mark.parametrize("page", PAGES)
def test_odd_choices_fail_no_panel(seeded: Seeded, page: str) -> None:
    for title, sql in statements(page):
        try:
            seeded.ask(sql, choice=dict.fromkeys(LISTS, ODD_CHOICES))
        except Exception as error:
            raise AssertionError(f"{title} in {page}: {error}") from error


@pytest.mark.parametrize(
    ("name", "known", "of"),
    [
        ("env", "staging", lambda call: call.environment),
        ("service", "assistant", lambda call: call.service),
        ("prompt", "chat-prompt", lambda call: call.prompt),
    ],
)
def test_an_awkward_name_can_be_chosen(seeded: Seeded, name: str, known: str, of: Callable[[Call], str]) -> None:
    for names in ([truth.AWKWARD_CHOICE], [truth.AWKWARD_CHOICE, known], [known, truth.AWKWARD_CHOICE]):
        wanted = [call for call in seeded.told() if of(call) in names]

        said = seeded.row("requests", "Requests", choice={name: names})

        assert said["requests"] == len(wanted) > 0


# Times without calls -----------------------------------------------------------------------------------------------

CHOICES: Final[dict[str, Choice]] = {
    "all": {},
    "one of each": {
        "env": "production",
        "service": "assistant",
        "provider": "openai",
        "model": "gpt-4o",
        "operation": "chat",
        "project": "default",
        "user": "user-00",
        "session": "border-1",
        "session_name": "chat",
        "path": "/research/*",
        "feature": "chat",
        "property": "UserTier",
        "property_value": "pro",
        "prompt": "chat-prompt",
        "status": "error",
        "unpriced": "1",
        "trace": "00" * 16,
    },
}


@pytest.mark.parametrize("choice", list(CHOICES.values()), ids=list(CHOICES))
@pytest.mark.parametrize("page", PAGES)
def test_no_panel_fails_in_a_time_without_calls(seeded: Seeded, page: str, choice: Choice) -> None:
    """`ask` refuses numbers that are none, such as those of a division by nothing."""
    for title, sql in statements(page):
        try:
            rows = seeded.ask(sql, LONG_AGO, choice)
        except Exception as error:
            raise AssertionError(f"{title} in {page}: {error}") from error
        assert all(_is_nothing(value) for row in rows for value in row.values()), (title, rows)


def _is_nothing(value: Any) -> bool:
    return value in (None, 0, "", [])


@pytest.mark.parametrize("page", PAGES)
def test_no_panel_fails_where_filters_leave_nothing(seeded: Seeded, page: str) -> None:
    for title, sql in statements(page):
        try:
            seeded.ask(sql, choice={"env": "nowhere"})
        except Exception as error:
            raise AssertionError(f"{title} in {page}: {error}") from error
