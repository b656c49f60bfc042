"""Anthropic Text Completions, of the models before Claude 3 (https://docs.anthropic.com/en/api/complete).

    request   {"model", "prompt": "\\n\\nHuman: ...\\n\\nAssistant:", "max_tokens_to_sample", "stream", ...}
    response  {"type": "completion", "id", "model", "completion", "stop_reason", "stop"}
    stream    event: completion    data: {"completion": " sc", "stop_reason": null, ...}   the last one has the reason
              event: ping          data: {"type": "ping"}
              event: error         data: {"error": {"type", "message"}}

No usage is ever told. A completion in an event is what comes next (API version 2023-06-01), not all there is so far.
"""

from collections.abc import Iterable, Mapping

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, TextBuffer
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import ProviderError, Request, RequestContent, Response, Route
from tokentrail.instrumentation.wire._errors import read_error
from tokentrail.instrumentation.wire._json import Json, integer, mapping, parse, sequence, text
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import finish, genai

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "max_tokens_to_sample": (genai.REQUEST_MAX_TOKENS, int),
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "top_p": (genai.REQUEST_TOP_P, float),
    "top_k": (genai.REQUEST_TOP_K, int),
}


class AnthropicComplete:
    """The wire format."""

    name = "anthropic_complete"
    operation = genai.Operation.TEXT_COMPLETION
    routes: tuple[Route, ...] = (Route("/v1/complete"),)

    def recognises(self, body: Json) -> bool:
        """A model, a prompt, and a limit of tokens under its old name."""
        is_prompt = isinstance(body.get("model"), str) and isinstance(body.get("prompt"), str)
        return is_prompt and integer(body.get("max_tokens_to_sample")) is not None

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes = read_settings(body, _SETTINGS)
        if stop := [item for item in sequence(body.get("stop_sequences")) if isinstance(item, str)]:
            attributes[genai.REQUEST_STOP_SEQUENCES] = stop
        user = text(mapping(body.get("metadata")).get("user_id"))
        return Request(text(body.get("model")), body.get("stream") is True, attributes, user)

    def read_content(self, body: Json) -> RequestContent:
        """The prompt, with its turns as they were written."""
        return RequestContent([content.message("user", [content.text(text(body.get("prompt")))])])

    def reader(self, keep_content: bool) -> "CompletionReader":
        """A reader for one response."""
        return CompletionReader(keep_content)


class CompletionReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self.news = None if keep_content else _news
        self._keep_content = keep_content
        self._id = ""
        self._model = ""
        self._reason = ""
        self._text = TextBuffer()
        self._answered = False
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        return self._read(mapping(parse(event.data)))

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read(body)
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        return Response(
            id=self._id,
            model=self._model,
            finish_reasons=[finish.canonical(self._reason)] if self._reason else (),
            error=self._error,
            complete=self._complete or bool(self._reason),
            output=[self._output()] if self._keep_content and self._answered else (),
        )

    def _read(self, body: Json) -> bool:
        self._error = read_error(body) or self._error
        self._id = text(body.get("id")) or self._id
        self._model = text(body.get("model")) or self._model
        self._reason = text(body.get("stop_reason")) or self._reason
        words = text(body.get("completion"))
        self._answered = self._answered or "completion" in body
        if self._keep_content:
            self._text.append(words)
        return bool(words)

    def _output(self) -> Message:
        parts = [content.text(str(self._text))] if self._text else []
        return {**content.message("assistant", parts), "finish_reason": finish.canonical(self._reason or finish.ERROR)}


def _news(events: Iterable[bytes]) -> list[bytes]:
    """The events with more than text. A quote inside a JSON string is escaped, so these are fields, not text."""
    return [event for event in events if b'"completion":' not in event or b'"stop_reason":null' not in event]
