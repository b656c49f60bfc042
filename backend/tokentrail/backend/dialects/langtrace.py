"""Langtrace: its instrumentations of providers, vector stores and frameworks, in the conventions' names of 2024.

    langtrace.service.type            llm, vectordb, framework
    gen_ai.operation.name             chat, embed, rerank, ...
    gen_ai.usage.cached_tokens        inside the input; not told of streams
    gen_ai.usage.output_tokens = 0    of embeddings
    gen_ai.request.tools              a list of JSON
    url.full                          the base URL of the client

Messages are in span events, as the conventions had them (`content`).
Source: langtrace-python-sdk 3.8.18 (November 2026).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.figures import counts
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.tokens import read_usage
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_PREFIX: Final = "langtrace."
_TYPE: Final = "langtrace.service.type"
_KINDS: Final = {"vectordb": kinds.RETRIEVAL, "framework": kinds.CHAIN}
_EMBED: Final = "embed"


class Langtrace:
    """The dialect."""

    name = "langtrace"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any attribute of its own."""
        return any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """What the span says in Langtrace's words."""
        attributes = span.attributes
        kind, operation = _identity(span)
        model = coerce.text(attributes, genai.RESPONSE_MODEL, genai.REQUEST_MODEL)
        host, port = _host(attributes) if kind in kinds.BILLABLE else ("", None)
        framed = frame(span)
        framed["server_address"] = framed["server_address"] or host
        return Row(
            **framed,
            kind=kind,
            operation=operation,
            provider=identity.provider(span, model, host=host, port=port) if kind in kinds.BILLABLE else "",
            request_model=coerce.text(attributes, genai.REQUEST_MODEL),
            response_model="",
            **counts(_usage(attributes, kind)),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID, "gen_ai.user"),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
            tools=_tools(attributes),
        )


def _identity(span: Span) -> tuple[str, str]:
    if kind := _KINDS.get(coerce.text(span.attributes, _TYPE).lower()):
        return kind, ""
    operation = identity.operation(span)
    operation = genai.Operation.EMBEDDINGS if operation == _EMBED else operation
    return kinds.kind_of(operation), operation


def _usage(attributes: Attributes, kind: str) -> Usage:
    usage = read_usage(attributes, cache_apart=False)
    return replace(usage, output_tokens=usage.output_tokens or None) if kind == kinds.EMBEDDING else usage


def _host(attributes: Attributes) -> tuple[str, int | None]:
    try:
        url = urlsplit(coerce.text(attributes, "url.full"))
        host, port = url.hostname or "", url.port
    except ValueError:
        return "", None
    return host, port


def _tools(attributes: Attributes) -> str:
    """Lists of JSON in a JSON list."""
    listed = coerce.texts(coerce.first(attributes, "gen_ai.request.tools"))
    return tools_json([coerce.opened(each) for each in listed])
