"""Dialects in order of priority: the first that matches a span reads it."""

from typing import Final

from tokentrail.backend.dialects._base import Dialect, Reading
from tokentrail.backend.dialects.otel_genai import OtelGenAI
from tokentrail.backend.span import Span

DIALECTS: Final[tuple[Dialect, ...]] = (OtelGenAI(),)


def read(span: Span) -> Reading | None:
    """The billable call that `span` is, in whatever dialect, or `None`."""
    for dialect in DIALECTS:
        if dialect.matches(span):
            return dialect.read(span)
    return None


__all__ = ["DIALECTS", "Dialect", "Reading", "read"]
