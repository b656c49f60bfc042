"""A batch of rows summed by label set, so that each counter is touched once per batch. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from operator import attrgetter
from typing import Final, TypeAlias

from tokentrail.backend.correction import Correction
from tokentrail.backend.row import Row
from tokentrail.semconv import cost, metrics

CallLabels: TypeAlias = tuple[str, str, str, str, str]
"""Values of `metrics.CALL_LABELS`."""


@dataclass(slots=True)
class Sums:
    """What the rows of one label set add up to; durations in seconds, with their trace ids, in the rows' order."""

    errors: Counter[str] = field(default_factory=Counter)
    """Failed calls by error type."""
    tokens: Counter[str] = field(default_factory=Counter)
    """By `metrics.TOKEN_TYPES`."""
    cost_usd: Decimal = Decimal(0)
    unpriced: Counter[str] = field(default_factory=Counter)
    """Calls without a cost by reason."""
    durations: dict[str, "Times"] = field(default_factory=lambda: {metrics.OK: Times(), metrics.ERROR: Times()})
    """By outcome; as many as there were calls."""
    first_token: "Times" = field(default_factory=lambda: Times())
    first_chunk: "Times" = field(default_factory=lambda: Times())


@dataclass(slots=True)
class Times:
    """Latencies of calls and the traces they were in."""

    seconds: list[float] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)

    def add(self, nanoseconds: int, trace_id: str) -> None:
        """Add one call."""
        self.seconds.append(nanoseconds / 1e9)
        self.traces.append(trace_id)


def aggregate(rows: Iterable[Row]) -> dict[CallLabels, Sums]:
    """`rows` by their labels."""
    by_labels: dict[CallLabels, Sums] = {}
    by_words: dict[CallLabels, Sums] = {}
    for row in rows:
        words = _words(row)
        sums = by_words.get(words)
        if sums is None:
            sums = by_words[words] = by_labels.setdefault(_labels(row), Sums())
        _add(sums, row)
    return by_labels


@dataclass(slots=True)
class Corrected:
    """What the corrections of one label set add up to; an amount of either direction is positive."""

    calls: int = 0
    increase_usd: Decimal = Decimal(0)
    decrease_usd: Decimal = Decimal(0)


def corrected(corrections: Iterable[Correction]) -> dict[CallLabels, Corrected]:
    """`corrections` by the labels of their calls; one that had no cost goes up by all of its new one."""
    by_labels: dict[CallLabels, Corrected] = {}
    for each in corrections:
        sums = by_labels.setdefault(_labels(each.old), Corrected())
        difference = (each.new.cost_usd or Decimal(0)) - (each.old.cost_usd or Decimal(0))
        sums.calls += 1
        if difference > 0:
            sums.increase_usd += difference
        else:
            sums.decrease_usd -= difference
    return by_labels


def _labels(row: Row) -> CallLabels:
    return (
        label(row.service),
        label(row.environment),
        label(row.operation),
        label(row.provider),
        label(row.request_model),
    )


_words: Final[Callable[[Row], CallLabels]] = attrgetter(
    "service", "environment", "operation", "provider", "request_model"
)
"""What labels are made of, of any length."""


def label(value: str) -> str:
    """`value` within the length that a label may have."""
    return value[: metrics.MAX_LABEL_CHARS]


def _add(sums: Sums, row: Row) -> None:
    sums.durations[metrics.ERROR if row.is_error else metrics.OK].add(row.duration_ns, row.trace_id)
    if row.is_error:
        sums.errors[label(row.error_type)] += 1
    counts = (
        row.input_tokens,
        row.output_tokens,
        row.cache_read_tokens,
        row.cache_write_tokens,
        row.reasoning_tokens,
    )
    for token_type, count in zip(metrics.TOKEN_TYPES, counts, strict=True):
        if count:
            sums.tokens[token_type] += count
    if row.cost_usd is None:
        sums.unpriced[row.pricing_status or str(cost.Reason.NO_USAGE)] += 1
    else:
        sums.cost_usd += row.cost_usd
    if row.stream and row.ttft_ns is not None:
        sums.first_token.add(row.ttft_ns, row.trace_id)
    if row.stream and row.time_to_first_chunk_ns is not None:
        sums.first_chunk.add(row.time_to_first_chunk_ns, row.trace_id)
