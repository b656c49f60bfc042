"""Reading a price file into a table. All that is wrong with it is found at once, with lines.

    schema = 1
    price = [
      { server = "*.internal", model = "llama-3*", input = "0.05", output = "0.05" },     USD per million tokens
      { provider = "ollama", model = "*", free = true },
      { provider = "azure.ai.openai", model = "team-a-chat", alias = "azure/gpt-4o-2024-08-06" },
      { provider = "anthropic", model = "*", multiplier = "0.85", from = 2026-10-01 },
      { provider = "openai", model = "*", web_search = "0.008" },                         USD for each
    ]

The format is described in `docs/cost.md`.
"""

import difflib
import hashlib
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, get_args

from tokentrail.semconv import providers
from tokentrail.semconv.pricing.card import BASE, Rate, Rates, Source, Steps, bands_of
from tokentrail.semconv.pricing.money import ZERO, per_token
from tokentrail.semconv.pricing.tables.table import Alias, Entry, SearchPrice, Table
from tokentrail.semconv.pricing.tables.toml_lines import Lines

MAX_BYTES: Final = 1024 * 1024
"""A larger file is none of ours."""
MAX_ENTRIES: Final = 10_000
MAX_DIGITS: Final = 17
"""Of a price: `money.EXACT` relies on it."""
MAX_PRICE: Final = Decimal(1_000_000)
"""USD per million tokens: a dollar a token is nobody's price but a slip of the unit."""
MAX_FACTOR: Final = Decimal(1000)
SLOT_MINUTES: Final = 15
"""Prices hold for whole quarters of an hour (`resolve`)."""

_SCHEMA: Final = 1
_RATES: Final[frozenset[str]] = frozenset(get_args(Rate))
_PATTERNS: Final = ("server", "provider", "model")
_ACTIONS: Final = ("free", "alias", "multiplier")
_KEYS: Final = frozenset(
    {*_RATES, *_PATTERNS, *_ACTIONS, "tier", "region", "from", "until", "tiers", "note", "evidence"}
)
_EACH: Final = frozenset({"request", "web_search"})
"""Prices of one, not of a million tokens; the size of a call does not matter to them."""
_TIER_KEYS: Final = (_RATES - _EACH) | {"above"}

_Action = tuple[tuple[int, Rates], ...] | Alias | SearchPrice | Decimal

Problem = tuple[int, str]
"""A line, from 1 (0 for the file as a whole), and what is wrong there."""


class PriceFileError(Exception):
    """A price file that cannot be used: `name` of the file and its `problems`, in the order of their lines."""

    def __init__(self, name: str, problems: tuple[Problem, ...]) -> None:
        self.name = name
        self.problems = problems
        super().__init__(
            "; ".join(f"{name}, line {line}: {what}" if line else f"{name}: {what}" for line, what in problems)
        )


