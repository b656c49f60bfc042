"""What one call used: tokens, in the arithmetic of the GenAI semantic conventions, and what is billed beside them.

Totals include their subsets: `input_tokens` holds cache reads and cache writes, `output_tokens` holds reasoning.
Providers that report disjoint counts (Anthropic's `input_tokens` leaves the cache out) are brought to totals where
their bodies are read. `None` means "not reported", which is not 0.
"""

from dataclasses import fields
from operator import attrgetter

from tokentrail.semconv.frozen import frozen

MAX_TOKENS = 1_000_000_000_000
"""A count above this is a fault of the sender, not a usage: no call has ever come near it."""

MAX_SEARCHES = 100_000
"""The same for web searches: the longest research takes hundreds."""

NOT_A_COUNT = -1
"""Stands for a number that was reported and is no count (negative, a fraction, not finite): the usage is invalid then,
where "not reported" would have it priced without that part."""


@frozen
class Usage:
    """The counts of one call; each is a non-negative int or `None` when the provider did not report it."""

    input_tokens: int | None = None
    """All input, including the cache and modality counts below."""
    output_tokens: int | None = None
    """All output, including the reasoning and modality counts below."""
    cache_read_tokens: int | None = None
    """Subset of the input that came from the provider's cache."""
    cache_write_tokens: int | None = None
    """Subset of the input that was written to the provider's cache, whatever its lifetime."""
    cache_write_1h_tokens: int | None = None
    """Subset of `cache_write_tokens` written with a lifetime of an hour."""
    reasoning_tokens: int | None = None
    """Subset of the output."""
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    audio_cache_read_tokens: int | None = None
    """Subset of both the audio input and the cache reads."""
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    web_searches: int | None = None
    """Web searches that the provider ran for the call and bills beside its tokens, in the unit that it bills."""

    @property
    def is_empty(self) -> bool:
        """True when neither total is known: there is nothing to price."""
        return self.input_tokens is None and self.output_tokens is None

    def problem(self) -> str | None:
        """What makes these counts impossible, as words for a person, or `None` when they are consistent.

        Never raises: a count of the wrong type (`nan`, text, a bool) is a problem like any other.
        """
        # On the path of every priced call, hence without loops over pairs of names: those only word the problem.
        counts = _counts(self)
        for value in counts:
            if value is not None and (type(value) is not int or not 0 <= value <= MAX_TOKENS):
                return _wrong_count(counts)
        read, write = self.cache_read_tokens or 0, self.cache_write_tokens or 0
        inputs, outputs = self.input_tokens or 0, self.output_tokens or 0
        if (
            read + write > inputs
            or (self.cache_write_1h_tokens or 0) > write
            or (self.reasoning_tokens or 0) > outputs
            or (self.audio_input_tokens or 0) + (self.image_input_tokens or 0) > inputs
            or (self.audio_output_tokens or 0) + (self.image_output_tokens or 0) > outputs
            or (self.audio_cache_read_tokens or 0) > read
            or (self.audio_cache_read_tokens or 0) > (self.audio_input_tokens or 0)
            or (self.web_searches or 0) > MAX_SEARCHES
        ):
            return self._contradiction()
        return None

    def _contradiction(self) -> str | None:
        return (
            _exceeds(self.input_tokens, "input_tokens", self.cache_read_tokens, self.cache_write_tokens)
            or _exceeds(self.cache_write_tokens, "cache_write_tokens", self.cache_write_1h_tokens)
            or _exceeds(self.output_tokens, "output_tokens", self.reasoning_tokens)
            or _exceeds(self.input_tokens, "input_tokens", self.audio_input_tokens, self.image_input_tokens)
            or _exceeds(self.output_tokens, "output_tokens", self.audio_output_tokens, self.image_output_tokens)
            or _exceeds(self.cache_read_tokens, "cache_read_tokens", self.audio_cache_read_tokens)
            or _exceeds(self.audio_input_tokens, "audio_input_tokens", self.audio_cache_read_tokens)
            or f"web_searches is more than {MAX_SEARCHES}, which no call uses"
        )


_NAMES = tuple(field.name for field in fields(Usage))
_counts = attrgetter(*_NAMES)


def _wrong_count(counts: tuple[object, ...]) -> str | None:
    for name, value in zip(_NAMES, counts, strict=True):
        if value is None or (type(value) is int and 0 <= value <= MAX_TOKENS):
            continue
        if type(value) is int:
            limit = "negative" if value < 0 else f"more than {MAX_TOKENS}, which no call uses"
            return f"{name} is {limit}"
        return f"{name} is not a whole number but of type {type(value).__name__}"
    return None


def _exceeds(total: int | None, name: str, *subsets: int | None) -> str | None:
    subtotal = sum(subset or 0 for subset in subsets)
    if subtotal <= (total or 0):
        return None
    known = f"the total {total}" if total is not None else "the total, which was not reported"
    return f"the parts of {name} add up to {subtotal}, which is more than {known}"
