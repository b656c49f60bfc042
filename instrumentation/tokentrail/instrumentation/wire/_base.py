"""What a wire format can do, and the values it gives.

A wire format is the bodies of one endpoint, plain and streamed. It opens nothing, knows no span and keeps no state;
a `Reader`, made for each exchange, holds what has arrived of one response.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple, Protocol, runtime_checkable

from tokentrail.instrumentation.content import Message, Part
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._json import Json
from tokentrail.semconv.usage import Usage

AttributeValue = str | bool | int | float | Sequence[str]


@dataclass(frozen=True, slots=True)
class Request:
    """What a request body says beside its content."""

    model: str = ""
    stream: bool = False
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    """Span attributes of the request settings."""
    user: str = ""
    """The end user the body names."""


@dataclass(frozen=True, slots=True)
class RequestContent:
    """What the application asked, in the conventions' message format."""

    messages: Sequence[Message] = ()
    system: Sequence[Part] = ()
    tools: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True, slots=True)
class ProviderError:
    """An error as the provider tells it."""

    kind: str
    """Its code, or else its type: low cardinality. May be empty."""
    message: str


NO_USAGE: Final = Usage()
"""Nothing was reported."""


@dataclass(frozen=True, slots=True)
class Response:
    """What has arrived of a response."""

    id: str = ""
    model: str = ""
    finish_reasons: Sequence[str] = ()
    """The conventions' words, one for each choice."""
    usage: Usage = NO_USAGE
    service_tier: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    error: ProviderError | None = None
    reported_usd: Decimal | None = None
    """What the provider says the call cost."""
    complete: bool = False
    """True when the closing event of a stream has arrived, or a plain body has been read."""
    output: Sequence[Message] = ()
    """Empty unless the reader keeps content."""


class Reader(Protocol):
    """Reads one response. `feed_event` for each event of a stream, or `feed_body` once; then `result`."""

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output: text, reasoning or a tool call."""

    def feed_body(self, body: Json) -> None:
        """Take in a plain body, of a success or an error."""

    def result(self) -> Response:
        """What has arrived so far. May be asked at any time."""


@runtime_checkable
class HeaderReader(Protocol):
    """A `Reader` that wants the headers of the response, too: where they say what the body does not."""

    def feed_headers(self, lookup: Callable[[str], str | None]) -> None:
        """Take them in, before anything else; `lookup` finds one by its lower-case name, and is not kept."""


@runtime_checkable
class RawReader(Protocol):
    """A `Reader` of an endpoint that may answer with what is neither JSON nor events: text, audio."""

    def wants(self, media_type: str) -> bool:
        """True when such a body is to be kept until it is whole; otherwise it goes by, and is only counted."""

    def feed_raw(self, media_type: str, body: bytes, size: int) -> None:
        """Take in a body of `size` bytes, in place of `feed_body`; `body` is empty where it was not wanted."""


class Route(NamedTuple):
    """A path that a format is served at."""

    path: str
    """The end of the path, beginning with `/`; `{model}` stands for a part between two slashes (or a slash and a colon)
    that names the model, `{}` for any such part. `/models/{model}:generateContent` is an example."""
    stream: bool = False
    """True where the path itself asks for a stream."""
    providers: frozenset[str] = frozenset()
    """Where not empty, the route is served by these providers only, at hosts that the table knows: for a path that
    vendors share whose bodies differ. It goes before a route of the same path that anybody may serve."""
    judged: bool = False
    """True for a path that serves other things, too: the body must look like the format at every host."""


class Skimming(Protocol):
    """A reader that can tell events which would change nothing, so that most of a stream need not be parsed."""

    news: Callable[[Iterable[bytes]], list[bytes]] | None
    """Those of some events, given as they stand in the body, that are to be read; asked only once output has arrived.
    `None`: read all."""


class WireFormat(Protocol):
    """One endpoint's bodies. `name` is `<vendor>_<endpoint>`, `operation` the span's operation."""

    name: str
    operation: str
    routes: tuple[Route, ...]

    def recognises(self, body: Json) -> bool:
        """True when `body` is a request of this format, judged by its shape: for hosts that no table knows."""

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""

    def read_content(self, body: Json) -> RequestContent:
        """Messages of a request."""

    def reader(self, keep_content: bool) -> Reader:
        """A reader for one response; it collects output messages when `keep_content`."""


@runtime_checkable
class SharedPath(Protocol):
    """A `WireFormat` whose path serves several operations."""

    def serving(self, model: str, body: bytes) -> WireFormat:
        """The variant of this format that `body`, a request to `model`, is of; cheap, on the application's path."""
