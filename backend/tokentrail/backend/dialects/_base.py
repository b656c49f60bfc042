"""What a dialect is: one producer's attribute vocabulary, read into the canonical row."""

from collections.abc import Sequence
from typing import Protocol

from tokentrail.backend.row import Row
from tokentrail.backend.span import Span


class Dialect(Protocol):
    """A vocabulary. Pure and stateless; safe from any thread."""

    name: str

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True when a span with these attribute keys and instrumentation scope speaks it.

        Values do not count: the answer is remembered for spans of the same shape.
        """

    def read(self, span: Span) -> Row | None:
        """What the span says in this dialect, or `None` for nothing. Raises nothing, whatever the values.

        What it does not say stays empty, and another dialect that the span speaks may fill it in. `kind` tells what
        the span is, also where nobody bills it (an agent, a tool). A row without a `pricing_status` is to be priced;
        one with it tells its own cost, or why it has none.
        """
