"""What a dialect is: one producer's attribute vocabulary, read into the canonical row."""

from dataclasses import dataclass
from typing import Protocol

from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.semconv.cost import Call


@dataclass(frozen=True, slots=True)
class Reading:
    """What a dialect made of one span."""

    row: Row
    """Complete but for the cost when `call` is set."""
    call: Call | None
    """What is to be priced, or `None` when the span tells its own cost (or why it has none) and keeps it."""


class Dialect(Protocol):
    """A vocabulary. Pure and stateless; safe from any thread."""

    name: str

    def matches(self, span: Span) -> bool:
        """True when the span speaks this dialect. Cheap: it is asked of every span."""

    def read(self, span: Span) -> Reading | None:
        """The span as a row, or `None` when it is not a billable model call. Raises nothing, whatever the values."""
