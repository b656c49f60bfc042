"""Prices for people and as objects: rates per million tokens, where they are from, and how long they hold."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from rich.console import Console
from rich.table import Table

from tokentrail.backend.cli.output import NOTHING, WIDE, Column, build_table, clean, plural
from tokentrail.backend.query.record import dump
from tokentrail.semconv.pricing import price_file_status
from tokentrail.semconv.pricing.card import Rate, RateCard, Rates, Source, Unpriced
from tokentrail.semconv.pricing.explain import Change, Explanation, is_same
from tokentrail.semconv.pricing.money import EXACT, ZERO
from tokentrail.semconv.pricing.tables.price_line import price_line
from tokentrail.semconv.pricing.tables.table import Alias, Entry, SearchPrice

Sellers = Sequence[tuple[tuple[str, ...], RateCard]]

_MILLION: Final = 1_000_000
_PARENTS: Final[Mapping[Rate, tuple[Rate, ...]]] = {
    "input": (),
    "cache_read": ("input",),
    "cache_write": ("input",),
    "cache_write_1h": ("cache_write",),
    "output": (),
    "reasoning": ("output",),
    "audio_input": ("input",),
    "audio_cache_read": ("cache_read", "audio_input"),
    "audio_output": ("output",),
    "image_input": ("input",),
    "image_cache_read": ("cache_read", "image_input"),
    "image_output": ("output",),
}
"""Prices in their order, each with those that it has the amount of where it has none of its own (`Rates.of`)."""
_LISTS: Final = {
    Source.USER: ("price file", "your price file"),
    Source.OVERLAY: ("corrections", "corrections that come with Tokentrail"),
    Source.GENAI_PRICES: ("list prices", "published list prices"),
}
"""The lists, in a word and in words."""
_MAX_PARTS: Final = 12
"""Changes within a day that are shown."""


def print_price(found: Explanation, sellers: Sellers, console: Console, *, is_guess: bool) -> None:
    """Everything about a price; `is_guess` when the provider was guessed from the model's name."""
    for line in _heading(found, is_guess=is_guess):
        console.print(line, markup=False, soft_wrap=True)
    if isinstance(found.answer, RateCard):
        console.print()
        console.print(_rates_table(found.answer))
    for line in _remarks(found, sellers):
        console.print(line, markup=False, soft_wrap=True)


def print_entries(path: str, entries: Sequence[Entry], console: Console) -> None:
    """The entries of a price file, in the order in which they are tried."""
    if entries:
        rows = [{"entry": entry} for entry in entries]
        console.print(build_table(_ENTRY if console.width >= WIDE else _NARROW_ENTRY, rows, console))
    console.print(
        f"{path}: {plural(len(entries), 'entry').replace('entrys', 'entries')}, no errors. The first that matches "
        "a call holds. Amounts are USD per million tokens, times UTC.",
        markup=False,
        soft_wrap=True,
    )


def document(found: Explanation, sellers: Sellers, *, is_guess: bool) -> dict[str, object]:
    """The explanation as one object; amounts in USD per million tokens, of `request` and `web_search` for each."""
    lookup = found.lookup
    return {
        "models": list(lookup.models),
        "provider": lookup.provider,
        "provider_is_guess": is_guess,
        "server_address": lookup.server_address,
        "service_tier": lookup.service_tier,
        "region": lookup.region,
        "at": lookup.at.isoformat(),
        **_answer(found.answer),
        "since": _change(found.since),
        "until": _change(found.until),
        "by_hour": [{"from": f"{at:%H:%M}", **_answer(answer)} for at, answer in found.by_hour],
        "lists": [
            {"list": str(source), **(_answer(answer) if answer else {"status": None})}
            for source, answer in found.by_list
        ],
        "file_names": list(found.own_names),
        "list_names": [{"name": name.text, "assumption": name.assumption} for name in found.list_names],
        "other_providers": [{"providers": list(who), **_answer(card)} for who, card in sellers],
        "price_file_line": _line(found) or None,
    }


def action(entry: Entry) -> dict[str, object]:
    """What an entry does, as an object."""
    match entry.action:
        case Alias(provider, model):
            return {"alias": f"{provider}/{model}"}
        case SearchPrice(usd):
            return {"web_search": usd}
        case Decimal() as factor:
            return {"multiplier": factor}
        case bands:
            return {"bands": _bands(bands)}


def per_million(usd: Decimal) -> Decimal:
    """USD per token as USD per million tokens, exact."""
    return EXACT.multiply(usd, Decimal(_MILLION))


