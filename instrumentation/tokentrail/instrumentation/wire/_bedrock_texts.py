"""Bodies of the model families on Bedrock that have a format of their own, as `invoke` sends and gives them.

    Titan       {"inputText", "textGenerationConfig"}        {"results": [{"outputText", "tokenCount",
                stream {"outputText", "index"}                 "completionReason"}], "inputTextTokenCount"}
    Claude 2    {"prompt", "max_tokens_to_sample"}           {"completion", "stop_reason"}
    Command     {"prompt", "p", "k"}                         {"generations": [{"text", "finish_reason"}]}
                                                      stream {"text", "is_finished", "finish_reason"}
    Command R   {"message", "chat_history", "preamble"}      {"text", "tool_calls", "finish_reason"}
                                                      stream {"event_type", "text" | "tool_calls" | "finish_reason"}
    Llama       {"prompt", "max_gen_len"}                    {"generation", "*_token_count", "stop_reason"}
    Mistral     {"prompt", "max_tokens"}                     {"outputs": [{"text", "stop_reason"}]}
    Jurassic    {"prompt", "maxTokens"}                      {"completions": [{"data": {"text"}, "finishReason"}]}

Chunks have the shape of the whole answer where nothing else is said. Source: the families' pages below
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html (read 2026-11).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part, TextBuffer
from tokentrail.instrumentation.wire._base import Request, RequestContent
from tokentrail.instrumentation.wire._json import (
    Json,
    count,
    first_count,
    index,
    integer,
    mapping,
    sequence,
    text,
    total_count,
)
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    **dict.fromkeys(("top_p", "topP", "p"), (genai.REQUEST_TOP_P, float)),
    **dict.fromkeys(("top_k", "k"), (genai.REQUEST_TOP_K, int)),
    **dict.fromkeys(
        ("max_tokens", "max_gen_len", "max_tokens_to_sample", "maxTokens", "maxTokenCount"),
        (genai.REQUEST_MAX_TOKENS, int),
    ),
    "frequency_penalty": (genai.REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (genai.REQUEST_PRESENCE_PENALTY, float),
    "seed": (genai.REQUEST_SEED, int),
}
_STOPS: Final = ("stop_sequences", "stopSequences", "stop")
_LIMITS: Final = frozenset({"temperature", "textGenerationConfig", *_SETTINGS})
"""Beside a prompt, a setting tells a request from somebody's own."""
_ROLES: Final = {"USER": "user", "CHATBOT": "assistant", "SYSTEM": "system", "TOOL": "tool"}


def recognises(body: Json) -> bool:
    """True when `body` is a request of one of these families."""
    prompt = body.get("prompt") or body.get("inputText") or body.get("message")
    return isinstance(prompt, str) and bool(body.keys() & _LIMITS)


def read_request(body: Json) -> Request:
    """Settings of a request; the model is in its path."""
    settings = mapping(body.get("textGenerationConfig")) or body
    attributes = read_settings(settings, _SETTINGS)
    for name in _STOPS:
        if stop := [item for item in sequence(settings.get(name)) if isinstance(item, str)]:
            attributes[genai.REQUEST_STOP_SEQUENCES] = stop
    choices = integer(body.get("num_generations")) or integer(body.get("numResults")) or 1
    if choices != 1:
        attributes[genai.REQUEST_CHOICE_COUNT] = choices
    return Request(attributes=attributes)


def read_content(body: Json) -> RequestContent:
    """The prompt of a request, or Command R's messages, instructions and tools."""
    prompt = text(body.get("prompt")) or text(body.get("inputText"))
    if prompt:
        return RequestContent([content.message("user", [content.text(prompt)])])
    messages = [_read_turn(mapping(item)) for item in sequence(body.get("chat_history"))]
    if asked := text(body.get("message")):
        messages.append(content.message("user", [content.text(asked)]))
    if answers := [content.tool_response("", item.get("outputs")) for item in _objects(body.get("tool_results"))]:
        messages.append(content.message("tool", answers))
    preamble = text(body.get("preamble"))
    tools = [{"type": "function", "name": text(tool.get("name"))} for tool in _objects(body.get("tools"))]
    return RequestContent(messages, [content.text(preamble)] if preamble else (), tools)


def _read_turn(turn: Json) -> Message:
    role = text(turn.get("role"))
    parts: list[Part] = [content.text(said)] if (said := text(turn.get("message"))) else []
    parts += [_read_call(call) for call in _objects(turn.get("tool_calls"))]
    parts += [content.tool_response("", item.get("outputs")) for item in _objects(turn.get("tool_results"))]
    return content.message(_ROLES.get(role, role.lower()), parts)


