"""Rerank, as vendors and servers other than Cohere have it, each with small differences.

    request   {"model", "query", "documents": [text | {"text"}], "top_n" | "top_k"}
    response  {"id", "model", "results" | "data": [{"index", "relevance_score"}], "usage": {"total_tokens"}}

Jina (https://api.jina.ai/redoc), Voyage (https://docs.voyageai.com/reference/reranker-api), Together, vLLM, LM Studio,
llama.cpp and Infinity tell `usage.total_tokens`, some `prompt_tokens` too; SiliconFlow `meta.tokens`, and gateways to
Cohere its `meta.billed_units`; Pinecone `usage.rerank_units`. Never streamed; the results are not looked at. What is
sent to Cohere's own hosts is not this format's.
"""

from tokentrail.instrumentation import content
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire import _cohere
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


class GenericRerank:
    """The wire format."""

    name = "generic_rerank"
    operation = genai.Operation.RERANK
    routes: tuple[Route, ...] = (Route("/rerank"),)

    def recognises(self, body: Json) -> bool:
        """A model, a query and documents."""
        is_query = isinstance(body.get("model"), str) and isinstance(body.get("query"), (str, dict))
        return is_query and isinstance(body.get("documents"), list)

    def read_request(self, body: Json) -> Request:
        """The model; the conventions have no attributes for the rest."""
        return Request(text(body.get("model")))

    def read_content(self, body: Json) -> RequestContent:
        """The query, and the documents in their order, as parts of one message."""
        asked = [body.get("query"), *sequence(body.get("documents"))]
        words = (item if isinstance(item, str) else text(mapping(item).get("text")) for item in asked)
        return RequestContent(messages=[content.message("user", list(map(content.text, words)))])

    def reader(self, keep_content: bool) -> "GenericRerankReader":
        """A reader for one response; scores are no content worth keeping."""
        return GenericRerankReader()


class GenericRerankReader:
    """Reads one response of the format."""

    def __init__(self) -> None:
        self._id = ""
        self._model = ""
        self._usage = Usage()
        self._attributes: dict[str, AttributeValue] = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """The endpoint does not stream: nothing is read."""
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._id = text(body.get("id"))
        self._model = text(body.get("model"))
        usage, meta = mapping(body.get("usage")), mapping(body.get("meta"))
        self._attributes = _cohere.read_units(meta)
        if (units := integer(usage.get("rerank_units"))) is not None:
            self._attributes[genai.USAGE_SEARCH_UNITS] = units
        self._usage = _read_usage(usage) if usage else _cohere.read_usage(meta)
        self._error = read_error(body)
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        return Response(
            id=self._id,
            model=self._model,
            usage=self._usage,
            attributes=self._attributes,
            error=self._error,
            complete=self._complete,
        )


def _read_usage(usage: Json) -> Usage:
    return Usage(input_tokens=first_count(usage.get("prompt_tokens"), usage.get("total_tokens")))