def read_price_file(data: bytes, name: str, source: Source) -> Table:
    """The table in `data`, the content of a file called `name`. Raises `PriceFileError`."""
    if len(data) > MAX_BYTES:
        raise PriceFileError(name, ((0, f"the file has {len(data)} bytes, at most {MAX_BYTES} are read"),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PriceFileError(name, ((line, "the file is not in UTF-8"),)) from error
    text = text.replace("\r\n", "\n")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PriceFileError(name, (_syntax(str(error), text),)) from error
    except RecursionError as error:
        raise PriceFileError(name, ((0, "the file is nested too deep"),)) from error
    reader = _Reader(text)
    entries = reader.read(document)
    if reader.problems:
        raise PriceFileError(name, tuple(sorted(reader.problems)[:20]))
    return Table(entries, source, f"{name} {hashlib.sha256(data).hexdigest()[:12]}")


def _syntax(message: str, text: str) -> Problem:
    """tomllib's message as a problem; it tells the place in words: `... (at line 3, column 12)`."""
    what, _, place = message.partition(" (at ")
    number = place.removeprefix("line ").partition(",")[0]
    line = int(number) if number.isdigit() else text.rstrip().count("\n") + 1
    # What TOML 1.0 says to a line break in braces helps nobody.
    hint = "; an entry in braces stays on one line" if what.startswith("Invalid initial character for a key") else ""
    return line, what[:1].lower() + what[1:] + hint


class _WrongError(Exception):
    """A value that cannot be: its key (or none) and why."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key, self.what = key, what


class _Reader:
    """Goes through a document and gathers what is wrong with it."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self._lines = Lines(text)

    def read(self, document: Mapping[str, object]) -> tuple[Entry, ...]:
        for key in document.keys() - {"schema", "price"}:
            self._wrong(self._lines.of_key(key), f"{key!r} is not known here{_guess(key, ('schema', 'price'))}")
        if document.get("schema") != _SCHEMA:
            found = f"schema is {document['schema']!r}" if "schema" in document else "schema is missing"
            self._wrong(self._lines.of_key("schema"), f"{found}: expected schema = {_SCHEMA}")
        price = document.get("price", [])
        if not isinstance(price, list) or len(price) > MAX_ENTRIES:
            what = (
                f"has {len(price)} entries, at most {MAX_ENTRIES} are read" if isinstance(price, list) else "is no list"
            )
            self._wrong(self._lines.of_key("price"), f"price {what}: expected price = [ {{ ... }}, ... ]")
            return ()
        return tuple(entry for index, raw in enumerate(price) if (entry := self._entry(index, raw)) is not None)

    def _entry(self, index: int, raw: object) -> Entry | None:
        if not isinstance(raw, dict):
            self._wrong(self._lines.of_entry(index), f"an entry is {raw!r}: expected a table in braces")
            return None
        try:
            return _entry(raw, self._lines.of_entry(index))
        except _WrongError as error:
            self._wrong(self._lines.of_entry(index, error.key), error.what)
            return None

    def _wrong(self, line: int, what: str) -> None:
        self.problems.append((line, what))


def _entry(raw: Mapping[str, object], line: int) -> Entry:
    for key in raw:
        if key not in _KEYS:
            raise _WrongError(key, f"{key!r} is not known here{_guess(key, sorted(_KEYS))}")
    for key in ("note", "evidence"):
        _text(raw, key)
    patterns = {key: _text(raw, key).lower() for key in _PATTERNS}
    if not any(patterns.values()):
        raise _WrongError("", "an entry needs a server, a provider or a model to match")
    if provider := patterns["provider"]:
        patterns["provider"] = provider if any(sign in provider for sign in "*?[") else providers.canonical(provider)
    start, end = _moment(raw, "from"), _moment(raw, "until")
    if start and end and end <= start:
        raise _WrongError("until", "until is not after from: the entry would never be in force")
    return Entry(
        name=f"{patterns['provider'] or patterns['server'] or '*'}/{patterns['model'] or '*'}",
        action=_action(raw),
        tier=_text(raw, "tier").lower(),
        region=_text(raw, "region").lower(),
        start=start,
        end=end,
        prices_output="output" in raw or "free" in raw or not raw.keys() & _RATES,
        line=line,
        **patterns,
    )


def _action(raw: Mapping[str, object]) -> _Action:
    """What the entry does: exactly one thing."""
    chosen = [key for key in _ACTIONS if key in raw]
    prices = sorted(raw.keys() & (_RATES | {"tiers"}))
    if len(chosen) + bool(prices) != 1:
        if not chosen:
            raise _WrongError("", "an entry needs prices (input, output, ...), free, an alias or a multiplier")
        raise _WrongError(
            chosen[-1],
            f"an entry has either prices, free, alias or multiplier, this one has {', '.join(chosen + prices)}",
        )
    if prices == ["web_search"]:
        return SearchPrice(_decimal(raw, "web_search", MAX_PRICE))
    if prices:
        return _bands(raw)
    return _WAYS[chosen[0]](raw)


def _free(raw: Mapping[str, object]) -> tuple[tuple[int, Rates], ...]:
    if raw["free"] is not True:
        raise _WrongError("free", f"free is {raw['free']!r}: expected true, or no such key")
    return bands_of({"input": ((BASE, ZERO),), "output": ((BASE, ZERO),), "web_search": ((BASE, ZERO),)})


def _alias(raw: Mapping[str, object]) -> Alias:
    provider, slash, model = _text(raw, "alias").partition("/")
    if not slash or not provider or not model:
        raise _WrongError("alias", f'alias is {raw["alias"]!r}: expected provider/model, such as "openai/gpt-4o"')
    return Alias(providers.canonical(provider), model.lower())


def _factor(raw: Mapping[str, object]) -> Decimal:
    return _decimal(raw, "multiplier", MAX_FACTOR)


_WAYS: Final[Mapping[str, Callable[[Mapping[str, object]], _Action]]] = {
    "free": _free,
    "alias": _alias,
    "multiplier": _factor,
}


def _bands(raw: Mapping[str, object]) -> tuple[tuple[int, Rates], ...]:
    """The prices of an entry, with those of its tiers by size."""
    if "input" not in raw and "request" not in raw:
        raise _WrongError("", 'an entry with prices needs one of input (which may be "0"), or of request')
    listed: dict[Rate, list[tuple[int, Decimal]]] = {"input": [(BASE, ZERO)]}
    for rate in _rates(raw):
        amount = _decimal(raw, rate, MAX_PRICE)
        listed[rate] = [(BASE, amount if rate in _EACH else per_token(amount))]
    last = BASE
    tiers = raw.get("tiers", [])
    if not isinstance(tiers, list):
        raise _WrongError("tiers", 'tiers is no list: expected [ { above = 200000, input = "6" } ]')
    for tier in tiers:
        last = _add_tier(listed, tier, last)
    steps: dict[Rate, Steps] = {rate: tuple(amounts) for rate, amounts in listed.items()}
    return bands_of(steps)


def _add_tier(listed: dict[Rate, list[tuple[int, Decimal]]], tier: object, last: int) -> int:
    """Add the prices of one tier; returns where it begins, which must be after `last`."""
    if not isinstance(tier, dict):
        raise _WrongError("tiers", f"a tier is {tier!r}: expected a table in braces")
    for key in tier:
        if key not in _TIER_KEYS:
            raise _WrongError("tiers", f"{key!r} is not known in a tier{_guess(key, sorted(_TIER_KEYS))}")
    above = tier.get("above")
    if type(above) is not int or above <= max(last, 0):
        what = "a whole number of input tokens" + (f", more than the {last} of the tier before" if last > 0 else "")
        raise _WrongError("tiers", f"above is {above!r}: expected {what}")
    for rate in _rates(tier):
        if rate not in listed:
            raise _WrongError("tiers", f"a tier has a price of {rate}, and the entry itself has none")
        listed[rate].append((above, per_token(_decimal(tier, rate, MAX_PRICE))))
    return above


def _rates(raw: Mapping[str, object]) -> list[Rate]:
    return [rate for rate in get_args(Rate) if rate in raw]


def _decimal(raw: Mapping[str, object], key: str, maximum: Decimal) -> Decimal:
    """The amount at `key`, of at least 0."""
    value = raw[key]
    if isinstance(value, float):
        raise _WrongError(
            key, f'{key} is the number {value!r}: write it in quotes, {key} = "{value!r}", to keep its digits'
        )
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip().isascii() or not _is_plain(value.strip()):
        raise _WrongError(key, f'{key} is {value!r}: expected an amount such as "2.50"')
    amount = Decimal(value.strip())
    if len(amount.as_tuple().digits) > MAX_DIGITS or int(amount.as_tuple().exponent) < -MAX_DIGITS:
        raise _WrongError(key, f"{key} is {value!r}: at most {MAX_DIGITS} digits are kept")
    if amount >= maximum:
        raise _WrongError(key, f"{key} is {value!r}: expected less than {maximum}")
    return amount


def _is_plain(value: str) -> bool:
    """True for digits with at most one point among them."""
    return value.replace(".", "", 1).isdigit()


def _text(raw: Mapping[str, object], key: str) -> str:
    value = raw.get(key, "")
    if not isinstance(value, str) or (key in raw and not value.strip()):
        raise _WrongError(key, f"{key} is {value!r}: expected a text in quotes")
    return value.strip()


def _moment(raw: Mapping[str, object], key: str) -> datetime | None:
    value = raw.get(key)
    if value is None:
        return None
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        if moment.minute % SLOT_MINUTES or moment.second or moment.microsecond:
            raise _WrongError(key, f"{key} is {value}: prices change at full quarters of an hour only")
        return moment
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise _WrongError(key, f"{key} is {value!r}: expected a date without quotes, such as 2026-10-01 (UTC)")


def _guess(word: str, known: "tuple[str, ...] | list[str]") -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f": expected one of {', '.join(known)}"
