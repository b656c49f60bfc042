"""A Prometheus with a past, for the pictures: the real server answers from scrapes that it never made."""

from pathlib import Path

import pytest

from pictures.scrapes import JOB, STEP_S, Scrape, past
from support.prometheus import MissingError, program

START_S = 1_795_180_800
MINUTES = 12
DOWN_FROM = 5


@pytest.fixture(scope="module", autouse=True)
def prometheus() -> None:
    try:
        program("prometheus")
    except MissingError as error:
        pytest.skip(str(error))


def scrapes() -> list[Scrape]:
    """A backend that is down from a minute on, and a counter that rises by 3 a minute until then."""
    return [
        Scrape(
            START_S + minute * STEP_S,
            [
                ("up", JOB, float(minute < DOWN_FROM)),
                ("calls_total", {**JOB, "model": 'a "b" \\'.replace("\\", "\\\\").replace('"', '\\"')}, minute * 3.0),
            ],
        )
        for minute in range(MINUTES)
    ]


def test_scrapes_of_the_past_are_answered_from_and_alerts_fire_when_their_time_has_passed(tmp_path: Path) -> None:
    with past(tmp_path, scrapes()) as server:
        end = str(START_S + (MINUTES - 1) * STEP_S)
        rate = server.ask("query", {"query": "rate(calls_total[5m])", "time": end})
        alerts = server.ask(
            "query_range",
            {
                "query": 'ALERTS{alertname="LLMBackendDown"}',
                "start": str(START_S),
                "end": end,
                "step": str(STEP_S),
            },
        )

    states = {
        series["metric"]["alertstate"]: [(int(at) - START_S) // STEP_S for at, _ in series["values"]]
        for series in alerts
    }
    assert rate[0]["metric"]["model"] == 'a "b" \\'
    assert float(rate[0]["value"][1]) == pytest.approx(3 / 60)
    # `for: 2m`: pending at minutes 5 and 6, firing from minute 7 on.
    assert states["pending"] == [DOWN_FROM, DOWN_FROM + 1]
    assert states["firing"] == list(range(DOWN_FROM + 2, MINUTES))
    assert alerts[0]["metric"]["severity"] == "critical"
