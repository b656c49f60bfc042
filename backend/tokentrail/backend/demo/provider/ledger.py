"""What the provider told its clients, request by request: the figures a bill would be written from.

A usage counts when it was sent: a stream that the client left before its usage counts as a request with no tokens,
because nobody but the provider can know what it generated. Counts are inclusive, as everywhere in this product:
cached and cache-writing tokens are inside the input, reasoning is inside the output.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace

MAX_ENTRIES = 10_000
"""Entries kept for `GET /ledger`; the totals go on counting beyond it."""

OPEN = "open"
"""The answer is still being sent."""
SENT = "sent"
ERROR = "error"
CUT = "cut"
"""The client went away before the end of the answer."""


@dataclass(frozen=True, slots=True)
class Told:
    """Token counts as a client was told them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Subset of the input, read from the prompt cache."""
    cache_write_tokens: int = 0
    """Subset of the input, written to the prompt cache."""
    reasoning_tokens: int = 0
    """Subset of the output."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One HTTP request and what became of it."""

    number: int
    """1 for the first request of the provider's life."""
    time_ns: int
    provider: str
    endpoint: str
    """Path of the request, such as `/v1/messages`."""
    model: str
    """As requested; empty when the body named none."""
    stream: bool
    request_id: str
    tagged_headers: tuple[str, ...] = ()
    """Names of `Helicone-*` and `Tokentrail-*` headers that arrived. Instrumented clients keep them at home."""
    response_id: str = ""
    status: int = 0
    """HTTP status, 0 while nothing was sent."""
    outcome: str = OPEN
    error: str = ""
    """The vendor's error type, also for an error inside a stream that began with status 200."""
    told: Told = field(default_factory=Told)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over entries."""

    requests: int = 0
    errors: int = 0
    cut: int = 0
    open: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def plus(self, other: "Totals") -> "Totals":
        """The sum of both, field by field."""
        return Totals(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(Totals)))


def total(entries: Iterable[Entry]) -> Totals:
    """The totals of `entries`."""
    result = Totals()
    for entry in entries:
        result = result.plus(_of(entry))
    return result


def _of(entry: Entry) -> Totals:
    return Totals(
        requests=1,
        errors=int(entry.outcome == ERROR),
        cut=int(entry.outcome == CUT),
        open=int(entry.outcome == OPEN),
        **asdict(entry.told),
    )


class Ledger:
    """All requests since the start. Not thread-safe: it belongs to the provider's event loop."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._settled: dict[tuple[str, str], Totals] = {}
        self._count = 0

    def begin(
        self, *, provider: str, endpoint: str, model: str, stream: bool, request_id: str, tagged: tuple[str, ...]
    ) -> int:
        """Enter a request and return its number, by which the other methods know it."""
        self._count += 1
        self._entries[self._count] = Entry(
            self._count, time.time_ns(), provider, endpoint, model, stream, request_id, tagged
        )
        self._shrink()
        return self._count

    def answer(self, number: int, status: int, response_id: str = "") -> None:
        """Note that the status line of an answer was sent."""
        self._update(number, status=status, response_id=response_id)

    def tell(self, number: int, told: Told) -> None:
        """Note the usage that was sent; a later one replaces it, as counts in streams are cumulative."""
        self._update(number, told=told)

    def end(self, number: int, outcome: str, error: str = "") -> None:
        """Close an entry. `error` is the vendor's error type when the outcome is an error."""
        self._update(number, outcome=outcome, error=error)

    def entries(self) -> tuple[Entry, ...]:
        """The latest `MAX_ENTRIES` entries, oldest first."""
        return tuple(self._entries.values())

    def totals(self) -> dict[tuple[str, str], Totals]:
        """Totals by (provider, requested model), over the whole life of the ledger."""
        result = dict(self._settled)
        for entry in self._entries.values():
            key = (entry.provider, entry.model)
            result[key] = result.get(key, Totals()).plus(_of(entry))
        return result

    def document(self) -> dict[str, object]:
        """What `GET /ledger` answers: `totals`, `models` (a list with `provider` and `model`) and `entries`."""
        by_model = self.totals()
        grand = Totals()
        for part in by_model.values():
            grand = grand.plus(part)
        return {
            "totals": asdict(grand),
            "models": [
                {"provider": provider, "model": model, **asdict(part)}
                for (provider, model), part in sorted(by_model.items())
            ],
            "entries": [_flat(entry) for entry in self._entries.values()],
        }

    def _update(self, number: int, **changes: object) -> None:
        if number in self._entries:
            self._entries[number] = replace(self._entries[number], **changes)  # type: ignore[arg-type]  # names above

    def _shrink(self) -> None:
        while len(self._entries) > MAX_ENTRIES:
            _, oldest = self._entries.popitem(last=False)
            key = (oldest.provider, oldest.model)
            self._settled[key] = self._settled.get(key, Totals()).plus(_of(oldest))


def _flat(entry: Entry) -> dict[str, object]:
    record = asdict(entry)
    told = record.pop("told")
    return {**record, **told}
