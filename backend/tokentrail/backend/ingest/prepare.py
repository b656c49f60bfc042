"""What is made of a request before it waits: decoded, read and split. Pure but for the price list."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tokentrail.backend.access.caller import put_into_project
from tokentrail.backend.ingest.event_calls import EventCall, read_event_calls
from tokentrail.backend.ingest.normalise import Read, describe
from tokentrail.backend.log import LogRecord
from tokentrail.backend.point import Point
from tokentrail.backend.receiver.decode import Encoding, decode, decode_logs, decode_metrics
from tokentrail.backend.signals import Signal
from tokentrail.backend.store.records import DIGEST_BYTES, Part, split


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, ready to be stored."""

    signal: Signal
    digest: bytes
    """Of its bytes, its signal and its project: what tells it from all others."""
    received: int
    """Spans, log records or points in it, rejected ones included."""
    rejected: Mapping[str, int]
    """Those of them that cannot be stored, by reason."""
    cut: Mapping[str, int]
    """What the others lost to limits, by reason."""
    read: Sequence[Read] = ()
    parts: Sequence[Part] = ()
    events: Sequence[EventCall] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.read or self.parts)


def prepare(
    body: bytes, encoding: Encoding, project: str, signal: Signal, most: int | None = None, received_ns: int = 0
) -> Prepared:
    """The request that `body` is. Raises `decoded.DecodeError` and, for more than `most` items, `TooManyItemsError`.

    Log records and points that say no time have that of their receipt, `received_ns`, where that is known.
    """
    digest = _digest(body, project, signal)
    match signal:
        case Signal.TRACES:
            return _traces(body, encoding, project, digest, most)
        case Signal.LOGS:
            return _logs(body, encoding, project, digest, most, received_ns)
        case Signal.METRICS:
            return _metrics(body, encoding, project, digest, most, received_ns)


def _traces(body: bytes, encoding: Encoding, project: str, digest: bytes, most: int | None) -> Prepared:
    decoded = decode(body, encoding, most)
    put_into_project(decoded.spans, project)
    read = describe(decoded.spans)
    put_into_project((row for _, row in read if row is not None), project)
    return Prepared(Signal.TRACES, digest, decoded.received, decoded.rejected, decoded.cut, read)


def _logs(body: bytes, encoding: Encoding, project: str, digest: bytes, most: int | None, received_ns: int) -> Prepared:
    decoded = decode_logs(body, encoding, most)
    _put_into_time(decoded.records, received_ns)
    put_into_project(decoded.records, project)
    parts, events = split(digest, logs=decoded.records), read_event_calls(decoded.records)
    return Prepared(Signal.LOGS, digest, len(decoded.records), {}, decoded.cut, parts=parts, events=events)


def _metrics(
    body: bytes, encoding: Encoding, project: str, digest: bytes, most: int | None, received_ns: int
) -> Prepared:
    decoded = decode_metrics(body, encoding, most)
    _put_into_time(decoded.points, received_ns)
    put_into_project(decoded.points, project)
    received = len(decoded.points) + sum(decoded.rejected.values())
    parts = split(digest, points=decoded.points)
    return Prepared(Signal.METRICS, digest, received, decoded.rejected, decoded.cut, parts=parts)


def _put_into_time(items: Iterable[LogRecord | Point], received_ns: int) -> None:
    """Have those without a time be of now: in 1970 they would be too old to be kept.

    They are changed in place, as by `put_into_project`.
    """
    for item in items:
        if not item.time_ns:
            object.__setattr__(item, "time_ns", received_ns)


def _digest(body: bytes, project: str, signal: Signal) -> bytes:
    # The same bytes are another request in another project, or at another path.
    digest = hashlib.blake2b(project.encode() + b"\0", digest_size=DIGEST_BYTES, person=signal.encode())
    digest.update(body)
    return digest.digest()
