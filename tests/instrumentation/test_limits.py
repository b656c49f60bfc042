"""Limits and waiting times in response headers, in every spelling that providers use."""

from collections.abc import Mapping

import pytest

from tokentrail.instrumentation import headers
from tokentrail.instrumentation.limits import read_limits

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"

# As recorded, or as documented where it says so; values that matter are written out by hand.
OPENAI = {
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "199977",
    "x-ratelimit-reset-requests": "8.64s",
    "x-ratelimit-reset-tokens": "6ms",
}
GROQ = {
    "x-ratelimit-limit-requests": "14400",
    "x-ratelimit-limit-tokens": "18000",
    "x-ratelimit-remaining-requests": "14370",
    "x-ratelimit-remaining-tokens": "17997",
    "x-ratelimit-reset-requests": "2m59.56s",
    "x-ratelimit-reset-tokens": "7.66s",
    "retry-after": "2",
}
AZURE = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-limit-tokens": "60000",
    "x-ratelimit-remaining-tokens": "59984",
    "x-ratelimit-reset-requests": "10",
    "retry-after-ms": "1234",
    "retry-after": "1",
}
MISTRAL = {
    "ratelimitbysize-limit": "500000",
    "x-ratelimitbysize-limit-minute": "500000",
    "x-ratelimitbysize-limit-month": "1000000000",
    "x-ratelimitbysize-remaining-minute": "499900",
    "ratelimitbysize-reset": "28",
}
MISTRAL_BY_MINUTE = {
    "x-ratelimit-limit-req-minute": "60",
    "x-ratelimit-remaining-req-minute": "59",
    "x-ratelimit-limit-tokens-minute": "50000",
    "x-ratelimit-remaining-tokens-minute": "47196",
    "x-ratelimit-limit-tokens-month": "4000000",
}
ANTHROPIC = {
    "date": DATE,
    "anthropic-ratelimit-requests-limit": "4000",
    "anthropic-ratelimit-requests-remaining": "3999",
    "anthropic-ratelimit-requests-reset": "2026-10-21T07:28:00Z",
    "anthropic-ratelimit-tokens-limit": "480000",
    "anthropic-ratelimit-tokens-remaining": "479000",
    "anthropic-ratelimit-tokens-reset": "2026-10-21T07:28:30Z",
    "anthropic-ratelimit-input-tokens-limit": "400000",
    "anthropic-ratelimit-input-tokens-remaining": "399000",
    "anthropic-ratelimit-input-tokens-reset": "2026-10-21T09:29:00+02:00",
    "anthropic-ratelimit-output-tokens-limit": "80000",
    "anthropic-ratelimit-output-tokens-remaining": "80000",
    "anthropic-ratelimit-output-tokens-reset": "2026-10-21T07:27:00Z",
}
TOGETHER = {
    "x-ratelimit-limit": "10",
    "x-ratelimit-remaining": "9",
    "x-ratelimit-reset": "1",
    "x-tokenlimit-limit": "3000",
    "x-tokenlimit-remaining": "2999",
}
OPENROUTER = {
    "date": DATE,
    "x-ratelimit-limit": "20",
    "x-ratelimit-remaining": "0",
    "x-ratelimit-reset": "1792567740000",
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            OPENAI,
            {
                "limit_requests": 10000,
                "limit_tokens": 200000,
                "remaining_requests": 9999,
                "remaining_tokens": 199977,
                "reset_requests": 8.64,
                "reset_tokens": 0.006,
            },
            id="openai",
        ),
        pytest.param(
            GROQ,
            {
                "limit_requests": 14400,
                "limit_tokens": 18000,
                "remaining_requests": 14370,
                "remaining_tokens": 17997,
                "reset_requests": 179.56,
                "reset_tokens": 7.66,
                "retry_after": 2.0,
            },
            id="groq",
        ),
        pytest.param(
            AZURE,
            {
                "limit_requests": 60,
                "limit_tokens": 60000,
                "remaining_requests": 59,
                "remaining_tokens": 59984,
                "reset_requests": 10.0,
                "retry_after": 1.234,
            },
            id="azure",
        ),
        pytest.param(
            MISTRAL, {"limit_tokens": 500000, "remaining_tokens": 499900, "reset_tokens": 28.0}, id="mistral by size"
        ),
        pytest.param(
            MISTRAL_BY_MINUTE,
            {"limit_requests": 60, "remaining_requests": 59, "limit_tokens": 50000, "remaining_tokens": 47196},
            id="mistral by minute",
        ),
        pytest.param(
            ANTHROPIC,
            {
                "limit_requests": 4000,
                "remaining_requests": 3999,
                "reset_requests": 0.0,
                "limit_tokens": 480000,
                "remaining_tokens": 479000,
                "reset_tokens": 30.0,
                "limit_input_tokens": 400000,
                "remaining_input_tokens": 399000,
                "reset_input_tokens": 60.0,
                "limit_output_tokens": 80000,
                "remaining_output_tokens": 80000,
                "reset_output_tokens": 0.0,
            },
            id="anthropic",
        ),
        pytest.param(
            TOGETHER,
            {
                "limit_requests": 10,
                "remaining_requests": 9,
                "reset_requests": 1.0,
                "limit_tokens": 3000,
                "remaining_tokens": 2999,
            },
            id="together",
        ),
        pytest.param(
            OPENROUTER, {"limit_requests": 20, "remaining_requests": 0, "reset_requests": 60.0}, id="openrouter"
        ),
        pytest.param({"date": DATE, "content-type": "x"}, {}, id="none"),
    ],
)
def test_the_limits_of_a_provider_become_attributes(given: Mapping[str, str], expected: Mapping[str, float]) -> None:
    read = headers.read_response(given)

    assert read == {f"tokentrail.ratelimit.{name}": value for name, value in expected.items()}
    assert all(type(value) is type(expected[name.rpartition(".")[2]]) for name, value in read.items())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("6m0s", 360.0),
        ("1s", 1.0),
        ("20ms", 0.02),
        ("0s", 0.0),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("1m0.25s", 60.25),
        ("500us", 0.0005),
        ("500µs", 0.0005),
        ("59.5", 59.5),
        ("0", 0.0),
        ("2026-10-21T07:28:01.5Z", 1.5),
        ("2026-10-21T07:27:59Z", 0.0),
        ("1792567681", 1.0),
        ("1792567681500", 1.5),
        ("1792567681.25", 1.25),
    ],
)
def test_a_reset_is_in_seconds_whatever_its_spelling(value: str, seconds: float) -> None:
    read = read_limits({"x-ratelimit-reset-tokens": value, "date": DATE})

    assert read == {"tokentrail.ratelimit.reset_tokens": pytest.approx(seconds, abs=1e-6)}


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "-1s", "1 s", "s", "1x", "1s!", "nan", "inf", "1e3", "9" * 40, "9" * 9 + "0" * 9 + "s"),
        *("2026-10-21T07:28:30", "2026-13-01T00:00:00Z", "1s" * 1000),
    ],
)
def test_a_reset_that_makes_no_sense_is_left_out(value: str) -> None:
    assert read_limits({"x-ratelimit-reset-tokens": value, "date": DATE}) == {}


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 99 Oct 2026 07:28:00 GMT"])
def test_a_time_of_the_day_needs_the_date_of_the_response(date: str | None) -> None:
    given = {"anthropic-ratelimit-tokens-reset": "2026-10-21T07:28:30Z", "retry-after": DATE}
    if date is not None:
        given["date"] = date

    assert read_limits(given) == {}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:29:30 GMT", "date": DATE}, 90.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "20", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "20", "retry-after-ms": "soon"}, 20.0),
    ],
)
def test_when_to_come_back_is_in_seconds(given: Mapping[str, str], seconds: float) -> None:
    assert read_limits(given) == {"tokentrail.ratelimit.retry_after": seconds}


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"amz-sdk-request": "attempt=1"}, 0),
        ({"amz-sdk-request": "attempt=2; max=3"}, 1),
        ({"amz-sdk-request": "ttl=20261021T072800Z; attempt=3; max=3"}, 2),
        ({"amz-sdk-request": "attempt=0; max=3"}, None),
        ({"amz-sdk-request": "attempt=x"}, None),
        ({"amz-sdk-request": "attempt=999999"}, None),
        ({"amz-sdk-request": "myattempt=2"}, None),
        ({"x-stainless-retry-count": "4", "amz-sdk-request": "attempt=2"}, 4),
        ({}, None),
    ],
)
def test_the_attempts_before_are_those_the_sdk_tells(given: Mapping[str, str], count: int | None) -> None:
    raw = [(name.title().encode(), value.encode()) for name, value in given.items()]

    assert headers.retry_count(given.get) == count
    assert headers.read_request(raw).retry_count == count
