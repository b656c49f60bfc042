"""Cohere's embeddings, both versions (https://docs.cohere.com/reference/embed).

    request   {"model", "texts": [text] | "images": [data URL] | "inputs": [{"content": [{"type", ...}]}],
               "input_type", "output_dimension", "embedding_types": ["float"]}
    response  {"id", "embeddings": ..., "texts", "meta": {"billed_units": {"input_tokens" | "images" | "image_tokens"}}}

Never streamed; nothing names the model that answered. The vectors are not looked at.
"""

from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Part
from tokentrail.instrumentation.wire._base import (
    AttributeValue,
    Request,
    RequestContent,
    Route,
)
from tokentrail.instrumentation.wire._cohere import UnitsReader, served_at
from tokentrail.instrumentation.wire._json import Json, integer, mapping, sequence, text
from tokentrail.semconv import genai

_FIELDS: Final = frozenset(
    {
        *("model", "texts", "images", "inputs", "input_type", "embedding_types", "truncate", "max_tokens", "priority"),
        *("output_dimension", "compress", "compression_codebook"),
    }
)
"""Fields of a request (SDK 7.3, 2026-11)."""


class CohereEmbed:
    """The wire format."""

    name = "cohere_embed"
    operation = genai.Operation.EMBEDDINGS
    routes: tuple[Route, ...] = (*served_at("/v1/embed"), *served_at("/v2/embed"))

    def recognises(self, body: Json) -> bool:
        """A model, something to embed, and nothing that Cohere does not know."""
        has_input = any(isinstance(body.get(name), list) for name in ("texts", "images", "inputs"))
        return isinstance(body.get("model"), str) and has_input and _FIELDS.issuperset(body)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes: dict[str, AttributeValue] = {}
        if (dimensions := integer(body.get("output_dimension"))) is not None:
            attributes[genai.EMBEDDINGS_DIMENSION_COUNT] = dimensions
        if types := [item for item in sequence(body.get("embedding_types")) if isinstance(item, str)]:
            attributes[genai.REQUEST_ENCODING_FORMATS] = types
        return Request(text(body.get("model")), False, attributes)

    def read_content(self, body: Json) -> RequestContent:
        """What is to be embedded, one message for each vector."""
        found: list[list[Part]] = [
            [content.text(item)] for item in sequence(body.get("texts")) if isinstance(item, str)
        ]
        found += [[content.media("image", item)] for item in sequence(body.get("images")) if isinstance(item, str)]
        found += [_read_blocks(mapping(item).get("content")) for item in sequence(body.get("inputs"))]
        return RequestContent(messages=[content.message("user", parts) for parts in found])

    def reader(self, keep_content: bool) -> UnitsReader:
        """A reader for one response; vectors are no content worth keeping."""
        return UnitsReader()


def _read_blocks(value: object) -> list[Part]:
    parts: list[Part] = []
    for block in map(mapping, sequence(value)):
        if text(block.get("type")) == "image_url":
            parts.append(content.media("image", text(mapping(block.get("image_url")).get("url"))))
        else:
            parts.append(content.text(text(block.get("text"))))
    return parts
