"""Points in time as people write them: `15m`, `2026-11-20`, `2026-11-20T18:00:00+01:00`."""

import re
from datetime import UTC, datetime
from typing import Final

EXAMPLES: Final = ("15m", "2h", "7d", "2026-11-20", "2026-11-20T18:00:00Z")

_RELATIVE: Final = re.compile(r"([0-9]{1,9})(s|m|h|d|w)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FRACTION: Final = re.compile(r"(?<=:[0-9]{2}:[0-9]{2})[.,]([0-9]+)(?=$|[Zz+-])", re.ASCII)


def parse(text: str, now_ns: int) -> int:
    """Nanoseconds since the epoch of `text`: ISO 8601 (UTC unless it says otherwise), or that long before `now_ns`.

    Raises `ValueError` for anything else, and for times before 1970.
    """
    text = text.strip()
    if match := _RELATIVE.fullmatch(text):
        return max(now_ns - int(match[1]) * _SECONDS[match[2]] * 10**9, 0)
    # datetime stops at microseconds: the fraction is read here.
    fraction = _FRACTION.search(text)
    whole = datetime.fromisoformat(_FRACTION.sub("", text))
    seconds = int((whole if whole.tzinfo else whole.replace(tzinfo=UTC)).timestamp())
    if seconds < 0:
        raise ValueError(f"{text} is before 1970")
    return seconds * 10**9 + int(fraction[1][:9].ljust(9, "0") if fraction else 0)


def iso(time_ns: int) -> str:
    """`time_ns` as ISO 8601 in UTC with nanoseconds: `2026-11-20T18:00:00.000000001Z`."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
