"""OpenAI Embeddings (https://platform.openai.com/docs/api-reference/embeddings).

    request   {"model", "input": text | [text] | tokens, "dimensions", "encoding_format"}
    response  {"object": "list", "model", "data": [{"embedding": ...}], "usage": {"prompt_tokens", "total_tokens"}}

Never streamed. The vectors are not looked at. Deviations read here, as of 2026-11: `output_dimension` and
`output_dtype` (Mistral); pairs of `image` and `text` as input (Azure AI Inference, `/images/embeddings`).
"""

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Part
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
from tokentrail.instrumentation.wire._json import Json, first_count, integer, mapping, sequence, text
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage


class OpenAIEmbeddings:
    """The wire format."""

    name = "openai_embeddings"
    operation = genai.Operation.EMBEDDINGS
    routes: tuple[Route, ...] = (Route("/embeddings"),)

    def recognises(self, body: Json) -> bool:
        """A model and an input."""
        return isinstance(body.get("model"), str) and isinstance(body.get("input"), (str, list))

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes: dict[str, AttributeValue] = {}
        for name in ("dimensions", "output_dimension"):
            if (dimensions := integer(body.get(name))) is not None:
                attributes[genai.EMBEDDINGS_DIMENSION_COUNT] = dimensions
        if encodings := [word for name in ("encoding_format", "output_dtype") if (word := text(body.get(name)))]:
            attributes[genai.REQUEST_ENCODING_FORMATS] = encodings
        return Request(text(body.get("model")), False, attributes, text(body.get("user")))

    def read_content(self, body: Json) -> RequestContent:
        """The texts and images to embed, one message each; token arrays are left out."""
        value = body.get("input")
        found = map(_read_input, [value] if isinstance(value, str) else sequence(value))
        return RequestContent(messages=[content.message("user", parts) for parts in found if parts])

    def reader(self, keep_content: bool) -> "EmbeddingsReader":
        """A reader for one response; vectors are no content worth keeping."""
        return EmbeddingsReader()


class EmbeddingsReader:
    """Reads one response of the format."""

    def __init__(self) -> None:
        self._model = ""
        self._usage = Usage()
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """The endpoint does not stream: nothing is read."""
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._model = text(body.get("model"))
        usage = mapping(body.get("usage"))
        self._usage = Usage(input_tokens=first_count(usage.get("prompt_tokens"), usage.get("total_tokens")))
        self._error = read_error(body)
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        return Response(model=self._model, usage=self._usage, error=self._error, complete=self._complete)


def _read_input(item: object) -> list[Part]:
    if isinstance(item, str):
        return [content.text(item)]
    words, image = text(mapping(item).get("text")), text(mapping(item).get("image"))
    parts = [content.text(words)] if words else []
    return [*parts, content.media("image", image)] if image else parts
