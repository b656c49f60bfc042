"""OpenAI Completions, the legacy endpoint (https://platform.openai.com/docs/api-reference/completions).

    request   {"model", "prompt": text | [text] | tokens | [tokens], "suffix", "stream", "n", "max_tokens", ...}
    response  {"id", "model", "choices": [{"index", "text", "finish_reason"}], "usage", "system_fingerprint"}
    stream    data: {"id", "model", "choices": [{"index", "text", "finish_reason"}], "usage": null}
              data: {"choices": [], "usage": {...}}      only when asked for
              data: [DONE]

Also of vLLM, LM Studio, llama.cpp, Together, Fireworks, DeepSeek (beta) and OpenRouter, whose text may be empty with
`reasoning` beside it. Several prompts have their choices one after another, `n` for each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part, TextBuffer
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
from tokentrail.instrumentation.wire._json import Json, index, integer, mapping, parse, sequence, text
from tokentrail.instrumentation.wire._openai import (
    find_usage,
    read_reported_usd,
    read_stop,
    read_timings,
    read_usage,
)
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import finish, genai

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "top_p": (genai.REQUEST_TOP_P, float),
    "top_k": (genai.REQUEST_TOP_K, int),
    "max_tokens": (genai.REQUEST_MAX_TOKENS, int),
    "frequency_penalty": (genai.REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (genai.REQUEST_PRESENCE_PENALTY, float),
    "seed": (genai.REQUEST_SEED, int),
}


class OpenAICompletions:
    """The wire format."""

    name = "openai_completions"
    operation = genai.Operation.TEXT_COMPLETION
    routes: tuple[Route, ...] = (Route("/completions"),)

    def recognises(self, body: Json) -> bool:
        """A model and a prompt, and no messages: those are of the chat, whose path ends alike."""
        is_prompt = isinstance(body.get("model"), str) and isinstance(body.get("prompt"), (str, list))
        return is_prompt and "messages" not in body

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes = read_settings(body, _SETTINGS)
        if stop := read_stop(body.get("stop")):
            attributes[genai.REQUEST_STOP_SEQUENCES] = stop
        if (choices := integer(body.get("n"))) is not None and choices != 1:
            attributes[genai.REQUEST_CHOICE_COUNT] = choices
        return Request(text(body.get("model")), body.get("stream") is True, attributes, text(body.get("user")))

    def read_content(self, body: Json) -> RequestContent:
        """The prompts, one message each, and what is to come after the answer; token arrays are left out."""
        given = body.get("prompt")
        prompts = [given] if isinstance(given, str) else [item for item in sequence(given) if isinstance(item, str)]
        messages = [content.message("user", [content.text(prompt)]) for prompt in prompts]
        if suffix := text(body.get("suffix")):
            messages.append(content.message("suffix", [content.text(suffix)]))
        return RequestContent(messages=messages)

    def reader(self, keep_content: bool) -> "CompletionsReader":
        """A reader for one response."""
        return CompletionsReader(keep_content)


@dataclass(slots=True)
class _Choice:
    reason: str = ""
    text: TextBuffer = field(default_factory=TextBuffer)
    reasoning: TextBuffer = field(default_factory=TextBuffer)


class CompletionsReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self.news = None if keep_content else _news
        self._keep_content = keep_content
        self._id = ""
        self._model = ""
        self._fingerprint = ""
        self._usage: Json = {}
        self._timings: Json = {}
        self._choices: dict[int, _Choice] = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in a chunk; true when it carries output."""
        if event.data == b"[DONE]":
            self._complete = True
            return False
        chunk = mapping(parse(event.data))
        return self._append_text(chunk) or self._read(chunk)

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read(body)
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        attributes: dict[str, AttributeValue] = {}
        if self._fingerprint:
            attributes[genai.OPENAI_RESPONSE_SYSTEM_FINGERPRINT] = self._fingerprint
        choices = [self._choices[position] for position in sorted(self._choices)]
        finished = any(choice.reason for choice in choices)
        return Response(
            id=self._id,
            model=self._model,
            finish_reasons=[finish.canonical(choice.reason or finish.ERROR) for choice in choices] if finished else [],
            usage=read_usage(self._usage) if self._usage else read_timings(self._timings),
            attributes=attributes,
            error=self._error,
            reported_usd=read_reported_usd(self._usage),
            complete=self._complete,
            output=[_output_message(choice) for choice in choices] if self._keep_content else (),
        )

    def _append_text(self, chunk: Json) -> bool:
        """Take in a chunk that is a piece of text and nothing else, as nearly all are; false when there is more to it.

        The long way comes to the same; this is half of its time.
        """
        choices = chunk.get("choices")
        if type(choices) is not list or len(choices) != 1 or chunk.get("usage") or "error" in chunk:
            return False
        item = choices[0]
        if type(item) is not dict or item.get("finish_reason") or item.get("reasoning") or item.get("usage"):
            return False
        if type(position := item.get("index")) is not int or (choice := self._choices.get(position)) is None:
            return False
        if type(words := item.get("text")) is not str or not words:
            return False
        if self._keep_content:
            choice.text.append(words)
        return True

    def _read(self, body: Json) -> bool:
        self._error = read_error(body) or self._error
        self._id = text(body.get("id")) or self._id
        self._model = text(body.get("model")) or self._model
        self._fingerprint = text(body.get("system_fingerprint")) or self._fingerprint
        self._usage = find_usage(body) or self._usage
        self._timings = mapping(body.get("timings")) or self._timings
        carries_output = False
        for item in map(mapping, sequence(body.get("choices"))):
            choice = self._choices.setdefault(index(item.get("index")), _Choice())
            choice.reason = text(item.get("finish_reason")) or choice.reason
            words, thoughts = text(item.get("text")), text(item.get("reasoning"))
            carries_output = carries_output or bool(words or thoughts)
            if self._keep_content:
                choice.text.append(words)
                choice.reasoning.append(thoughts)
        return carries_output


def _news(events: Iterable[bytes]) -> list[bytes]:
    """The chunks that are not of the first choice with text only.

    A quote inside a JSON string is escaped, so these are fields, not text. Written without spaces, as OpenAI, vLLM and
    llama.cpp do; any other chunk is read.
    """
    return [
        event
        for event in events
        if b'"finish_reason":null' not in event
        or b'"index":0' not in event
        or b'"usage":{' in event
        or b'"error":' in event
    ]


def _output_message(choice: _Choice) -> Message:
    parts: list[Part] = [content.reasoning(str(choice.reasoning))] if choice.reasoning else []
    if choice.text:
        parts.append(content.text(str(choice.text)))
    return {**content.message("assistant", parts), "finish_reason": finish.canonical(choice.reason or finish.ERROR)}
