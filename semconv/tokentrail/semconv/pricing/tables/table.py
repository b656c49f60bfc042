"""A price table of our own making: entries with patterns, the first that matches a call answers.

Both the user's price file and the overlay that ships with Tokentrail are such tables; `price_file` reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Final

from tokentrail.semconv.pricing import names
from tokentrail.semconv.pricing._base import Lookup, Others
from tokentrail.semconv.pricing.card import RateCard, Rates, Source, Unpriced
from tokentrail.semconv.pricing.money import EXACT
from tokentrail.semconv.pricing.region import REGION_ASSUMED, is_assumed
from tokentrail.semconv.pricing.tier import STANDARD_TIER, TIER_NOT_PRICED, is_standard


@dataclass(frozen=True, slots=True)
class Alias:
    """The call is priced as another model."""

    provider: str
    """Canonical provider name."""
    model: str


@dataclass(frozen=True, slots=True)
class SearchPrice:
    """The call is priced as the entries below and the lists say, but for web searches."""

    usd: Decimal
    """For each."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table. Patterns are in lower case and match everything where they are empty."""

    name: str
    """As provenance tells it: `<provider, server or *>/<model pattern>`."""
    action: tuple[tuple[int, Rates], ...] | Alias | SearchPrice | Decimal
    """Prices in bands (`RateCard.bands`), another model, a price of web searches on top of what the following entries
    and lists say, or a factor on that."""
    server: str = ""
    provider: str = ""
    model: str = ""
    tier: str = ""
    """A service tier; empty for all of them."""
    region: str = ""
    """Where the provider says that it served the call (`Lookup.region`); empty for everywhere."""
    start: datetime | None = None
    """The first moment, UTC."""
    end: datetime | None = None
    """The first moment after it, UTC."""
    prices_output: bool = True
    line: int = 0
    """Where it stands in its file, from 1."""

    def matches(self, lookup: Lookup, models: Sequence[str]) -> bool:
        """True when it is for the call; `models` are the names of its model, in lower case."""
        return (
            (self.start is None or lookup.at >= self.start)
            and (self.end is None or lookup.at < self.end)
            and _fits(self.provider, lookup.provider)
            and _fits(self.server, lookup.server_address.lower())
            and (
                not self.tier
                or self.tier == (STANDARD_TIER if is_standard(lookup.service_tier) else lookup.service_tier)
            )
            and self.region in ("", lookup.region)
            and (not self.model or any(fnmatchcase(model, self.model) for model in models))
        )


@dataclass(frozen=True, slots=True)
class Table:
    """Entries in their order."""

    entries: tuple[Entry, ...]
    source: Source
    version: str
    """Of the table, with its name: `prices.toml 1f3a…`."""

    def find(self, lookup: Lookup, others: Others) -> RateCard | Unpriced | None:
        """The answer of the first entry that matches; see `Layer.find`."""
        models = [spelling for model in lookup.models for spelling in names.spellings(lookup, model)]
        return self._find(lookup, models, others, 0)

    def _find(self, lookup: Lookup, models: Sequence[str], others: Others, position: int) -> RateCard | Unpriced | None:
        for index in range(position, len(self.entries)):
            entry = self.entries[index]
            if not entry.matches(lookup, models):
                continue
            match entry.action:
                case Alias(provider, model):
                    # Where it is served does not matter any more: who wrote the entry knows what it costs.
                    renamed = replace(lookup, provider=provider, models=(model,), server_address="")
                    return self._with_version(_located(self._rest(renamed, others, index + 1)))
                case SearchPrice(usd):
                    own = self._find(lookup, models, others, index + 1)
                    if isinstance(own, RateCard):
                        return self._with_searches(own, usd)
                    answer = others(lookup)
                    with_searches = self._with_searches(answer, usd)
                    # A price that the lists have, too, is not for this one to tell.
                    return None if with_searches is answer else with_searches
                case Decimal() as factor:
                    answer = self._rest(lookup, others, index + 1)
                    return self._times(_located(answer) if entry.server or entry.region else answer, factor)
                case bands:
                    return self._card(entry, bands, lookup)
        return None

    def _rest(self, lookup: Lookup, others: Others, position: int) -> RateCard | Unpriced:
        """What the entries from `position` on, and then the other lists, say."""
        models = [spelling for model in lookup.models for spelling in names.spellings(lookup, model)]
        answer = self._find(lookup, models, others, position)
        return answer if isinstance(answer, RateCard) else others(lookup)

    def _card(self, entry: Entry, bands: tuple[tuple[int, Rates], ...], lookup: Lookup) -> RateCard:
        standard = is_standard(lookup.service_tier)
        assumptions = [] if standard or entry.tier else [TIER_NOT_PRICED]
        # Users know where they call; an entry for a server or a region knows it, too.
        knows = self.source is Source.USER or entry.server or entry.region
        if not knows and is_assumed(lookup, entry.model.strip("*")):
            assumptions.append(REGION_ASSUMED)
        return RateCard(
            bands=bands,
            source=self.source,
            version=self.version,
            entry=entry.name,
            tier=lookup.service_tier if entry.tier and not standard else STANDARD_TIER,
            assumptions=tuple(assumptions),
            prices_output=entry.prices_output,
        )

    def _times(self, answer: RateCard | Unpriced, factor: Decimal) -> RateCard | Unpriced:
        if isinstance(answer, Unpriced):
            return answer
        bands = tuple((start, _scaled(rates, factor)) for start, rates in answer.bands)
        scaled = replace(answer, bands=bands, source=self.source, entry=f"{answer.entry} x {factor}")
        return self._with_version(scaled)

    def _with_searches(self, answer: RateCard | Unpriced, usd: Decimal) -> RateCard | Unpriced:
        """`answer` with that price of a web search; it stays the answer of its list, which has the tokens."""
        if isinstance(answer, Unpriced) or all(rates.web_search == usd for _, rates in answer.bands):
            return answer
        bands = tuple((start, replace(rates, web_search=usd)) for start, rates in answer.bands)
        return self._with_version(replace(answer, bands=bands))

    def _with_version(self, answer: RateCard | Unpriced) -> RateCard | Unpriced:
        """`answer` as one that this table had a part in."""
        if isinstance(answer, Unpriced) or answer.version == self.version:
            return answer
        return replace(answer, version=f"{answer.version}, {self.version}")


_RATES: Final = tuple(Rates.__slots__)


def _scaled(rates: Rates, factor: Decimal) -> Rates:
    scaled = {rate: EXACT.multiply(usd, factor) for rate in _RATES if (usd := getattr(rates, rate)) is not None}
    return Rates(**scaled)


def _located(answer: RateCard | Unpriced) -> RateCard | Unpriced:
    """`answer` for a call that is known to be served where its price is from."""
    if isinstance(answer, Unpriced) or REGION_ASSUMED not in answer.assumptions:
        return answer
    return replace(answer, assumptions=tuple(each for each in answer.assumptions if each != REGION_ASSUMED))


def _fits(pattern: str, text: str) -> bool:
    return not pattern or fnmatchcase(text, pattern)
