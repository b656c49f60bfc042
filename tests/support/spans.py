"""Decoded spans for tests of dialects."""

from typing import Any

from tokentrail.backend import dialects
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND


def a_span(attributes: Attributes, **fields: Any) -> Span:
    values: dict[str, Any] = {
        "trace_id": "1" * 32,
        "span_id": "2" * 16,
        "parent_span_id": "",
        "trace_state": "",
        "name": "chat m",
        "kind": 3,
        "start_ns": START,
        "end_ns": START + 2 * SECOND,
        "status_code": 0,
        "status_message": "",
        "events": (),
        "links": (),
        "resource_attributes": {"service.name": "shop", "deployment.environment.name": "prod"},
        "scope_name": "x",
        "scope_version": "",
        **fields,
    }
    return Span(attributes=attributes, **values)


def row_of(attributes: Attributes, **fields: Any) -> Row:
    row = dialects.read(a_span(attributes, **fields))
    assert row is not None, "no row"
    return row
