"""What the first page says of now and of an earlier time, beside the seeded calls of both."""

from collections.abc import Callable
from datetime import datetime, timedelta
from statistics import fmean

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import Call
from support.dashboard_store import DAY, DAY_MS, Seeded, failed, groups, interval, priced, quantile, spend
from support.grafana import Window

approx = pytest.approx
PAGE = "overview"


def earlier(seeded: Seeded, days: int) -> list[Call]:
    """The calls of the same time, so many days before."""
    return seeded.told(window=Window(DAY.start_ms - days * DAY_MS, DAY.end_ms - days * DAY_MS))


def p95(of: list[float]) -> float | None:
    return quantile(of, 0.95) if of else None


def rate(of: list[Call]) -> float | None:
    return len(failed(of)) / len(of) if of else None


VALUES: dict[str, Callable[[list[Call]], float | None]] = {
    "Requests": len,
    "Spend": spend,
    "Tokens": truth.tokens,
    "Error rate": rate,
    "P95 latency": lambda of: p95(truth.seconds(of)),
    "Users": lambda of: len({call.user for call in of}),
}


@pytest.mark.parametrize("days", ["1", "7"])
@pytest.mark.parametrize("title", list(VALUES))
def test_each_interval_stands_beside_the_same_one_before(seeded: Seeded, title: str, days: str) -> None:
    now, before = groups(seeded.told(), interval), groups(earlier(seeded, int(days)), interval)
    later = {shifted(time, int(days)): calls for time, calls in before.items()}

    rows = seeded.rows(PAGE, f"{title}, and before", offset=days)

    def value(calls: list[Call]) -> object:
        found = VALUES[title](calls)
        return None if found is None else approx(found)

    assert {row["time"]: (row["now"], row["before"]) for row in rows} == {
        time: (value(now.get(time, [])), value(later.get(time, []))) for time in now.keys() | later.keys()
    }
    assert now
    assert later


def shifted(time: str, days: int) -> str:
    moment = datetime.strptime(f"{time} +0000", "%Y-%m-%d %H:%M:%S %z") + timedelta(days=days)
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def test_the_whole_time_is_compared(seeded: Seeded) -> None:
    both = seeded.told(), earlier(seeded, 7)

    rows = {row["what"]: row for row in seeded.rows(PAGE, "The whole time, and before", offset="7")}

    wanted: dict[str, Callable[[list[Call]], float]] = {
        "Requests": len,
        "Spend, $": spend,
        "Cost per request, $": lambda of: spend(of) / len(priced(of)),
        "Tokens": truth.tokens,
        "Error rate, %": lambda of: 100 * truth.error_rate(of),
        "Mean latency, s": lambda of: fmean(truth.seconds(of)),
        "P95 latency, s": lambda of: quantile(truth.seconds(of), 0.95),
        "P95 to first token, s": lambda of: quantile(truth.first_tokens(of), 0.95),
        "Users": lambda of: len({call.user for call in of}),
        "Sessions": lambda of: len({call.session for call in of}),
    }
    assert rows.keys() == wanted.keys()
    for what, of in wanted.items():
        now, before = (of(calls) for calls in both)
        row = rows[what]
        assert (row["now"], row["before"], row["change"]) == (approx(now), approx(before), approx(now / before - 1))


def test_models_share_the_requests(seeded: Seeded) -> None:
    rows = seeded.rows(PAGE, "Requests by model")

    models = groups(seeded.told(), lambda call: call.model)
    assert {row["model"]: row["requests"] for row in rows} == {name: len(of) for name, of in models.items()}
