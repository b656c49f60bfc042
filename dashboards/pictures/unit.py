"""Numbers as Grafana writes them: unit, scale and the number of decimals.

The rules are those of `@grafana/data` (`valueFormats/`, its tests read November 2026): without a wish for decimals a
value has three significant digits, and a whole number no decimals.
"""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

Decimals = int | None
_Formatter = Callable[[float, Decimals], str]
_COUNTS: Final = ("", " K", " Mil", " Bil", " Tri")
_LETTERS: Final = ("", "K", "M", "B", "T")
_SI: Final = ("", "k", "M", "G", "T", "P")
_IEC: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_DURATIONS_S: Final = (
    (1e-6, 1e-9, " ns"),
    (1e-3, 1e-6, " µs"),
    (1.0, 1e-3, " ms"),
    (60.0, 1.0, " s"),
    (3600.0, 60.0, " mins"),
    (86400.0, 3600.0, " hours"),
    (604800.0, 86400.0, " days"),
    (31536000.0, 604800.0, " weeks"),
    (math.inf, 31536000.0, " years"),
)
"""Below which number of seconds, in which unit."""
TIMES: Final = ("dateTimeAsIso", "dateTimeAsIsoNoDateIfToday", "dateTimeAsLocal", "dateTimeAsUS", "dateTimeAsSystem")


def show(value: float, unit: str, decimals: Decimals = None) -> str:
    """A number in its unit. Times are milliseconds since the epoch, shown in UTC."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit in TIMES:
        return moment(value)
    known = _FORMATS.get(unit)
    if known is not None:
        return known(value, decimals)
    kind, _, rest = unit.partition(":")
    if kind == "suffix":
        return f"{fixed(value, decimals)}{rest}"
    if kind == "prefix":
        return f"{rest}{fixed(value, decimals)}"
    if kind == "short" or not unit:
        return fixed(value, decimals)
    return f"{fixed(value, decimals)} {unit}"


def axis(value: float, unit: str) -> str:
    """As `show`, for a tick: no zeros at the end of a fraction."""
    text = show(value, unit)
    end = len(text)
    while end and not text[end - 1].isdigit():
        end -= 1
    number, rest = text[:end], text[end:]
    return (number.rstrip("0").rstrip(".") if "." in number else number) + rest


def moment(time_ms: float) -> str:
    """A time, to the second."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def decimals_for(value: float) -> int:
    """How many decimals give three significant digits."""
    if value == 0 or value % 1 == 0:
        return 0
    return max(0, 2 - math.floor(math.log10(abs(value))))


def fixed(value: float, decimals: Decimals = None) -> str:
    """A plain number."""
    count = decimals_for(value) if decimals is None else max(decimals, 0)
    rounded = f"{value:.{count}f}"
    return rounded.removeprefix("-") if float(rounded) == 0 else rounded


def _scaled(factor: float, names: Sequence[str]) -> Callable[[float, Decimals], tuple[str, str]]:
    def format_(value: float, decimals: Decimals) -> tuple[str, str]:
        step = 0
        while abs(value) >= factor and step < len(names) - 1:
            value, step = value / factor, step + 1
        return fixed(value, decimals), names[step]

    return format_


def _joined(factor: float, names: Sequence[str], prefix: str = "", suffix: str = "") -> _Formatter:
    scale = _scaled(factor, names)

    def format_(value: float, decimals: Decimals) -> str:
        text, name = scale(abs(value), decimals)
        negative = "-" if value < 0 and float(text) else ""
        return f"{negative}{prefix}{text}{name}{suffix}"

    return format_


def _rate(noun: str) -> _Formatter:
    scale = _scaled(1000, _LETTERS)

    def format_(value: float, decimals: Decimals) -> str:
        text, name = scale(value, decimals)
        return f"{text}{name} {noun}"

    return format_


def _duration(scale_s: float) -> _Formatter:
    def format_(value: float, decimals: Decimals) -> str:
        seconds = value * scale_s
        if seconds == 0:
            return "0 s" if scale_s == 1 else "0 ms"
        # Nothing is written in a unit smaller than the field's own, but seconds.
        smallest = 0.0 if scale_s == 1 else scale_s
        _, size, name = next(each for each in _DURATIONS_S if abs(seconds) < each[0] and each[1] >= smallest)
        return f"{fixed(round(seconds / size, 9), decimals)}{name}"

    return format_


def _bytes(factor: float, names: Sequence[str], suffix: str) -> _Formatter:
    scale = _scaled(factor, names)

    def format_(value: float, decimals: Decimals) -> str:
        text, name = scale(value, decimals)
        return f"{text} {name}{suffix}"

    return format_


_FORMATS: Final[dict[str, _Formatter]] = {
    "none": fixed,
    "string": fixed,
    "short": _joined(1000, _COUNTS),
    "sishort": _joined(1000, _SI),
    "locale": lambda value, decimals: f"{float(fixed(value, decimals)):,.{decimals or 0}f}",
    "percent": lambda value, decimals: f"{fixed(value, decimals)}%",
    "percentunit": lambda value, decimals: f"{fixed(round(value * 100, 9), decimals)}%",
    "currencyUSD": _joined(1000, _LETTERS, prefix="$"),
    "s": _duration(1),
    "ms": _duration(1e-3),
    "µs": _duration(1e-6),
    "ns": _duration(1e-9),
    "bytes": _bytes(1024, _IEC, "B"),
    "decbytes": _bytes(1000, _SI, "B"),
    "Bps": _bytes(1000, _SI, "B/s"),
    "binBps": _bytes(1024, _IEC, "B/s"),
    "reqps": _rate("req/s"),
    "ops": _rate("ops/s"),
    "cps": _rate("c/s"),
    "rps": _rate("rd/s"),
    "wps": _rate("wr/s"),
    "eps": _rate("events/s"),
    "mps": _rate("msg/s"),
    "recps": _rate("rec/s"),
    "reqpm": _rate("req/m"),
    "opm": _rate("ops/m"),
    "hertz": lambda value, decimals: f"{fixed(value, decimals)} Hz",
    "bool": lambda value, _: "True" if value else "False",
    "bool_yes_no": lambda value, _: "Yes" if value else "No",
    "bool_on_off": lambda value, _: "On" if value else "Off",
}
