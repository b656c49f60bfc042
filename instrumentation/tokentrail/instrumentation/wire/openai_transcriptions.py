"""OpenAI audio transcriptions and translations (https://platform.openai.com/docs/api-reference/audio).

    request   multipart/form-data: file, model, language, prompt, response_format, temperature, stream, ...
    response  {"text", "usage": {"type": "tokens", "input_tokens", "input_token_details": {"audio_tokens",
                                 "text_tokens"}, "output_tokens", "total_tokens"} | {"type": "duration", "seconds"}}
              {"text", "duration", "segments", ...}               verbose_json
              the text, subtitles                                 text, srt, vtt: no JSON
    stream    data: {"type": "transcript.text.delta", "delta"}
              data: {"type": "transcript.text.done", "text", "usage"}

Also Groq's, Together's and vLLM's, Azure's deployments, and Mistral's (`usage.prompt_tokens`, `prompt_audio_seconds`).
The file is never looked at. An answer that is no JSON tells neither model nor usage.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import TextBuffer
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import (
    AttributeValue,
    ProviderError,
    Request,
    RequestContent,
    Response,
    Route,
)
from tokentrail.instrumentation.wire._errors import read_error
from tokentrail.instrumentation.wire._form import typed
from tokentrail.instrumentation.wire._json import Json, count, mapping, number, parse, text
from tokentrail.instrumentation.wire._openai import read_usage
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_SETTINGS: Mapping[str, tuple[str, type]] = {"temperature": (genai.REQUEST_TEMPERATURE, float)}
_TYPED: Final = frozenset({"temperature", "stream"})
_TEXTS: Final = frozenset({"text/plain", "text/vtt", "text/srt", "application/x-subrip"})


class OpenAITranscriptions:
    """The wire format."""

    name = "openai_transcriptions"
    operation = genai.Operation.GENERATE_CONTENT
    routes: tuple[Route, ...] = (Route("/audio/transcriptions"), Route("/audio/translations"))

    def recognises(self, body: Json) -> bool:
        """A model; the file of a form is not seen, and the path is not a common one."""
        return isinstance(body.get("model"), str)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        body = typed(body, _TYPED)
        attributes = read_settings(body, _SETTINGS)
        attributes[genai.OUTPUT_TYPE] = "text"
        return Request(text(body.get("model")), body.get("stream") is True, attributes)

    def read_content(self, body: Json) -> RequestContent:
        """The prompt, if there is one: it guides the style. The audio is not seen."""
        prompt = text(body.get("prompt"))
        return RequestContent(messages=[content.message("user", [content.text(prompt)])] if prompt else [])

    def reader(self, keep_content: bool) -> "TranscriptionReader":
        """A reader for one response."""
        return TranscriptionReader(keep_content)


class TranscriptionReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self.news = None if keep_content else _news
        self._keep_content = keep_content
        self._model = ""
        self._text = TextBuffer()
        self._usage: Json = {}
        self._seconds: float | None = None
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries text."""
        body = mapping(parse(event.data))
        kind = text(body.get("type"))
        is_done = kind == "transcript.text.done"
        words = text(body.get("delta"))
        if is_done and not self._text:
            words = text(body.get("text"))
        self._read(body, words)
        self._complete = self._complete or is_done
        return bool(words)

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read(body, text(body.get("text")))
        self._complete = True

    def wants(self, media_type: str) -> bool:
        """True for text: it is the transcript."""
        return self._keep_content and media_type in _TEXTS

    def feed_raw(self, media_type: str, body: bytes, size: int) -> None:
        """Take in an answer that is text."""
        self._text.append(body.decode("utf-8", "replace"))
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        attributes: dict[str, AttributeValue] = {}
        if self._seconds is not None:
            attributes[genai.USAGE_AUDIO_SECONDS] = self._seconds
        output = [content.message("assistant", [content.text(str(self._text))])] if self._text else []
        return Response(
            model=self._model,
            usage=_read_usage(self._usage),
            attributes=attributes,
            error=self._error,
            complete=self._complete,
            output=output if self._keep_content else (),
        )

    def _read(self, body: Json, words: str) -> None:
        self._error = read_error(body) or self._error
        self._model = text(body.get("model")) or self._model
        self._usage = usage = mapping(body.get("usage")) or self._usage
        for value in (usage.get("seconds"), usage.get("prompt_audio_seconds"), body.get("duration")):
            if (seconds := number(value)) is not None and seconds >= 0:
                self._seconds = seconds
                break
        if self._keep_content:
            self._text.append(words)


def _news(events: Iterable[bytes]) -> list[bytes]:
    """The events that are no piece of the transcript. A quote inside a JSON string is escaped: this is the type."""
    return [event for event in events if b'"type":"transcript.text.delta"' not in event]


def _read_usage(usage: Json) -> Usage:
    if "prompt_tokens" in usage:
        return read_usage(usage)
    details = mapping(usage.get("input_token_details"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        audio_input_tokens=count(details.get("audio_tokens")),
    )
