"""Cohere's rerank, both versions (https://docs.cohere.com/reference/rerank).

    request   {"model", "query", "documents": [text | {"text"}], "top_n"}
    response  {"id", "results": [{"index", "relevance_score"}], "meta": {"billed_units": {"search_units": 1}}}

Billed by search units, not tokens. Others serve a rerank at the same paths with bodies of their own, so this one is
looked for at Cohere's hosts and at Azure's, which sells its models, only.
"""

from tokentrail.instrumentation import content
from tokentrail.instrumentation.wire._base import Request, RequestContent, Route
from tokentrail.instrumentation.wire._cohere import PROVIDERS, UnitsReader
from tokentrail.instrumentation.wire._json import Json, mapping, sequence, text
from tokentrail.semconv import genai


class CohereRerank:
    """The wire format."""

    name = "cohere_rerank"
    operation = genai.Operation.RERANK
    routes: tuple[Route, ...] = (
        Route("/v1/rerank", providers=PROVIDERS),
        Route("/v2/rerank", providers=PROVIDERS),
    )

    def recognises(self, body: Json) -> bool:
        """A model, a query and documents."""
        is_query = isinstance(body.get("model"), str) and isinstance(body.get("query"), str)
        return is_query and isinstance(body.get("documents"), list)

    def read_request(self, body: Json) -> Request:
        """The model; the conventions have no attributes for the rest."""
        return Request(text(body.get("model")))

    def read_content(self, body: Json) -> RequestContent:
        """The query, and the documents in their order, as parts of one message."""
        documents = (
            item if isinstance(item, str) else text(mapping(item).get("text"))
            for item in sequence(body.get("documents"))
        )
        parts = [content.text(text(body.get("query"))), *map(content.text, documents)]
        return RequestContent(messages=[content.message("user", parts)])

    def reader(self, keep_content: bool) -> UnitsReader:
        """A reader for one response; scores are no content worth keeping."""
        return UnitsReader()
