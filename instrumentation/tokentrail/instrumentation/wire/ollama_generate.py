"""Ollama's completions (https://docs.ollama.com/api/generate).

    request   {"model", "prompt", "suffix", "system", "images", "options", "stream": true}
    response  {"model", "response", "thinking", "done": true, "done_reason", "context": [tokens], ...}
    stream    {"model", "response": "Hel", "done": false}           lines of JSON, unless "stream": false
              {"model", "response": "", "done": true, "prompt_eval_count", "eval_count"}
    error     {"error": "message"}                                  also as a line of a stream

A request without a prompt loads the model, or takes it out of memory: it is recorded with the reason `load` or
`unload` and without tokens. Image models answer with an `image`, which is not kept, after lines that tell how far they
are.
"""

from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Part
from tokentrail.instrumentation.wire._base import Request, RequestContent, Route
from tokentrail.instrumentation.wire._json import Json, text
from tokentrail.instrumentation.wire._ollama import (
    AnswerReader,
    read_images,
    read_request_settings,
    served_at,
    wants_stream,
)
from tokentrail.semconv import genai

_FIELDS: Final = frozenset(
    {
        *("model", "prompt", "suffix", "system", "template", "context", "raw", "images", "stream", "format", "options"),
        *("keep_alive", "think", "truncate", "shift", "logprobs", "top_logprobs", "width", "height", "steps"),
        *("debug_render_only", "_debug_render_only"),
    }
)
"""Fields of a request (api/types.go, 2026-11, and the SDK's of 0.6)."""


class OllamaGenerate:
    """The wire format."""

    name = "ollama_generate"
    operation = genai.Operation.TEXT_COMPLETION
    routes: tuple[Route, ...] = served_at("/api/generate")

    def recognises(self, body: Json) -> bool:
        """A model, a prompt, and nothing that Ollama does not know: the path is a common one."""
        is_prompt = isinstance(body.get("model"), str) and isinstance(body.get("prompt"), str)
        return is_prompt and _FIELDS.issuperset(body)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        return Request(text(body.get("model")), wants_stream(body), read_request_settings(body))

    def read_content(self, body: Json) -> RequestContent:
        """The prompt, what is to come after the answer, and the system prompt of a request."""
        parts = [content.text(words)] if (words := text(body.get("prompt"))) else []
        messages = [content.message("user", found)] if (found := [*parts, *read_images(body.get("images"))]) else []
        if suffix := text(body.get("suffix")):
            messages.append(content.message("suffix", [content.text(suffix)]))
        system = [content.text(words)] if (words := text(body.get("system"))) else []
        return RequestContent(messages, system)

    def reader(self, keep_content: bool) -> "OllamaGenerateReader":
        """A reader for one response."""
        return OllamaGenerateReader(keep_content)


class OllamaGenerateReader(AnswerReader):
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        super().__init__(keep_content)
        self._has_image = False

    def _take(self, answer: Json) -> bool:
        words, thoughts, image = text(answer.get("response")), text(answer.get("thinking")), text(answer.get("image"))
        self._answered = self._answered or bool("response" in answer or thoughts or image)
        self._has_image = self._has_image or bool(image)
        self._keep(words, thoughts)
        return bool(words or thoughts or image)

    def _further_parts(self) -> list[Part]:
        return [{"type": "image"}] if self._has_image else []