def _read_call(call: Json) -> Part:
    return content.tool_call("", text(call.get("name")), call.get("parameters"))


class _Piece(NamedTuple):
    """What a body or a chunk adds to one choice."""

    position: int
    text: str
    reason: object
    calls: list[Json]


@dataclass(slots=True)
class _Choice:
    reason: str = ""
    text: TextBuffer = field(default_factory=TextBuffer)
    calls: list[Json] = field(default_factory=list)


class Answer:
    """One answer of any of these families, as it arrives."""

    def __init__(self, keep_content: bool) -> None:
        self.id = ""
        self._keep_content = keep_content
        self._choices: dict[int, _Choice] = {}
        self._input_tokens: int | None = None
        self._output_tokens: int | None = None

    @property
    def complete(self) -> bool:
        """True when every choice that has begun has ended."""
        return bool(self._choices) and all(choice.reason for choice in self._choices.values())

    @property
    def usage(self) -> Usage:
        """As far as the bodies tell: those of Cohere and Mistral do not."""
        return Usage(self._input_tokens, self._output_tokens)

    @property
    def reasons(self) -> list[str]:
        """One for each choice, once any has ended."""
        choices = [self._choices[position] for position in sorted(self._choices)]
        return [choice.reason or finish.ERROR for choice in choices] if any(c.reason for c in choices) else []

    def read(self, body: Json) -> bool:
        """Take in a body or a chunk; true when it carries output."""
        self.id = text(body.get("id")) or text(body.get("response_id")) or self.id
        self._read_counts(body)
        carries_output = False
        for piece in _pieces(body):
            choice = self._choices.setdefault(piece.position, _Choice())
            choice.reason = finish.canonical(text(piece.reason)) or choice.reason
            if self._keep_content:
                choice.text.append(piece.text)
                choice.calls = piece.calls or choice.calls
            carries_output |= bool(piece.text or piece.calls)
        return carries_output

    def messages(self) -> list[Message]:
        """The choices as messages; none when content is not kept."""
        return [_message(self._choices[at]) for at in sorted(self._choices)] if self._keep_content else []

    def _read_counts(self, body: Json) -> None:
        # Llama's chunks have a running count, of which the last may leave the input out.
        given = first_count(body.get("prompt_token_count"), body.get("inputTextTokenCount"))
        made = first_count(body.get("generation_token_count"), body.get("totalOutputTextTokenCount"))
        if made is None and (results := _results(body)):
            made = total_count(0, *(count(item.get("tokenCount")) for item in results))
        self._input_tokens = given if given is not None else self._input_tokens
        self._output_tokens = made if made is not None else self._output_tokens


def _message(choice: _Choice) -> Message:
    parts: list[Part] = [content.text(str(choice.text))] if choice.text else []
    parts += [_read_call(call) for call in choice.calls]
    return {**content.message("assistant", parts), "finish_reason": choice.reason or finish.ERROR}


def _pieces(body: Json) -> Iterator[_Piece]:
    """What `body` adds to the choices, whatever family it is of."""
    for name, reason_name in (("generations", "finish_reason"), ("outputs", "stop_reason")):
        for position, item in enumerate(_objects(body.get(name))):
            yield _Piece(position, text(item.get("text")), item.get(reason_name), [])
    for position, item in enumerate(_results(body)):
        yield _Piece(position, text(item.get("outputText")), item.get("completionReason"), [])
    for position, item in enumerate(_objects(body.get("completions"))):
        said, reason = mapping(item.get("data")).get("text"), mapping(item.get("finishReason")).get("reason")
        yield _Piece(position, text(said), reason, [])
    for name in ("completion", "generation"):
        if name in body:
            yield _Piece(0, text(body.get(name)), body.get("stop_reason"), [])
    if "outputText" in body:
        yield _Piece(index(body.get("index")), text(body.get("outputText")), body.get("completionReason"), [])
    if "text" in body or "event_type" in body or "is_finished" in body or "tool_calls" in body:
        yield _Piece(index(body.get("index")), text(body.get("text")), _cohere_reason(body), _cohere_calls(body))


def _results(body: Json) -> list[Json]:
    """Titan's answers; rerankers call something else so."""
    return [item for item in _objects(body.get("results")) if "outputText" in item]


def _cohere_reason(body: Json) -> object:
    return body.get("finish_reason") or mapping(body.get("response")).get("finish_reason")


def _cohere_calls(body: Json) -> list[Json]:
    """Tool calls of Command R; the end of a stream repeats them, and counts for nothing new."""
    return _objects(body.get("tool_calls"))


def _objects(value: object) -> list[Json]:
    return [mapping(item) for item in sequence(value)]
