"""Bedrock Converse (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html).

    request   POST /model/{model}/converse, /model/{model}/converse-stream     {"messages", "inferenceConfig", ...}
    response  {"output": {"message"}, "stopReason", "usage", "metrics", "serviceTier"}
    stream    messageStart, contentBlock{Start,Delta,Stop}, messageStop, metadata; in an AWS event stream

The model is named in the path, and by nothing in the answer. See `_bedrock_messages` for the messages.
"""

from collections.abc import Callable

from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire import _bedrock_messages as messages
from tokentrail.instrumentation.wire._base import (
    AttributeValue,
    ProviderError,
    Request,
    RequestContent,
    Response,
    Route,
)
from tokentrail.instrumentation.wire._bedrock import Headers, read_body_error, read_exception
from tokentrail.instrumentation.wire._json import Json, mapping, parse
from tokentrail.semconv import genai


class BedrockConverse:
    """The wire format."""

    name = "bedrock_converse"
    operation = genai.Operation.CHAT
    routes: tuple[Route, ...] = (
        Route("/model/{model}/converse"),
        Route("/model/{model}/converse-stream", stream=True),
    )

    def recognises(self, body: Json) -> bool:
        """Messages whose content is blocks without a type."""
        return messages.has_messages(body)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        return messages.read_request(body)

    def read_content(self, body: Json) -> RequestContent:
        """System prompt, messages and tools of a request."""
        return messages.read_content(body)

    def reader(self, keep_content: bool) -> "ConverseReader":
        """A reader for one response."""
        return ConverseReader(keep_content)


class ConverseReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._saw_output = False
        self._headers = Headers()
        self._answer = messages.Answer(keep_content)
        self._error: ProviderError | None = None

    def feed_headers(self, lookup: Callable[[str], str | None]) -> None:
        """Take in the response's headers: the type of an error is in them alone."""
        self._headers.read(lookup)

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        if event.name == "contentBlockDelta":
            if self._saw_output and not self._keep_content:
                return True
        elif event.name == "contentBlockStop":
            return False
        elif (error := read_exception(event)) is not None:
            self._error = error
            return False
        carries_output = self._answer.read_event(event.name, mapping(parse(event.data)))
        self._saw_output |= carries_output
        return carries_output

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._error = read_body_error(body)
        self._answer.read_body(body)

    def result(self) -> Response:
        """What has arrived so far."""
        answer = self._answer
        tier = answer.tier or self._headers.tier
        attributes: dict[str, AttributeValue] = {genai.RESPONSE_SERVICE_TIER: tier} if tier else {}
        return Response(
            finish_reasons=[answer.reason] if answer.reason else (),
            usage=answer.usage,
            service_tier=tier,
            attributes=attributes,
            error=self._headers.error(self._error),
            complete=answer.complete,
            output=answer.messages(),
        )
