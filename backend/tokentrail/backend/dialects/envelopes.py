"""Whole requests and responses around messages, as producers record them that do not take them apart.

{"messages": [...], "system": ...}          a request to OpenAI, Anthropic, Bedrock, Ollama; LangChain's inputs
{"input": ..., "instructions": ...}         a request to OpenAI's Responses
{"contents": [...], "config": {...}}        a request to Gemini
{"choices": [...]} {"candidates": [...]}    responses of OpenAI and Gemini
{"output": [...] | {"message": {}}}         responses of OpenAI's Responses and of Bedrock
{"generations": [[{"message": {}}]]}        LangChain's outputs
{"prompt": ...} {"completion": ...}         completions, and gateways
{"data": [{"embedding": [...]}]}            embeddings: nothing to keep
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_LISTS: Final = ("messages", "choices", "generations", "candidates", "contents")
_SYSTEM: Final = ("system", "systemInstruction", "system_instruction", "instructions")
_FINISH: Final = ("stop_reason", "stopReason", "finishReason", "finish_reason", "done_reason")
_PLAIN: Final = ("prompt", "input", "completion", "response", "output_text")
_OF_MESSAGES: Final = ("role", "parts", "lc", "tool_calls")
_EMBEDDINGS: Final = ("embedding", "embeddings", "data")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an object encloses."""

    body: object
    """Messages, or whatever stands for them."""
    system: object = None
    """The prompt that stands beside them."""
    finish_reason: str = ""
    """Of the last message, where the response and not the message tells it."""
    one_choice: bool = False
    """The body is items of one message."""


def open_envelope(raw: Mapping[str, object]) -> Envelope | None:
    """What `raw` encloses, or `None` when it is a message or a block itself."""
    for name in _LISTS:
        if isinstance(found := raw.get(name), list | tuple):
            return Envelope(found, _system(raw), _finish(raw))
    if any(name in raw for name in _OF_MESSAGES):
        return None
    if isinstance(output := raw.get("output"), str | list | Mapping) and "type" not in raw:
        return Envelope(output, None, _finish(raw), one_choice=isinstance(output, list))
    if isinstance(content := raw.get("content"), Mapping) and "type" not in raw:
        return Envelope(content, None, _finish(raw))  # one of Gemini's candidates
    if isinstance(message := raw.get("message"), Mapping) and "lc" in message:
        return Envelope(message, None, _finish(raw, raw.get("generation_info")))
    if "type" in raw or "content" in raw or "message" in raw:
        return None
    if len(raw) == 1 and raw.get("output", "") is None:
        return Envelope([])  # LangSmith's, of a run that failed
    for name in _PLAIN:
        if isinstance(found := raw.get(name), str | list | Mapping):
            return Envelope(found, _system(raw), _finish(raw))
    # Vectors: what is left of such a response says nothing about the call.
    return Envelope([]) if any(_holds_vectors(raw.get(name)) for name in _EMBEDDINGS) else None


def _holds_vectors(value: object) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    first = value[0]
    return isinstance(first, int | float | list) or (isinstance(first, Mapping) and "embedding" in first)


def _system(raw: Mapping[str, object]) -> object:
    config = raw.get("config")
    for source in (raw, config if isinstance(config, Mapping) else {}):
        for name in _SYSTEM:
            if (found := source.get(name)) is not None:
                return found
    return None


def _finish(*sources: object) -> str:
    for source in sources:
        for name in _FINISH:
            if isinstance(source, Mapping) and isinstance(reason := source.get(name), str) and reason:
                return reason
    return ""
