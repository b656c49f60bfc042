"""OpenAI speech (https://platform.openai.com/docs/api-reference/audio/createSpeech).

    request   {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format": "audio" | "sse"}
    response  the audio                                                           audio/mpeg and the like
    stream    data: {"type": "speech.audio.delta", "audio": base64}               only for "stream_format": "sse"
              data: {"type": "speech.audio.done", "usage": {"input_tokens", "output_tokens", "total_tokens"}}

Audio as such tells no usage. It is counted as it goes by and never kept. The number of characters to speak, which some
models are billed by, is of the request. Also Groq's, Together's, xAI's and vLLM's.
"""

from collections.abc import Mapping
from typing import Final

from tokentrail.instrumentation import content
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
from tokentrail.instrumentation.wire._json import Json, count, mapping, parse, text
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_DELTA: Final = b"speech.audio.delta"
_HEAD_BYTES: Final = 100
"""Where the type of an event stands, if it is before the audio."""


class OpenAISpeech:
    """The wire format."""

    name = "openai_speech"
    operation = genai.Operation.GENERATE_CONTENT
    routes: tuple[Route, ...] = (Route("/audio/speech"),)

    def recognises(self, body: Json) -> bool:
        """A model and a text to speak."""
        return isinstance(body.get("model"), str) and isinstance(body.get("input"), str)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes: dict[str, AttributeValue] = {genai.OUTPUT_TYPE: "speech"}
        if words := text(body.get("input")):
            attributes[genai.USAGE_CHARACTERS] = len(words)
        return Request(text(body.get("model")), body.get("stream_format") == "sse", attributes)

    def read_content(self, body: Json) -> RequestContent:
        """The text to speak, and how to."""
        instructions = text(body.get("instructions"))
        return RequestContent(
            messages=[content.message("user", [content.text(text(body.get("input")))])],
            system=[content.text(instructions)] if instructions else (),
        )

    def reader(self, keep_content: bool) -> "SpeechReader":
        """A reader for one response."""
        return SpeechReader(keep_content)


class SpeechReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._audio: Mapping[str, object] | None = None
        self._usage: Json = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries audio, which is not parsed."""
        if _DELTA in event.data[:_HEAD_BYTES]:
            return True
        body = mapping(parse(event.data))
        self._error = read_error(body) or self._error
        self._usage = mapping(body.get("usage")) or self._usage
        self._complete = self._complete or body.get("type") == "speech.audio.done"
        return body.get("type") == "speech.audio.delta"

    def feed_body(self, body: Json) -> None:
        """Take in a plain response that is JSON: an error."""
        self._error = read_error(body)
        self._complete = True

    def wants(self, media_type: str) -> bool:
        """False: audio is not kept."""
        return False

    def feed_raw(self, media_type: str, body: bytes, size: int) -> None:
        """Take note of `size` bytes of audio."""
        if media_type.startswith(("audio/", "application/octet-stream")):
            self._audio = {"type": "blob", "modality": "audio", "content": "", "bytes": size, "mime_type": media_type}
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        output_tokens = count(self._usage.get("output_tokens"))
        return Response(
            usage=Usage(
                input_tokens=count(self._usage.get("input_tokens")),
                output_tokens=output_tokens,
                audio_output_tokens=output_tokens,
            ),
            error=self._error,
            complete=self._complete,
            output=[content.message("assistant", [self._audio])] if self._keep_content and self._audio else (),
        )
