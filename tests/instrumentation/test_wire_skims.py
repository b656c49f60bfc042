"""Without content most events of a stream are not parsed: what is said of the call must not suffer from that."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tokentrail.instrumentation.body import BodyReader
from tokentrail.instrumentation.wire import WIRE_FORMATS
from tokentrail.instrumentation.wire._base import Response, WireFormat

FIXTURES: Final = Path(__file__).parents[1] / "fixtures" / "wire"
STREAMS: Final = [
    pytest.param(wire, fixture, id=f"{wire.name}-{path.stem}")
    for wire in WIRE_FORMATS
    for path in sorted((FIXTURES / wire.name).glob("*.json"))
    if "lines" in (fixture := json.loads(path.read_text(encoding="utf-8")))
]


def _read(wire: WireFormat, content_type: str, pieces: list[str], *, keep_content: bool) -> tuple[Response, int | None]:
    reader = BodyReader(wire.reader(keep_content), content_type, "", 1_000_000)
    for ticks, piece in enumerate(pieces):
        reader.feed(ticks, piece.encode())
    return reader.finish(-1), reader.first_token_ticks


def _without_output(response: Response) -> dict[str, Any]:
    fields = {name: getattr(response, name) for name in response.__dataclass_fields__ if name != "output"}
    return {**fields, "finish_reasons": list(response.finish_reasons)}


@pytest.mark.parametrize(("wire", "fixture"), STREAMS)
def test_a_stream_that_comes_event_by_event_says_the_same_without_content(
    wire: WireFormat, fixture: dict[str, Any]
) -> None:
    lines = [line + "\n" for line in fixture["lines"]]
    if fixture["content_type"].startswith("text/event-stream"):
        lines = [block + "\n\n" for block in "".join(lines).rstrip("\n").split("\n\n")]

    with_content, token = _read(wire, fixture["content_type"], lines, keep_content=True)
    without_content, token_without = _read(wire, fixture["content_type"], lines, keep_content=False)

    assert _without_output(without_content) == _without_output(with_content)
    assert token_without == token
    assert not without_content.output
