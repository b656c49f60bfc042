"""Points in time as people write them."""

from datetime import UTC, datetime

import pytest

from tokentrail.backend.query import moment

NOW_NS = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * 10**9 + 5


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", NOW_NS - 30 * 10**9),
        ("15m", NOW_NS - 900 * 10**9),
        ("2h", NOW_NS - 7200 * 10**9),
        ("7d", NOW_NS - 604_800 * 10**9),
        ("2w", NOW_NS - 1_209_600 * 10**9),
        ("999999999w", 0),
        ("2026-11-20", _ns("2026-11-20T00:00:00+00:00")),
        (" 2026-11-20T18:00 ", _ns("2026-11-20T18:00:00+00:00")),
        ("2026-11-20T18:00:00Z", _ns("2026-11-20T18:00:00+00:00")),
        ("2026-11-20T18:00:00+01:30", _ns("2026-11-20T16:30:00+00:00")),
        ("2026-11-20T18:00:00.5Z", _ns("2026-11-20T18:00:00+00:00") + 500_000_000),
        ("2026-11-20T18:00:00.000000001+00:00", _ns("2026-11-20T18:00:00+00:00") + 1),
        ("2026-11-20T18:00:00,1234567899Z", _ns("2026-11-20T18:00:00+00:00") + 123_456_789),
        ("1970-01-01", 0),
    ],
)
def test_times_are_read(text: str, expected: int) -> None:
    assert moment.parse(text, NOW_NS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "15",
        "15 m",
        "-15m",
        "15M",
        "٣m",
        "1969-12-31",
        "2026-13-01",
        "2026-11-20T18:00:00.5.5",
        "2026-11-20T18:00.5.5",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        moment.parse(text, NOW_NS)


@pytest.mark.parametrize("time_ns", [0, 1, NOW_NS, 4_294_967_295_999_999_999])
def test_a_time_that_is_shown_is_read_back_to_the_nanosecond(time_ns: int) -> None:
    assert moment.parse(moment.iso(time_ns), 0) == time_ns


def test_a_time_is_shown_in_utc_with_nanoseconds() -> None:
    assert moment.iso(NOW_NS) == "2026-11-21T12:00:00.000000005Z"
