"""How a price came about: what was looked for, what each price list says, and from when until when it holds.

For people who ask; the way of a call is `resolve.rate_card`, which gives the same card and remembers it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Final

from tokentrail.semconv import providers
from tokentrail.semconv.pricing import names, resolve
from tokentrail.semconv.pricing._base import Lookup
from tokentrail.semconv.pricing.card import RateCard, Source, Unpriced

Answer = RateCard | Unpriced

EARLIEST: Final = datetime(2022, 1, 1, tzinfo=UTC)
"""No list has dates before: models that are priced by the token are younger."""
AHEAD: Final = timedelta(days=731)
"""How far into the future announced prices are looked for."""
LISTS: Final = (Source.USER, Source.OVERLAY, Source.GENAI_PRICES)
"""What the layers of `resolve.LAYERS` are, in their order."""

_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)
_SLOT: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Name:
    """A name that was looked for in the published lists."""

    text: str
    """`<price list>/<model>`."""
    assumption: str = ""
    """What taking its price would assume."""


@dataclass(frozen=True, slots=True)
class Change:
    """Another price, or none, on one side of `at`."""

    at: datetime
    """The first moment of the later price, UTC."""
    other: Answer
    """What holds on the far side."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The price of a model at one time, and where it is from."""

    lookup: Lookup
    answer: Answer
    by_list: tuple[tuple[Source, Answer | None], ...]
    """What each list would say if those before it had nothing; `None` where it has nothing to say itself."""
    own_names: tuple[str, ...]
    """The names that patterns of price files are held against, lower case."""
    list_names: tuple[Name, ...]
    """The names that are looked for in the published lists, in their order."""
    since: Change | None
    """When this price came into force, `None` where it always was as far as the lists know."""
    until: Change | None
    """When another comes into force, `None` where none is known."""
    by_hour: tuple[tuple[time, Answer], ...]
    """Where the price depends on the time of day (UTC): from when on which holds. Otherwise empty."""


def explain(lookup: Lookup) -> Explanation:
    """The explanation of `lookup`; takes up to a second, because many days are looked at."""
    answer = _at(lookup, lookup.at)
    own = [spelling for model in lookup.models for spelling in names.spellings(lookup, model)]
    return Explanation(
        lookup=lookup,
        answer=answer,
        by_list=tuple(_by_list(lookup)),
        own_names=tuple(dict.fromkeys(own)),
        list_names=tuple(dict.fromkeys(_list_names(lookup))),
        since=_since(lookup, answer),
        until=_until(lookup, answer),
        by_hour=_by_hour(lookup),
    )


def sellers(lookup: Lookup) -> tuple[tuple[tuple[str, ...], RateCard], ...]:
    """Other providers who sell the model of `lookup`: those that share a price list, and its card.

    Resellers name a model with its maker before it; both names are looked for.
    """
    own_lists = names.price_lists(lookup.provider, lookup.server_address)
    longer = tuple(f"{own}/{model}" for own in own_lists for model in lookup.models if "/" not in model)
    found: dict[tuple[str, ...], tuple[list[str], RateCard]] = {}
    for provider in providers.known():
        lists = names.price_lists(provider, "")
        if provider == lookup.provider or lists == own_lists:
            continue
        asked = replace(lookup, provider=provider, models=lookup.models + longer, server_address="")
        answer = resolve.ask(resolve.LAYERS, asked)
        if isinstance(answer, RateCard):
            found.setdefault(lists, ([], answer))[0].append(provider)
    return tuple((tuple(who), card) for who, card in found.values())


def is_same(one: Answer, other: Answer) -> bool:
    """True where both say the same price, whichever entry says it, or both none."""
    if isinstance(one, RateCard) and isinstance(other, RateCard):
        return one.bands == other.bands
    return isinstance(one, Unpriced) and isinstance(other, Unpriced)


def _at(lookup: Lookup, at: datetime) -> Answer:
    return resolve.ask(resolve.LAYERS, replace(lookup, at=at))


def _by_list(lookup: Lookup) -> Iterator[tuple[Source, Answer | None]]:
    for position, (source, layer) in enumerate(zip(LISTS, resolve.LAYERS, strict=True), start=1):
        try:
            yield source, layer.find(lookup, partial(resolve.ask, resolve.LAYERS[position:]))
        except Exception:  # noqa: BLE001 - `resolve.ask` skips it as well, and says what failed
            yield source, resolve.ask((layer,), lookup)


def _list_names(lookup: Lookup) -> Iterator[Name]:
    if names.is_self_hosted(lookup.provider, lookup.server_address):
        return
    for model in lookup.models:
        for price_list in names.price_lists(lookup.provider, lookup.server_address):
            for candidate in names.candidates(lookup.provider, price_list, model):
                if candidate.price_list:
                    yield Name(f"{candidate.price_list}/{candidate.model}", candidate.assumption)


def _since(lookup: Lookup, answer: Answer) -> Change | None:
    at, weekly = lookup.at, _recurs(lookup, answer)
    while at - _DAY >= EARLIEST:
        earlier = _at(lookup, at - _DAY)
        if not is_same(earlier, answer) and not (weekly and is_same(earlier, _at(lookup, at - _DAY + _WEEK))):
            return Change(_first_of_later(lookup, at - _DAY, at, _at(lookup, at)), earlier)
        at -= _DAY
    return None


def _until(lookup: Lookup, answer: Answer) -> Change | None:
    at, weekly = lookup.at, _recurs(lookup, answer)
    while at < lookup.at + AHEAD:
        later = _at(lookup, at + _DAY)
        if not is_same(later, answer) and not (weekly and is_same(later, _at(lookup, at + _DAY - _WEEK))):
            return Change(_first_of_later(lookup, at, at + _DAY, later), later)
        at += _DAY
    return None


def _recurs(lookup: Lookup, answer: Answer) -> bool:
    """True where the price may be that of a weekday, whose end is no change of the list: it comes back a week later."""
    return is_same(answer, _at(lookup, lookup.at - _WEEK)) or is_same(answer, _at(lookup, lookup.at + _WEEK))


def _first_of_later(lookup: Lookup, before: datetime, after: datetime, later: Answer) -> datetime:
    """The first quarter of an hour after `before` that has the price of `after`, which is `later`.

    Where prices depend on the time of day as well, it is the midnight between the two: that is when lists change.
    """
    midnight = datetime.combine(after.date(), time(), UTC)
    if _by_hour(replace(lookup, at=before)) or _by_hour(replace(lookup, at=after)):
        return midnight
    while after - before > _SLOT:
        middle = before + (after - before) // (2 * _SLOT) * _SLOT
        if is_same(_at(lookup, middle), later):
            after = middle
        else:
            before = middle
    return after


def _by_hour(lookup: Lookup) -> tuple[tuple[time, Answer], ...]:
    """The prices of the day of `lookup`, where there is more than one and the day after has the same."""
    midnight = datetime.combine(lookup.at.date(), time(), UTC)
    parts: list[tuple[time, Answer]] = []
    for slot in range(_DAY // _SLOT):
        at = midnight + slot * _SLOT
        answer = _at(lookup, at)
        if not parts or not is_same(parts[-1][1], answer):
            parts.append((at.time(), answer))
    # A price that changed in the middle of a day for good is none of these: it does not come back the day after.
    if len(parts) < 2 or not is_same(_at(lookup, midnight + _DAY), parts[0][1]):
        return ()
    return tuple(parts)
