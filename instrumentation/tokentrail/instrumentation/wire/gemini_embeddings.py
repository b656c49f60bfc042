"""Embeddings of Google's models (https://ai.google.dev/api/embeddings), on the Gemini API and on Vertex AI.

    embedContent        {"content", "outputDimensionality"}          {"embedding", "usageMetadata"}
    batchEmbedContents  {"requests": [{"content", ...}]}             {"embeddings": [...], "usageMetadata"}
    predict             {"instances": [{"content": text}], "parameters"}
                        {"predictions": [{"embeddings": {"values", "statistics": {"token_count", "truncated"}}}]}

`predict` serves models of other kinds as well, which ask in instances of other shapes. Never streamed; the vectors are
not looked at. The Gemini API reports no usage for its first embedding models.
"""

from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message
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
from tokentrail.instrumentation.wire._gemini import get, read_message, read_usage
from tokentrail.instrumentation.wire._json import Json, first_count, integer, mapping, sequence, text, total_count
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_MEDIA: Final = ("image", "video")
"""What an instance of a multimodal model may hold beside its text."""


class GeminiEmbeddings:
    """The wire format."""

    name = "gemini_embeddings"
    operation = genai.Operation.EMBEDDINGS
    routes: tuple[Route, ...] = (
        Route("/models/{model}:embedContent"),
        Route("/models/{model}:batchEmbedContents"),
        Route("/models/{model}:predict", judged=True),
    )

    def recognises(self, body: Json) -> bool:
        """A content with parts, requests that have one each, or instances to embed."""
        if isinstance(mapping(body.get("content")).get("parts"), (list, dict)):
            return True
        if requests := sequence(body.get("requests")):
            return all(isinstance(mapping(item).get("content"), dict) for item in requests)
        instances = sequence(body.get("instances"))
        return bool(instances) and all(_is_to_embed(mapping(item)) for item in instances)

    def read_request(self, body: Json) -> Request:
        """Settings of a request; its model stands in the path."""
        first = mapping(next(iter(sequence(body.get("requests"))), None))
        attributes: dict[str, AttributeValue] = {}
        for holder in (body, first, mapping(body.get("parameters")), mapping(get(body, "embedContentConfig"))):
            if (dimensions := integer(get(holder, "outputDimensionality"))) is not None:
                attributes[genai.EMBEDDINGS_DIMENSION_COUNT] = dimensions
        return Request(attributes=attributes)

    def read_content(self, body: Json) -> RequestContent:
        """What is to be embedded, a message each."""
        messages = [read_message(mapping(item)) for item in (body.get("content"),) if item]
        messages += [read_message(mapping(mapping(item).get("content"))) for item in sequence(body.get("requests"))]
        messages += [_read_instance(mapping(item)) for item in sequence(body.get("instances"))]
        return RequestContent(messages)

    def reader(self, keep_content: bool) -> "EmbeddingsReader":
        """A reader for one response; vectors are no content worth keeping."""
        return EmbeddingsReader()


class EmbeddingsReader:
    """Reads one response of the format."""

    def __init__(self) -> None:
        self._usage = Usage()
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """The endpoint does not stream: nothing is read."""
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._error = read_error(body)
        usage = mapping(body.get("usageMetadata"))
        self._usage = read_usage(usage) if usage else Usage(input_tokens=_count_predicted(body))
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        return Response(usage=self._usage, error=self._error, complete=self._complete)


def _is_to_embed(instance: Json) -> bool:
    if isinstance(instance.get("content"), str):
        return True
    return "prompt" not in instance and any(instance.get(name) for name in ("text", *_MEDIA))


def _read_instance(instance: Json) -> Message:
    written = text(instance.get("content")) or text(instance.get("text"))
    parts = [content.text(written)] if written else []
    for modality in _MEDIA:
        if media := mapping(instance.get(modality)):
            data, mime_type = text(get(media, "bytesBase64Encoded")), text(get(media, "mimeType"))
            uri = text(get(media, "gcsUri"))
            parts.append(content.blob(modality, data, mime_type) if data else content.file(modality, uri))
    return content.message("user", parts)


def _count_predicted(body: Json) -> int | None:
    """The tokens of all predictions that count theirs."""
    found = []
    for prediction in sequence(body.get("predictions")):
        statistics = mapping(mapping(mapping(prediction).get("embeddings")).get("statistics"))
        found.append(first_count(statistics.get("token_count"), statistics.get("tokenCount")))
    return total_count(*found)
