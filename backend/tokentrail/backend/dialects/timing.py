"""Spans of time in attributes: seconds, milliseconds and points in time, as nanoseconds."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from tokentrail.backend.dialects import coerce
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import genai

_FIRST_TOKEN: Final = (
    genai.TIME_TO_FIRST_TOKEN,
    genai.RESPONSE_TIME_TO_FIRST_CHUNK,
    "gen_ai.response.time_to_first_token",
)
_SERVER_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105  # a latency, not a secret
FIRST_TOKEN: Final = (*_FIRST_TOKEN, _SERVER_FIRST_TOKEN)
"""What `first_token_ns` looks at."""
_MAX_SECONDS: Final = 1e6
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NUMBER: Final = re.compile(r"\d{10,19}(\.\d{1,9})?")
_UNITS_OF_EPOCHS: Final = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))
"""Limits below which a number of the epoch has the unit, in nanoseconds: each is the year 5138."""


def seconds(attributes: Attributes, *names: str) -> int | None:
    """The first of `names` that is a sensible number of seconds, in nanoseconds."""
    return _nanoseconds(attributes, names, 1e9)


def milliseconds(attributes: Attributes, *names: str) -> int | None:
    """The first of `names` that is a sensible number of milliseconds, in nanoseconds."""
    return _nanoseconds(attributes, names, 1e6)


def first_token_ns(span: Span) -> int | None:
    """From the start to the first token or chunk, by the names of the conventions."""
    known = seconds(span.attributes, *_FIRST_TOKEN)
    if known is not None:
        return known
    value = coerce.number(span.attributes, _SERVER_FIRST_TOKEN)
    if value is None or not 0 <= value < _MAX_SECONDS * 1000:
        return None
    # Seconds by its definition as a metric, but some write milliseconds: longer than the call, or whole and large.
    is_milliseconds = value * 1e9 > span.duration_ns or (value.is_integer() and value >= 10)
    return round(value * (1e6 if is_milliseconds else 1e9))


def event_ns(span: Span, name: str) -> int | None:
    """From the start to the first span event called `name`; `None` when there is none, or it was before the start."""
    times = [event.time_ns - span.start_ns for event in span.events if event.name == name]
    return min((each for each in times if each >= 0), default=None)


def since_start_ns(span: Span, *names: str) -> int | None:
    """From the start to the point in time that the first of `names` tells; `None` for none, or one before the start.

    Points in time are ISO 8601 (UTC where they say nothing), also within quotes as JSON has them, or numbers of
    seconds, milliseconds, microseconds or nanoseconds since the epoch, which their magnitude tells apart.
    """
    moment = _moment_ns(coerce.text(span.attributes, *names))
    passed = None if moment is None else moment - span.start_ns
    return passed if passed is not None and 0 <= passed < _MAX_SECONDS * 1e9 else None


def _moment_ns(told: str) -> int | None:
    told = told.strip().strip('"')
    if _EPOCH_NUMBER.fullmatch(told):
        number = Decimal(told)  # nanoseconds have more digits than a double
        unit = next((unit for limit, unit in _UNITS_OF_EPOCHS if number < limit), 1)
        return int(number * unit)
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _nanoseconds(attributes: Attributes, names: tuple[str, ...], unit: float) -> int | None:
    for name in names:
        # Most names are absent from most spans.
        if (told := attributes.get(name)) is not None and (value := coerce.as_number(told)) is not None:
            value = float(value)
            if 0 <= value < _MAX_SECONDS * 1e9 / unit:
                return round(value * unit)
    return None
