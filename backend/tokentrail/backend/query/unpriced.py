"""Calls without a cost, as the API shows them: a kind of call an object, with what to do about it.

reason, provider, model, server_address     what they have in common; unknown text is empty
requests, input_tokens, output_tokens       how many, and what they used (null where nothing was told)
first, last                                 ISO 8601, UTC
price_file_line                             the line that gives them a price, null where a price is not what is missing
advice                                      what to do, for a person
"""

from collections.abc import Mapping
from typing import Final

from tokentrail.backend.query import moment
from tokentrail.semconv.cost import Reason
from tokentrail.semconv.pricing.card import Rate
from tokentrail.semconv.pricing.tables.price_line import DEFAULT_RATES, price_line

_PASTE: Final = (
    "put the line into the price file (TOKENTRAIL_PRICES), with the amounts filled in; "
    "`tokentrail cost reprice` then prices the calls that are stored"
)
_LINES: Final[Mapping[str, str]] = {
    Reason.UNKNOWN_MODEL: f"no price list has the model: {_PASTE}. Where it is another model's deployment, "
    'write alias = "provider/model" in place of the amounts',
    Reason.UNKNOWN_PROVIDER: f"no price list has the provider: {_PASTE}",
    Reason.SELF_HOSTED: f"only you know what your own servers cost: {_PASTE}. Write free = true in place of the "
    "amounts where they are to cost nothing",
}
"""Advice for the reasons that a line in the price file settles."""
_NO_LINE: Final = (
    "the calls do not name their model (gen_ai.request.model, gen_ai.response.model), so that no price can be told "
    "for them: have the sender name it"
)
_SERVER_ONLY: Final = (
    "the calls do not name their model, the line is for all calls of their server: put it behind every other line"
)
_ADVICE: Final[Mapping[str, str]] = {
    Reason.NO_USAGE: "the answers told no tokens: ask for the usage of streams (stream_options.include_usage, which "
    "Tokentrail's instrumentation does where it may) and read them to their end; what a stream that was left early "
    "used, only the provider knows",
    Reason.INVALID_USAGE: "the counts contradict one another or are absurd, so that no cost was made of them: compare "
    "`tokentrail requests --json` with the provider's answers and correct the sender",
    Reason.FAILED: "the calls failed before they used anything: there is nothing to price",
    Reason.INTERNAL: "pricing itself failed, which is a fault of Tokentrail or of its price data: the log names it; "
    "after an update, `tokentrail cost reprice` prices the calls that are stored",
}
_UNKNOWN: Final = "this version does not know the reason: update the backend"


def read(row: Mapping[str, object]) -> dict[str, object]:
    """The object for a row of `sql.unpriced`."""
    reason, model = str(row["reason"]), str(row["model"])
    line = _line(row) if reason in _LINES else ""
    if reason in _LINES and not model:
        advice = _SERVER_ONLY if line else _NO_LINE
    else:
        advice = _LINES.get(reason) or _ADVICE.get(reason, _UNKNOWN)
    kept = ("reason", "provider", "model", "server_address", "requests", "input_tokens", "output_tokens")
    return {
        **{name: row[name] for name in kept},
        "first": moment.iso(int(str(row["first_ns"]))),
        "last": moment.iso(int(str(row["last_ns"]))),
        "price_file_line": line or None,
        "advice": advice,
    }


def _line(row: Mapping[str, object]) -> str:
    """The line with a place for each price that makes a difference to these calls."""
    rates: list[Rate] = ["input"]
    if row["cache_read_tokens"]:
        rates.append("cache_read")
    if row["cache_write_tokens"]:
        rates.append("cache_write")
    if row["output_tokens"]:  # embeddings have none
        rates.append("output")
    # Where nothing was told, as on `prices show`, the usual two are asked for.
    told = row["input_tokens"] or row["output_tokens"]
    return price_line(
        str(row["provider"]), str(row["server_address"]), str(row["model"]), rates if told else DEFAULT_RATES
    )
