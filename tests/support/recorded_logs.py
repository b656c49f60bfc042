"""Recorded requests with spans and with the log records of the same calls, brought to now."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[1] / "fixtures" / "dialects"
_RECORDED_NS = 1_800_000_000 * 10**9
"""When all recordings say that they were made."""
_TRACE = "1".zfill(32)
_TIMES = ("timeUnixNano", "observedTimeUnixNano", "startTimeUnixNano", "endTimeUnixNano")


def recorded(name: str, suffix: str, at_ns: int | None = None, session: str | None = None) -> bytes:
    """The OTLP JSON of `<name><suffix>`: `.json` are spans, `.logs.json` log records. It begins at `at_ns`, or now.

    `session` is put in place of the recorded session, which all recordings have in common, and makes their trace.
    """
    text = (FIXTURES / f"{name}{suffix}").read_text("utf-8")
    if session is not None:
        text = text.replace('"s-1"', json.dumps(session))
        text = text.replace(_TRACE, hashlib.blake2b(session.encode(), digest_size=16).hexdigest())
    document = json.loads(text)
    _shift(document, (at_ns or time.time_ns()) - _RECORDED_NS)
    return json.dumps(document).encode()


def _shift(value: Any, by_ns: int) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _TIMES and item is not None:
                value[key] = str(int(item) + by_ns)
            else:
                _shift(item, by_ns)
    elif isinstance(value, list):
        for item in value:
            _shift(item, by_ns)
