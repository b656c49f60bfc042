"""Recorded export requests of `fixtures/dialects/<dialect>/`, decoded, and rows as their `.want.json` have them."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tokentrail.backend.receiver.decode import Encoding, decode
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span

FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "dialects"
_CONTENT: Final = ("input_messages", "output_messages", "system", "tools")


def fixtures_of(*dialects: str) -> list[Path]:
    """The recorded requests of these dialects, in the order of their names."""
    found = (path for name in dialects for path in (FOLDER / name).glob("*.json"))
    return sorted(path for path in found if not path.name.endswith((".want.json", ".logs.json")))


def wanted(fixture: Path) -> Any:
    """What is wanted of a fixture: `calls`, the billable rows in the order of their spans, and `around`, the kind of
    every other span by its name."""
    return json.loads(fixture.with_suffix(".want.json").read_text(encoding="utf-8"))


def spans_of(fixture: Path, encoding: Encoding) -> list[Span]:
    """Its spans, by way of the receiver's decoder."""
    body = fixture.read_bytes()
    if encoding is Encoding.PROTOBUF:
        body = ParseDict(_with_base64_ids(json.loads(body)), ExportTraceServiceRequest()).SerializeToString()
    return list(decode(body, encoding).spans)


def comparable(row: Row, want: Mapping[str, object]) -> dict[str, object]:
    """The fields of `row` that `want` has, as it has them.

    `ttft` is whether there is a time to the first token, within the call. Messages come without what only some
    producers write: reasons, and fields that are null.
    """
    plain = asdict(row)
    plain["ttft"] = row.ttft_ns is not None and 0 < row.ttft_ns <= row.duration_ns
    return {name: _as_wanted(name, plain[name]) for name in want}


def _as_wanted(name: str, value: object) -> object:
    if name in _CONTENT:
        return [_told(each) for each in json.loads(value)] if isinstance(value, str) and value else None
    if isinstance(value, Decimal):
        return str(value.normalize())
    return list(value) if isinstance(value, tuple) else value


def _told(value: Any) -> Any:
    if isinstance(value, list):
        return [_told(item) for item in value]
    if isinstance(value, dict):
        return {key: _told(item) for key, item in value.items() if item is not None and key != "finish_reason"}
    return value


def _with_base64_ids(value: Any) -> Any:
    """OTLP's JSON as protobuf's: it has ids in base64."""
    if isinstance(value, list):
        return [_with_base64_ids(item) for item in value]
    if isinstance(value, dict):
        ids = ("traceId", "spanId", "parentSpanId")
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode() if key in ids else _with_base64_ids(item)
            for key, item in value.items()
        }
    return value
