"""A stored call priced again by the price lists in force now: what it costs now, or why it stays as it is. Pure but
for the price list.

A call is changed for its money alone: one that costs the same keeps the provenance it was priced with. Kept are
also

    reported        costs that the provider or the sender stated: no list knows better
    price_file      costs by a price file, unless one in force here has a price of the call, too: applications have
                    files of their own, and what one of them pays is not what the lists say
    without_price   costs of what has no price any more: a cost is never lost
    uncertain       costs that depended on more than the row tells (below)

Rows written before the schema held all that a price depends on (`complete_from_ns`) lack the tier that served the call,
the part of the cache writes that lives for an hour, audio and image counts, and the model to price the call as. The
tier is in the provenance of the old price. For the rest such a row is priced again only where that cannot have
mattered, as far as its old price and the new card show. Web searches came later still (`searches_from_ns`): a row
without a count of them, whose old price was for some or left some out, is not priced again either.
"""

from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from tokentrail.backend.ingest.price import call_of, priced
from tokentrail.backend.row import Row
from tokentrail.semconv.pricing import RateCard, rate_card
from tokentrail.semconv.pricing.card import Reason, Source
from tokentrail.semconv.pricing.charge import TTL_5M_ASSUMED
from tokentrail.semconv.pricing.money import ZERO
from tokentrail.semconv.pricing.names import WEB_SEARCH_NOT_PRICED
from tokentrail.semconv.pricing.tier import TIER_NOT_PRICED, is_standard


class Verdict(StrEnum):
    """What becomes of a stored call."""

    CHANGED = "changed"
    """It costs something else now, or has a price at last."""
    SAME = "same"
    """It costs the same, or still has no price."""
    REPORTED = "reported"
    PRICE_FILE = "price_file"
    WITHOUT_PRICE = "without_price"
    UNCERTAIN = "uncertain"


class Outcome(NamedTuple):
    """The verdict on a call, and the call as it is to be stored when that is `CHANGED`."""

    verdict: Verdict
    new: Row | None = None


_MAY_FIND_A_PRICE: Final = frozenset(
    {Reason.UNKNOWN_PROVIDER, Reason.UNKNOWN_MODEL, Reason.SELF_HOSTED, Reason.INTERNAL}
)
"""The reasons that a price list can do something about. The others are about the usage, of which a row may hold less
than what was wrong with it."""
_LISTS: Final = frozenset({Source.USER, Source.OVERLAY, Source.GENAI_PRICES})
_SHIPPED: Final = (f"{Source.GENAI_PRICES} ", f"{Source.OVERLAY} ")
"""How the versions of the lists begin that are no price file."""
_QUANTUM: Final = Decimal("1e-12")
"""What a row can hold: sender and backend may have rounded the same amount in two ways, that far apart."""


def reprice(row: Row, complete_from_ns: int = 0, searches_from_ns: int = 0, *, every_list: bool = False) -> Outcome:
    """What becomes of `row`.

    Rows of calls before `complete_from_ns` may lack what their price depended on, and before `searches_from_ns` how
    many web searches there were. With `every_list` prices of an
    application's price file are replaced, too. Raises nothing.
    """
    is_early = row.time_ns < complete_from_ns
    if row.cost_usd is None:
        return _without_cost(row, is_early=is_early)
    if row.cost_source not in _LISTS:
        return Outcome(Verdict.REPORTED)
    told = _with_tier(row)
    new = priced(told)
    if new.cost_usd is not None and _is_same_money(row, new):
        return Outcome(Verdict.SAME)
    if by_price_file(row) and not every_list and not (new.cost_usd is not None and by_price_file(new)):
        return Outcome(Verdict.PRICE_FILE)
    if new.cost_usd is None:
        return Outcome(Verdict.WITHOUT_PRICE)
    if is_early and _depended_on_more(told, new):
        return Outcome(Verdict.UNCERTAIN)
    if row.time_ns < searches_from_ns and row.web_searches is None and _had_searches(row, new):
        return Outcome(Verdict.UNCERTAIN)
    return Outcome(Verdict.CHANGED, new)