def _heading(found: Explanation, *, is_guess: bool) -> Iterator[str]:
    lookup, answer = found.lookup, found.answer
    who = f" of {clean(lookup.provider)}" if lookup.provider else ""
    guess = " (guessed from its name; --provider says otherwise)" if is_guess else ""
    where = f" at {clean(lookup.server_address)}" if lookup.server_address else ""
    tier = f", tier {clean(lookup.service_tier)}" if lookup.service_tier else ""
    tier += f", region {clean(lookup.region)}" if lookup.region else ""
    yield f"{clean(', '.join(lookup.models))}{who}{guess}{where}, {_time(lookup.at)}{tier}"
    yield ""
    by = next((source for source, said in found.by_list if isinstance(said, RateCard)), None)
    if isinstance(answer, Unpriced):
        yield f"no price      {answer.reason}: {clean(answer.detail)}"
        if found.since or found.until:
            yield f"so            {_period(found)}"
    else:
        yield f"price         {_LISTS[by or answer.source][1]}, {clean(answer.version)}"
        yield f"entry         {clean(answer.entry)}, tier {clean(answer.tier)}"
        yield f"in force      {_period(found)}"
        yield f"assumptions   {clean(', '.join(answer.assumptions)) or 'none'}"
    yield f"looked for    {_names(found)}"
    for source, said in found.by_list:
        if source is not by and (said is not None or source is Source.USER):
            yield f"{_LISTS[source][0]:<13} {_said(said, answer)}"


def _names(found: Explanation) -> str:
    own = ", ".join(map(clean, found.own_names))
    listed = ", ".join(
        clean(name.text) + (f" ({name.assumption})" if name.assumption else "") for name in found.list_names
    )
    if not own:
        return "nothing, for no model was named"
    return f"{own} in price files" + (f"; {listed} in the published lists" if listed else "")


def _said(said: RateCard | Unpriced | None, answer: RateCard | Unpriced) -> str:
    if said is None:
        return "says nothing of it" if price_file_status().path else "none (TOKENTRAIL_PRICES, or --prices)"
    if isinstance(said, Unpriced):
        return f"would have no price: {said.reason}"
    told = "would say the same" if is_same(said, answer) else f"would say {_short(said, than=answer)}"
    return f"{told}: {clean(said.entry)}, {clean(said.version)}"


def _short(answer: RateCard | Unpriced, than: RateCard | Unpriced | None = None) -> str:
    """The prices of small calls in a few words: the usual two, or those that are others `than` that card's."""
    if isinstance(answer, Unpriced):
        return "no price"
    rates = answer.bands[0][1]
    shown: list[Rate] = ["input", "output"]
    search = ""
    if isinstance(than, RateCard):
        others = than.bands[0][1]
        changed = [rate for rate in _PARENTS if getattr(rates, rate) != getattr(others, rate)]
        # What only follows a price that changed is no news.
        shown = [rate for rate in changed if not _follows(rates, rate, changed)] or shown
        if rates.web_search != others.web_search:
            search = f", each web search {_usd(rates.web_search)}"
    return ", ".join(f"{_words(rate)} ${_amount(getattr(rates, rate))}" for rate in shown) + search


def _follows(rates: Rates, rate: Rate, others: Sequence[Rate]) -> bool:
    return any(parent in others and getattr(rates, rate) == getattr(rates, parent) for parent in _PARENTS[rate])


def _period(found: Explanation) -> str:
    since, until, now = found.since, found.until, found.answer
    begin = f"since {_time(since.at)} (before: {_short(since.other, than=now)})" if since else "as far back as known"
    end = f"until {_time(until.at)} (then: {_short(until.other, than=now)})" if until else "no end is known"
    return f"{begin}, {end}"


def _rates_table(card: RateCard) -> Table:
    """The prices, a column for each size of call."""
    table = Table(header_style="bold")
    table.add_column("USD per million tokens")
    starts = [start for start, _ in card.bands]
    for index, start in enumerate(starts):
        following = starts[index + 1] if index + 1 < len(starts) else None
        table.add_column(_band_title(start, following), justify="right")
    table.add_column("")
    for rate, parents in _PARENTS.items():
        amounts = [_amount(getattr(rates, rate)) for _, rates in card.bands]
        parent = next((each for each in parents if _is_as(card, rate, each)), None)
        remark = f"as {_words(parent)}" if parent else ""
        if rate == "output" and not card.prices_output:
            remark = "not in the list"
        table.add_row(_words(rate), *amounts, remark)
    if any(rates.request for _, rates in card.bands):
        table.add_row("each request, USD", *(_digits(rates.request) for _, rates in card.bands), "")
    searches = [rates.web_search for _, rates in card.bands if rates.web_search is not None]
    if len(searches) == len(card.bands):
        table.add_row("each web search, USD", *map(_digits, searches), "")
    return table


def _band_title(start: int, following: int | None) -> str:
    if start < 0:
        return "" if following is None else f"to {following:,}\ninput tokens"
    return f"above {start:,}" + ("" if following is None else f"\nto {following:,}")


def _is_as(card: RateCard, rate: Rate, other: Rate) -> bool:
    return all(getattr(rates, rate) == getattr(rates, other) for _, rates in card.bands)


