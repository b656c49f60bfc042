"""Mistral's fill-in-the-middle (https://docs.mistral.ai/api/endpoint/fim).

request   {"model", "prompt", "suffix", "stream", "temperature", "random_seed", "stop", ...}
response  {"id", "model", "choices": [{"index", "message": {"content"}, "finish_reason"}], "usage"}
stream    data: {"id", "model", "choices": [{"index", "delta": {"content"}, "finish_reason"}], "usage": in the last}
          data: [DONE]
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, TextBuffer
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import ProviderError, Request, RequestContent, Response, Route
from tokentrail.instrumentation.wire._errors import read_error
from tokentrail.instrumentation.wire._json import Json, count, index, mapping, parse, sequence, text
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "top_p": (genai.REQUEST_TOP_P, float),
    "max_tokens": (genai.REQUEST_MAX_TOKENS, int),
    "random_seed": (genai.REQUEST_SEED, int),
}


class MistralFim:
    """The wire format."""

    name = "mistral_fim"
    operation = genai.Operation.TEXT_COMPLETION
    routes: tuple[Route, ...] = (Route("/fim/completions"),)

    def recognises(self, body: Json) -> bool:
        """A model and a prompt."""
        return isinstance(body.get("model"), str) and isinstance(body.get("prompt"), str)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes = read_settings(body, _SETTINGS)
        stop = body.get("stop")
        if words := [stop] if isinstance(stop, str) else [item for item in sequence(stop) if isinstance(item, str)]:
            attributes[genai.REQUEST_STOP_SEQUENCES] = words
        return Request(text(body.get("model")), body.get("stream") is True, attributes)

    def read_content(self, body: Json) -> RequestContent:
        """What comes before the answer, and what is to come after it: a message each."""
        messages = [content.message("user", [content.text(text(body.get("prompt")))])]
        if suffix := text(body.get("suffix")):
            messages.append(content.message("suffix", [content.text(suffix)]))
        return RequestContent(messages=messages)

    def reader(self, keep_content: bool) -> "FimReader":
        """A reader for one response."""
        return FimReader(keep_content)


@dataclass(slots=True)
class _Choice:
    reason: str = ""
    text: TextBuffer = field(default_factory=TextBuffer)


class FimReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self.news = None if keep_content else _news
        self._keep_content = keep_content
        self._id = ""
        self._model = ""
        self._usage: Json = {}
        self._choices: dict[int, _Choice] = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in a chunk; true when it carries output."""
        if event.data == b"[DONE]":
            self._complete = True
            return False
        return self._read(mapping(parse(event.data)), "delta")

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read(body, "message")
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        choices = [self._choices[position] for position in sorted(self._choices)]
        finished = any(choice.reason for choice in choices)
        return Response(
            id=self._id,
            model=self._model,
            finish_reasons=[finish.canonical(choice.reason or finish.ERROR) for choice in choices] if finished else [],
            usage=Usage(count(self._usage.get("prompt_tokens")), count(self._usage.get("completion_tokens"))),
            error=self._error,
            complete=self._complete,
            output=[_output_message(choice) for choice in choices] if self._keep_content else (),
        )

    def _read(self, chunk: Json, field_name: str) -> bool:
        self._id = text(chunk.get("id")) or self._id
        self._model = text(chunk.get("model")) or self._model
        self._usage = mapping(chunk.get("usage")) or self._usage
        self._error = read_error(chunk) or self._error
        carries_output = False
        for item in map(mapping, sequence(chunk.get("choices"))):
            choice = self._choices.setdefault(index(item.get("index")), _Choice())
            choice.reason = text(item.get("finish_reason")) or choice.reason
            words = text(mapping(item.get(field_name)).get("content"))
            carries_output = carries_output or bool(words)
            if self._keep_content:
                choice.text.append(words)
        return carries_output


def _news(events: Iterable[bytes]) -> list[bytes]:
    """The chunks with more than text. A quote inside a JSON string is escaped, so these are fields, not text."""
    return [
        event
        for event in events
        if b'"finish_reason":null' not in event or b'"index":0' not in event or b'"usage":{' in event
    ]


def _output_message(choice: _Choice) -> Message:
    parts = [content.text(str(choice.text))] if choice.text else []
    return {**content.message("assistant", parts), "finish_reason": finish.canonical(choice.reason or finish.ERROR)}