def by_price_file(row: Row) -> bool:
    """True when a price file had a part in the price of `row`: its prices, a factor or another name for the model."""
    versions = row.price_version.split(", ")
    return row.cost_source == Source.USER or any(version and not version.startswith(_SHIPPED) for version in versions)


def _without_cost(row: Row, *, is_early: bool) -> Outcome:
    if row.pricing_status not in _MAY_FIND_A_PRICE:
        return Outcome(Verdict.SAME)
    new = priced(row)
    if new.cost_usd is None:
        return Outcome(Verdict.SAME)
    if row.pricing_status == Reason.SELF_HOSTED and not row.server_address and not by_price_file(new):
        # The sender knew the host and did not tell it: without it the model looks like its maker's, at its prices.
        return Outcome(Verdict.UNCERTAIN)
    if is_early and _prices_modalities(row):
        return Outcome(Verdict.UNCERTAIN)
    return Outcome(Verdict.CHANGED, new)


def _with_tier(row: Row) -> Row:
    """`row` with the tier that it was priced by, where it lacks the one that served the call."""
    if row.service_tier or not row.pricing_tier or is_standard(row.pricing_tier):
        return row
    return replace(row, service_tier=row.pricing_tier)


def _is_same_money(old: Row, new: Row) -> bool:
    before, after = old.cost_components, new.cost_components
    if before and after:
        names = before.keys() | after.keys()
        return all(abs(before.get(name, ZERO) - after.get(name, ZERO)) <= _QUANTUM for name in names)
    difference = (old.cost_usd or ZERO) - (new.cost_usd or ZERO)
    return abs(difference) <= _QUANTUM * max(len(before), len(after), 1)


def _depended_on_more(row: Row, new: Row) -> bool:
    """True when the old price of an early `row` may have been made with what the row lacks."""
    if (row.cost_source, row.price_version, row.price_entry) == (new.cost_source, new.price_version, new.price_entry):
        return True  # the same list gives another cost: then the row is not what it was asked for
    if TIER_NOT_PRICED in row.pricing_assumptions and not row.service_tier:
        return True  # there was a tier, without a price then, and nobody knows which
    one_hour_counted = row.cache_write_1h_tokens is None and TTL_5M_ASSUMED not in row.pricing_assumptions
    if one_hour_counted and TTL_5M_ASSUMED in new.pricing_assumptions:
        return True
    return not _is_entry_of_its_models(row, new) or _prices_modalities(row)


def _had_searches(old: Row, new: Row) -> bool:
    """True when the old price was for web searches, or left some out, which a row without their count does not tell."""
    if old.cost_components.get("requests", ZERO) > new.cost_components.get("requests", ZERO):
        return True
    return WEB_SEARCH_NOT_PRICED in old.pricing_assumptions and WEB_SEARCH_NOT_PRICED not in new.pricing_assumptions


def _is_entry_of_its_models(row: Row, new: Row) -> bool:
    """False when the entry that `row` was priced by has a name that is not that of its model: it had another one."""
    entry = row.price_entry.partition("/")[2].partition(" x ")[0].lower()
    models = (row.response_model.lower(), row.request_model.lower())
    return row.price_entry == new.price_entry or any(model and (entry in model or model in entry) for model in models)


def _prices_modalities(row: Row) -> bool:
    """True when the row tells nothing of audio and images, and these have prices of their own."""
    call = call_of(row)
    usage = call.usage
    counts = (
        usage.audio_input_tokens,
        usage.audio_output_tokens,
        usage.image_input_tokens,
        usage.image_output_tokens,
    )
    if any(count is not None for count in counts):
        return False
    card = rate_card(call.provider, call.server_address, call.models, call.service_tier, call.at_ns)
    if not isinstance(card, RateCard):
        return False
    rates = card.rates(usage.input_tokens or 0)
    return {rates.audio_input, rates.image_input} != {rates.input} or {rates.audio_output, rates.image_output} != {
        rates.output
    }
