"""OpenAI Embeddings: https://platform.openai.com/docs/api-reference/embeddings (read 2026-11).

    plain    {"object": "list", "data": [{"object": "embedding", "index", "embedding": [...] or base64}], "usage"}

There is no stream. The vectors are of unit length and depend on the text alone; close texts are not close vectors.
"""

import base64
import hashlib
import math
import random
import struct
from collections.abc import Iterator

from tokentrail.backend.demo.provider import request
from tokentrail.backend.demo.provider._base import Chunk, Json, Prompt, Reply
from tokentrail.semconv import providers

MAX_INPUTS = 2048
"""The vendor's limit of inputs in one request."""


class OpenAIEmbeddings:
    """The endpoint `/v1/embeddings`."""

    path = "/v1/embeddings"
    vendor = providers.OPENAI

    def new_response_id(self) -> str:
        """Empty: these responses have no id."""
        return ""

    def read(self, body: Json) -> Prompt:
        """The request. Raises `Refusal`."""
        form = body.get("encoding_format", "float")
        if form not in ("float", "base64"):
            raise request.invalid("Invalid 'encoding_format': expected 'float' or 'base64'.", "encoding_format")
        return Prompt(
            model=request.read_string(body, "model"),
            texts=_inputs(body),
            dimensions=request.read_count(body, "dimensions", 3072) or 0,
            base64=form == "base64",
        )

    def encode(self, reply: Reply) -> Json:
        """The answer."""
        return {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _vector(text, reply.dimensions, reply.prompt.base64),
                }
                for index, text in enumerate(reply.prompt.texts)
            ],
            "model": reply.model,
            "usage": {"prompt_tokens": reply.told.input_tokens, "total_tokens": reply.told.input_tokens},
        }

    def events(self, reply: Reply) -> Iterator[Chunk]:
        """Nothing: `read` never yields a streamed prompt."""
        return iter(())


def _inputs(body: Json) -> tuple[str, ...]:
    given = body.get("input")
    if isinstance(given, str) and given:
        return (given,)
    if not isinstance(given, list) or not given or len(given) > MAX_INPUTS:
        raise request.invalid(f"'input' must be a string or a list of 1 to {MAX_INPUTS} entries.", "input")
    if all(isinstance(item, int) for item in given):
        return (" ".join(map(str, given)),)
    if all(isinstance(item, str) and item for item in given):
        return tuple(given)
    if all(isinstance(item, list) and item for item in given):
        return tuple(" ".join(map(str, item)) for item in given)
    raise request.invalid("'input' entries must all be non-empty strings or lists of tokens.", "input")


def _vector(text: str, dimensions: int, as_base64: bool) -> list[float] | str:
    rng = random.Random(hashlib.sha256(text.encode()).digest())  # noqa: S311  an example, not a secret
    raw = [rng.gauss(0, 1) for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in raw))
    vector = [value / length for value in raw]
    if not as_base64:
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
