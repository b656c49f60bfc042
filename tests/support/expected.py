"""What a span must say about a recorded exchange, read from the recorded bytes by plain `json`.

This is the second reading of the bodies: it shares no code with the product, so that a mistake has to be made twice to
pass. It reads the formats as their vendors document them and fails loudly on what it does not know. Each vendor has a
module `expected_<vendor>`, which says where its formats are documented.
"""

from collections.abc import Callable, Mapping
from typing import Final

from support import (
    expected_anthropic,
    expected_bedrock,
    expected_cohere,
    expected_gemini,
    expected_ollama,
    expected_openai,
)
from support.expected_values import Choice, Expected, ToolCall
from support.wire import Exchange, Format

__all__ = ["Choice", "Expected", "ToolCall", "read"]

_READERS: Final[Mapping[Format, Callable[[Exchange], Expected]]] = {
    Format.CHAT: expected_openai.read,
    Format.RESPONSES: expected_openai.read,
    Format.EMBEDDINGS: expected_openai.read,
    Format.COMPLETIONS: expected_openai.read,
    Format.PROMPT: expected_openai.read,
    Format.MESSAGES: expected_anthropic.read,
    Format.COMPLETE: expected_anthropic.read,
    Format.RERANK: expected_cohere.read,
    Format.OLLAMA_CHAT: expected_ollama.read,
    Format.GENERATE: expected_gemini.read,
    Format.STREAM_GENERATE: expected_gemini.read,
    Format.BATCH_EMBED: expected_gemini.read,
    Format.INTERACTIONS: expected_gemini.read,
    Format.CONVERSE: expected_bedrock.read,
    Format.CONVERSE_STREAM: expected_bedrock.read,
    Format.INVOKE: expected_bedrock.read,
    Format.INVOKE_STREAM: expected_bedrock.read,
}


def read(exchange: Exchange) -> Expected:
    """Read what `exchange` says, from nothing but its recorded bytes."""
    return _READERS[exchange.format](exchange)
