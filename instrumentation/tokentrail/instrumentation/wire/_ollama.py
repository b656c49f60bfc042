"""What Ollama's endpoints have in common (https://docs.ollama.com/api).

    request   {"model", "options": {"temperature", "num_predict", ...}, "format", "think", "stream": true, "keep_alive"}
    response  {"model", "done", "done_reason", "prompt_eval_count", "eval_count", "load_duration", ...}

Durations are nanoseconds. A stream is lines of such objects; the last one has the counts.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part, TextBuffer
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import AttributeValue, ProviderError, Response, Route
from tokentrail.instrumentation.wire._errors import read_error
from tokentrail.instrumentation.wire._json import Json, first_count, integer, mapping, parse, sequence, text
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import finish, genai, providers
from tokentrail.semconv.usage import Usage

_OPTIONS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "top_p": (genai.REQUEST_TOP_P, float),
    "top_k": (genai.REQUEST_TOP_K, int),
    "num_predict": (genai.REQUEST_MAX_TOKENS, int),
    "frequency_penalty": (genai.REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (genai.REQUEST_PRESENCE_PENALTY, float),
    "seed": (genai.REQUEST_SEED, int),
}
_WITHOUT_GENERATION = frozenset({"load", "unload"})
"""Reasons of answers to requests without messages or prompt, which put a model into memory or take it out."""


def served_at(path: str) -> tuple[Route, ...]:
    """`path` at Ollama, and anywhere else where the body looks like its own: the paths are common ones."""
    return Route(path, providers=frozenset({providers.OLLAMA})), Route(path, judged=True)


def read_request_settings(body: Json) -> dict[str, AttributeValue]:
    """Span attributes of the settings of a chat or a completion."""
    options = mapping(body.get("options"))
    attributes = read_settings(options, _OPTIONS)
    if (limit := attributes.get(genai.REQUEST_MAX_TOKENS)) is not None and isinstance(limit, int) and limit < 0:
        del attributes[genai.REQUEST_MAX_TOKENS]  # -1 and -2 are no limits
    stop = options.get("stop")
    if words := [stop] if isinstance(stop, str) else [item for item in sequence(stop) if isinstance(item, str)]:
        attributes[genai.REQUEST_STOP_SEQUENCES] = words
    if effort := text(body.get("think")):
        attributes[genai.REQUEST_REASONING_LEVEL] = effort
    if body.get("format") == "json" or mapping(body.get("format")):
        attributes[genai.OUTPUT_TYPE] = "json"
    return attributes


def wants_stream(body: Json) -> bool:
    """True unless the request says otherwise: Ollama streams by default."""
    return body.get("stream") is not False


def read_images(value: object) -> list[Part]:
    """Images of a message or prompt: base64 without a media type."""
    return [content.blob("image", item) for item in sequence(value) if isinstance(item, str)]


def is_mere_output(line: bytes) -> bool:
    """True for a line of a stream that goes on with its text or reasoning and says nothing else, judged by its bytes.

    Quotes in a text are escaped, so these are field names; those in the arguments of a tool call are ruled out with
    it. A server that writes its JSON with spaces has its lines parsed.
    """
    return b'"done":false' in line and b'"tool_calls"' not in line and b'"error"' not in line


class Progress:
    """What the answers of all endpoints say beside their output."""

    __slots__ = ("_input", "_load_ns", "_output", "complete", "error", "model", "reason")

    def __init__(self) -> None:
        self.model = ""
        self.reason = ""
        """In Ollama's word."""
        self.error: ProviderError | None = None
        self.complete = False
        self._input: int | None = None
        self._output: int | None = None
        self._load_ns: int | None = None

    def read(self, answer: Json) -> None:
        """Take in a plain answer, or one line of a stream."""
        self.model = text(answer.get("model")) or self.model
        if "error" in answer:
            self.error = read_error(answer) or self.error
        if answer.get("done") is True:
            self.complete = True
            # Servers before 0.1.38 do not say why they are done; the one reason there was is the model's own.
            self.reason = text(answer.get("done_reason")) or finish.STOP
        self._input = first_count(answer.get("prompt_eval_count"), self._input)
        self._output = first_count(answer.get("eval_count"), self._output)
        load_ns = integer(answer.get("load_duration"))
        self._load_ns = self._load_ns if load_ns is None else load_ns

    @property
    def finish_reason(self) -> str:
        """In the conventions' word; empty while there is none."""
        return finish.canonical(self.reason)

    @property
    def usage(self) -> Usage:
        """Counts of the last line. Loading a model takes none, and the server leaves out what is 0."""
        if self.reason in _WITHOUT_GENERATION:
            return Usage(input_tokens=0, output_tokens=0)
        return Usage(input_tokens=self._input, output_tokens=self._output)

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """Span attributes of the answer."""
        return {} if self._load_ns is None else {genai.LOAD_DURATION: self._load_ns / 1e9}


class AnswerReader(ABC):
    """Reads one response of an endpoint that generates text; the endpoints differ in where they put it."""

    def __init__(self, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._progress = Progress()
        self._text = TextBuffer()
        self._reasoning = TextBuffer()
        self._answered = False
        """Whether there is an answer at all, an empty one included."""
        self._carried_output = False

    @abstractmethod
    def _take(self, answer: Json) -> bool:
        """Take in the output of a plain answer, or of one line of a stream; true when there is some."""

    @abstractmethod
    def _further_parts(self) -> list[Part]:
        """What the message has behind its reasoning and its text."""

    def feed_event(self, event: Event) -> bool:
        """Take in a line; true when it carries output."""
        if self._carried_output and not self._keep_content and is_mere_output(event.data):
            return True
        carries_output = self._read(mapping(parse(event.data)))
        self._carried_output = self._carried_output or carries_output
        return carries_output

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read(body)
        self._progress.complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        progress = self._progress
        reason = progress.finish_reason
        return Response(
            model=progress.model,
            finish_reasons=[reason] if reason else (),
            usage=progress.usage,
            attributes=progress.attributes,
            error=progress.error,
            complete=progress.complete,
            output=[self._output(reason)] if self._keep_content and self._answered else (),
        )

    def _read(self, answer: Json) -> bool:
        self._progress.read(answer)
        return self._take(answer)

    def _keep(self, words: str, thoughts: str) -> None:
        if self._keep_content:
            self._text.append(words)
            self._reasoning.append(thoughts)

    def _output(self, reason: str) -> Message:
        parts = [content.reasoning(str(self._reasoning))] if self._reasoning else []
        if self._text:
            parts.append(content.text(str(self._text)))
        message = content.message("assistant", [*parts, *self._further_parts()])
        return {**message, "finish_reason": reason or finish.ERROR}
