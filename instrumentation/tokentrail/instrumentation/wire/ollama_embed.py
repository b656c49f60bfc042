"""Ollama's embeddings (https://docs.ollama.com/api/embed), and their first form (`/api/embeddings`, deprecated).

    request   {"model", "input": text | [text], "dimensions", "truncate"}     first form: {"model", "prompt": text}
    response  {"model", "embeddings": [[...]], "prompt_eval_count"}           first form: {"embedding": [...]}

Never streamed; the first form tells no tokens. The vectors are not looked at.
"""

from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import AttributeValue, Request, RequestContent, Response, Route
from tokentrail.instrumentation.wire._json import Json, integer, sequence, text
from tokentrail.instrumentation.wire._ollama import Progress, served_at
from tokentrail.semconv import genai

_FIELDS: Final = frozenset({"model", "input", "dimensions", "truncate", "options", "keep_alive"})
_FIRST_FIELDS: Final = frozenset({"model", "prompt", "options", "keep_alive"})
"""Fields of a request (api/types.go, 2026-11)."""


class OllamaEmbed:
    """The wire format."""

    name = "ollama_embed"
    operation = genai.Operation.EMBEDDINGS
    routes: tuple[Route, ...] = served_at("/api/embed")

    def recognises(self, body: Json) -> bool:
        """A model, texts, and nothing that Ollama does not know."""
        value = body.get("input")
        is_texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
        is_asked = isinstance(body.get("model"), str) and (isinstance(value, str) or is_texts)
        return is_asked and _FIELDS.issuperset(body)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes: dict[str, AttributeValue] = {}
        if (dimensions := integer(body.get("dimensions"))) is not None:
            attributes[genai.EMBEDDINGS_DIMENSION_COUNT] = dimensions
        return Request(text(body.get("model")), False, attributes)

    def read_content(self, body: Json) -> RequestContent:
        """The texts to embed, one message each."""
        value = body.get("input")
        texts = [value] if isinstance(value, str) else [item for item in sequence(value) if isinstance(item, str)]
        return RequestContent(messages=[content.message("user", [content.text(item)]) for item in texts])

    def reader(self, keep_content: bool) -> "OllamaEmbedReader":
        """A reader for one response; vectors are no content worth keeping."""
        return OllamaEmbedReader()


class OllamaEmbeddings:
    """The first form. At a host that no table knows, its path with an `input` is somebody's for clients of OpenAI."""

    name = "ollama_embeddings"
    operation = genai.Operation.EMBEDDINGS
    routes: tuple[Route, ...] = served_at("/api/embeddings")

    def recognises(self, body: Json) -> bool:
        """A model, a prompt, and nothing that Ollama does not know."""
        is_asked = isinstance(body.get("model"), str) and isinstance(body.get("prompt"), str)
        return is_asked and _FIRST_FIELDS.issuperset(body)

    def read_request(self, body: Json) -> Request:
        """The model; there are no settings."""
        return Request(text(body.get("model")))

    def read_content(self, body: Json) -> RequestContent:
        """The text to embed."""
        return RequestContent(messages=[content.message("user", [content.text(text(body.get("prompt")))])])

    def reader(self, keep_content: bool) -> "OllamaEmbedReader":
        """A reader for one response; vectors are no content worth keeping."""
        return OllamaEmbedReader()


class OllamaEmbedReader:
    """Reads one response of either form."""

    def __init__(self) -> None:
        self._progress = Progress()

    def feed_event(self, event: Event) -> bool:
        """The endpoint does not stream: nothing is read."""
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._progress.read(body)
        self._progress.complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        progress = self._progress
        return Response(
            model=progress.model,
            usage=progress.usage,
            attributes=progress.attributes,
            error=progress.error,
            complete=progress.complete,
        )