def _remarks(found: Explanation, sellers: Sellers) -> Iterator[str]:
    if len(found.by_hour) > 1:
        parts = [f"from {at:%H:%M} {_short(answer)}" for at, answer in found.by_hour[:_MAX_PARTS]]
        yield f"By time of day (UTC): {'; '.join(parts)}."
    for who, card in sellers:
        yield f"Also sold by {' and '.join(who)}: {_short(card)} ({clean(card.entry)}){_assumed(card)}"
    if isinstance(found.answer, Unpriced):
        if not found.lookup.provider:
            yield "Say who serves it with --provider, or at which host it is called with --server."
        elif line := _line(found):
            yield "The line that gives it a price, with the amounts filled in, for the price file (TOKENTRAIL_PRICES):"
            yield f"  {line}"


def _assumed(card: RateCard) -> str:
    return f", assuming {clean(', '.join(card.assumptions))}" if card.assumptions else ""


def _line(found: Explanation) -> str:
    """The line for a price file; empty where there is a price, and where there can be no line."""
    lookup = found.lookup
    if isinstance(found.answer, RateCard) or not lookup.models:
        return ""
    return price_line(lookup.provider, lookup.server_address, lookup.models[0])


def _words(rate: Rate | None) -> str:
    return {"cache_write_1h": "1 h cache write"}.get(str(rate), str(rate).replace("_", " "))


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _amount(usd_per_token: Decimal) -> str:
    return _digits(per_million(usd_per_token))


def _usd(usd: Decimal | None) -> str:
    return "without a price" if usd is None else f"${_digits(usd)}"


def _digits(usd: Decimal) -> str:
    """All digits, at least two after the point."""
    whole, _, fraction = dump(usd).partition(".")
    return f"{whole}.{fraction:0<2}"


def _answer(answer: RateCard | Unpriced) -> dict[str, object]:
    if isinstance(answer, Unpriced):
        return {"status": str(answer.reason), "detail": answer.detail}
    return {
        "status": "priced",
        "source": str(answer.source),
        "version": answer.version,
        "entry": answer.entry,
        "tier": answer.tier,
        "assumptions": list(answer.assumptions),
        "bands": _bands(answer.bands),
    }


def _bands(bands: Sequence[tuple[int, Rates]]) -> list[dict[str, object]]:
    return [
        {
            "above": None if start < 0 else start,
            **{rate: per_million(getattr(rates, rate)) for rate in _PARENTS},
            "request": rates.request,
            "web_search": rates.web_search,
        }
        for start, rates in bands
    ]


def _change(change: Change | None) -> dict[str, object] | None:
    return None if change is None else {"at": change.at.isoformat(), "other": _answer(change.other)}


def _entry_of(row: Mapping[str, object]) -> Entry:
    entry = row["entry"]
    assert isinstance(entry, Entry)  # noqa: S101 - for the type checker: `print_entries` made the row
    return entry


def _action_words(entry: Entry) -> str:
    match entry.action:
        case Alias(provider, model):
            return clean(f"as {provider}/{model}")
        case SearchPrice(usd):
            return f"each web search {_digits(usd)}"
        case Decimal() as factor:
            return f"{factor} times what follows"
        case bands:
            return "\n".join(_band_words(start, rates, entry) for start, rates in bands)


def _band_words(start: int, rates: Rates, entry: Entry) -> str:
    """The prices of a band; those that only follow another are left out."""
    if not any(getattr(rates, rate) for rate in _PARENTS) and not rates.request and not rates.web_search:
        return "free"
    told = [
        f"{_words(rate)} {_amount(getattr(rates, rate))}"
        for rate, parents in _PARENTS.items()
        if (rate != "output" or entry.prices_output)
        and not any(getattr(rates, rate) == getattr(rates, parent) for parent in parents)
    ]
    if rates.request != ZERO:
        told.append(f"each request {_digits(rates.request)}")
    if rates.web_search is not None:
        told.append(f"each web search {_digits(rates.web_search)}")
    return (f"above {start:,}: " if start >= 0 else "") + ", ".join(told)


def _pattern(name: str) -> Column:
    return Column(name, lambda row: clean(str(getattr(_entry_of(row), name))) or NOTHING, folds=True)


def _days(name: str, field: str) -> Column:
    def show(row: Mapping[str, object]) -> str:
        at: datetime | None = getattr(_entry_of(row), field)
        return f"{at:%Y-%m-%d %H:%M}" if at else NOTHING

    return Column(name, show)


_LINE: Final = Column("line", lambda row: str(_entry_of(row).line), "right")
_PRICE: Final = Column("price", lambda row: _action_words(_entry_of(row)), folds=True)
_ENTRY: Final = (
    _LINE,
    *(_pattern(name) for name in ("server", "provider", "model", "tier", "region")),
    _days("from", "start"),
    _days("until", "end"),
    _PRICE,
)
_NARROW_ENTRY: Final = (
    _LINE,
    Column(
        "server\nprovider\nmodel",
        lambda row: "\n".join(_pattern(name).show(row) for name in ("server", "provider", "model")),
        folds=True,
    ),
    Column(
        "tier\nregion",
        lambda row: "\n".join(_pattern(name).show(row) for name in ("tier", "region")),
        folds=True,
    ),
    Column(
        "from\nuntil",
        lambda row: f"{_days('', 'start').show(row)}\n{_days('', 'end').show(row)}",
    ),
    _PRICE,
)
"""The same in three lines an entry."""
