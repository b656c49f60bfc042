"""Every wire format over every fixture of its name: requests, plain bodies and streams, whole and in pieces.

A fixture is `tests/fixtures/wire/<format>/<name>.json`: `kind` (plain, streamed, tool_call, error), `request`,
`content_type`, and the response as `body`, as `lines` (of server-sent events or of NDJSON) or as `base64` (any other
framing); `expected` is worked out by hand from the vendor's documentation. What `expected` leaves out is empty:
`Usage()`, no error, no attributes.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from tokentrail.instrumentation.body import BodyReader
from tokentrail.instrumentation.framing import FRAMINGS
from tokentrail.instrumentation.framing._base import Event, Framing
from tokentrail.instrumentation.framing.json_array import JsonArrayDecoder
from tokentrail.instrumentation.wire import WIRE_FORMATS
from tokentrail.instrumentation.wire._base import ProviderError, Request, RequestContent, Response, WireFormat
from tokentrail.semconv.usage import Usage

DIRECTORY: Final = Path(__file__).parents[1] / "fixtures" / "wire"
KINDS: Final = frozenset({"plain", "streamed", "tool_call", "error"})
LACKS: Final = {
    "anthropic_complete": {"tool_call"},
    "generic_rerank": {"streamed", "tool_call"},
    "openai_completions": {"tool_call"},
    "openai_images": {"tool_call"},
    "openai_moderations": {"streamed", "tool_call"},
    "openai_speech": {"plain", "tool_call"},  # its plain answer is no JSON
    "openai_transcriptions": {"tool_call"},
    "bedrock_invoke_text": {"tool_call"},
    "bedrock_invoke_embeddings": {"streamed", "tool_call"},
    "bedrock_invoke_rerank": {"streamed", "tool_call"},
    "cohere_embed": {"streamed", "tool_call"},
    "cohere_rerank": {"streamed", "tool_call"},
    "ollama_embed": {"streamed", "tool_call"},
    "ollama_embeddings": {"streamed", "tool_call"},
    "mistral_fim": {"tool_call"},
    "ollama_generate": {"tool_call"},
    "openai_embeddings": {"streamed", "tool_call"},
    "gemini_embeddings": {"streamed", "tool_call"},
    "imagen_predict": {"streamed", "tool_call"},
}
"""What an endpoint does not have; a new format has everything until it is said here."""
MAX_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Fixture:
    """One exchange."""

    wire: WireFormat
    name: str
    content: dict[str, Any]

    @property
    def is_stream(self) -> bool:
        """True when the response is a stream."""
        return "body" not in self.content

    @property
    def content_type(self) -> str:
        """The media type of the response."""
        return str(self.content["content_type"])

    @property
    def is_sse(self) -> bool:
        """True for server-sent events, the one framing that is known by its looks."""
        return self.is_stream and self.content_type.startswith("text/event-stream")

    @property
    def is_array(self) -> bool:
        """True for a stream that is one JSON array."""
        return self.is_stream and self.content_type.startswith("application/json")

    def decoder(self) -> Framing:
        """What cuts the stream into events."""
        if self.is_array:
            return JsonArrayDecoder()
        return FRAMINGS[self.content_type.partition(";")[0]]()

    @property
    def body(self) -> bytes:
        """The response as it comes over the wire."""
        if "base64" in self.content:
            return base64.b64decode(self.content["base64"])
        if "lines" in self.content:
            return "\n".join([*self.content["lines"], ""]).encode()
        return json.dumps(self.content["body"], ensure_ascii=False).encode()

    @property
    def expected(self) -> dict[str, Any]:
        """What was worked out by hand."""
        expected: dict[str, Any] = self.content["expected"]
        return expected

    def request(self) -> Request:
        """The request as expected."""
        return Request(**{"user": "", **self.expected["request"]})

    def request_content(self) -> RequestContent:
        """The content of the request as expected."""
        return RequestContent(**{"messages": [], "system": [], "tools": [], **self.expected["content"]})

    def response(self, keep_content: bool) -> Response:
        """The response as expected."""
        fields = dict(self.expected["response"])
        usage = Usage(**fields.pop("usage", {}))
        error = ProviderError(**fields.pop("error")) if "error" in fields else None
        usd = Decimal(fields.pop("reported_usd")) if "reported_usd" in fields else None
        output = fields.pop("output", [])
        return _comparable(
            Response(usage=usage, error=error, reported_usd=usd, output=output if keep_content else [], **fields)
        )


def _comparable(response: Response) -> Response:
    """Sequences as lists, whatever they were: an empty tuple is an empty list."""
    fields = {name: getattr(response, name) for name in response.__dataclass_fields__}
    lists = {"finish_reasons": list(response.finish_reasons), "output": list(response.output)}
    return Response(**{**fields, **lists})


def _load() -> Iterator[Fixture]:
    for wire in WIRE_FORMATS:
        for path in sorted((DIRECTORY / wire.name).glob("*.json")):
            yield Fixture(wire, path.stem, json.loads(path.read_text(encoding="utf-8")))


FIXTURES: Final = tuple(_load())

each_fixture = pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: f"{fixture.wire.name}-{fixture.name}")
each_stream = pytest.mark.parametrize(
    "fixture",
    [fixture for fixture in FIXTURES if fixture.is_stream],
    ids=lambda fixture: f"{fixture.wire.name}-{fixture.name}",
)


def _read(fixture: Fixture, pieces: Iterable[bytes], *, keep_content: bool = True, content_type: str = "") -> Response:
    reader = BodyReader(fixture.wire.reader(keep_content), content_type, "", MAX_BYTES, streams=fixture.is_array)
    for ticks, piece in enumerate(pieces):
        reader.feed(ticks, piece)
    response = reader.finish(0)
    assert reader.problem == ""
    assert reader.is_stream == fixture.is_stream
    return _comparable(response)


def _bytes_of(body: bytes) -> list[bytes]:
    return [body[position : position + 1] for position in range(len(body))]


@pytest.mark.parametrize("wire", WIRE_FORMATS, ids=lambda wire: str(wire.name))
def test_a_wire_format_has_fixtures_of_every_kind(wire: WireFormat) -> None:
    kinds = {fixture.content["kind"] for fixture in FIXTURES if fixture.wire is wire}

    assert kinds == KINDS - LACKS.get(wire.name, set())


def test_every_fixture_belongs_to_a_wire_format() -> None:
    folders = {path.name for path in DIRECTORY.iterdir()}

    assert folders == {wire.name for wire in WIRE_FORMATS}


def test_names_of_wire_formats_are_unique() -> None:
    names = [wire.name for wire in WIRE_FORMATS]

    assert len(names) == len(set(names))


@each_fixture
def test_the_settings_of_the_request_are_read(fixture: Fixture) -> None:
    request = fixture.wire.read_request(fixture.content["request"])

    assert request == fixture.request()
    expected_types = {name: type(value) for name, value in fixture.request().attributes.items()}
    assert {name: type(value) for name, value in request.attributes.items()} == expected_types


@each_fixture
def test_the_content_of_the_request_is_read(fixture: Fixture) -> None:
    content = fixture.wire.read_content(fixture.content["request"])

    as_lists = RequestContent(list(content.messages), list(content.system), list(content.tools))
    assert as_lists == fixture.request_content()


@each_fixture
def test_the_request_is_recognised_by_its_shape(fixture: Fixture) -> None:
    assert fixture.wire.recognises(fixture.content["request"])
    if "model" in fixture.content["request"]:
        assert not fixture.wire.recognises({**fixture.content["request"], "model": None})


@each_fixture
def test_the_response_is_read(fixture: Fixture) -> None:
    assert _read(fixture, [fixture.body], content_type=fixture.content_type) == fixture.response(keep_content=True)


@each_fixture
def test_the_response_is_read_byte_by_byte_and_without_a_content_type(fixture: Fixture) -> None:
    content_type = fixture.content_type if fixture.is_stream and not fixture.is_sse else ""

    assert _read(fixture, _bytes_of(fixture.body), content_type=content_type) == fixture.response(keep_content=True)


@each_fixture
def test_the_response_without_content_says_the_same_but_for_its_output(fixture: Fixture) -> None:
    response = _read(fixture, [fixture.body], keep_content=False, content_type=fixture.content_type)

    assert response == fixture.response(keep_content=False)


@each_fixture
def test_a_result_may_be_asked_for_at_any_time_and_again(fixture: Fixture) -> None:
    reader = fixture.wire.reader(True)

    for event in _events(fixture) if fixture.is_stream else []:
        reader.result()
        _feed(reader.feed_event, event)
    if not fixture.is_stream and isinstance(fixture.content["body"], dict):
        reader.feed_body(fixture.content["body"])

    assert reader.result() == reader.result()


@each_stream
def test_a_stream_is_cut_into_the_same_events_wherever_it_is_cut(fixture: Fixture) -> None:
    expected = _events(fixture)

    for position in range(len(fixture.body) + 1):
        decoder = fixture.decoder()
        parts = [*decoder.feed(fixture.body[:position]), *decoder.feed(fixture.body[position:]), *decoder.flush()]

        assert parts == expected, position


@pytest.mark.parametrize(
    "fixture",
    [fixture for fixture in FIXTURES if fixture.is_sse],
    ids=lambda fixture: f"{fixture.wire.name}-{fixture.name}",
)
def test_a_stream_with_other_line_ends_and_a_byte_order_mark_says_the_same(fixture: Fixture) -> None:
    expected = fixture.response(keep_content=True)

    for body in (
        fixture.body.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + fixture.body,
        b": hello\n\n" + fixture.body.replace(b"\n\n", b"\n: comment\n\n"),
    ):
        assert _read(fixture, [body], content_type=fixture.content_type) == expected
        assert _read(fixture, _bytes_of(body), content_type=fixture.content_type) == expected


@each_stream
@pytest.mark.parametrize("keep_content", [True, False])
def test_the_first_output_is_told_from_what_comes_before_it(fixture: Fixture, keep_content: bool) -> None:
    reader = fixture.wire.reader(keep_content)

    carry = [_feed(reader.feed_event, event) for event in _events(fixture)]

    first = next((position for position, carries in enumerate(carry) if carries), None)
    assert first == fixture.expected.get("first_output_event")


@each_stream
def test_a_stream_broken_off_anywhere_still_says_what_it_said(fixture: Fixture) -> None:
    whole = fixture.response(keep_content=True)

    for position in range(0, len(fixture.body), 37):
        response = _read_quietly(fixture, fixture.body[:position])

        assert response.id in ("", whole.id)
        assert response.model in ("", whole.model)
        assert response.error in (None, whole.error)
        assert not response.complete or whole.complete


def _read_quietly(fixture: Fixture, body: bytes) -> Response:
    reader = BodyReader(fixture.wire.reader(True), fixture.content_type, "", MAX_BYTES, streams=fixture.is_array)
    reader.feed(0, body)
    return reader.finish(0)


def _events(fixture: Fixture) -> list[Event]:
    decoder = fixture.decoder()
    return [*decoder.feed(fixture.body), *decoder.flush()]


def _feed(feed_event: Any, event: Event) -> bool:
    try:
        return bool(feed_event(event))
    except json.JSONDecodeError:
        return False
