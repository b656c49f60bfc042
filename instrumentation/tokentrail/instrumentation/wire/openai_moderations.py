"""OpenAI Moderations (https://platform.openai.com/docs/api-reference/moderations).

    request   {"model", "input": text | [text] | [{"type": "text" | "image_url", ...}]}
    response  {"id", "model", "results": [{"flagged", "categories", "category_scores"}]}

Free of charge at OpenAI, which tells no usage: the number of results is told in its place. Mistral has it at the same
path, and at `/chat/moderations` for whole conversations, with a usage and a price. Never streamed. The model may be
left out. What was found is not recorded.
"""

from collections.abc import Iterator

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import ProviderError, Request, RequestContent, Response, Route
from tokentrail.instrumentation.wire._errors import read_error
from tokentrail.instrumentation.wire._json import Json, mapping, sequence, text
from tokentrail.instrumentation.wire._openai import read_usage
from tokentrail.semconv import genai


class OpenAIModerations:
    """The wire format."""

    name = "openai_moderations"
    operation = genai.Operation.MODERATION
    routes: tuple[Route, ...] = (Route("/moderations"),)

    def recognises(self, body: Json) -> bool:
        """A model and an input: without a model it might be anybody's."""
        return isinstance(body.get("model"), str) and isinstance(body.get("input"), (str, list))

    def read_request(self, body: Json) -> Request:
        """The model; the conventions have no attributes for the rest."""
        return Request(text(body.get("model")))

    def read_content(self, body: Json) -> RequestContent:
        """The texts to judge, one message each, or the text and the images that are judged together."""
        return RequestContent(messages=list(_read_input(body.get("input"))))

    def reader(self, keep_content: bool) -> "ModerationsReader":
        """A reader for one response; the verdicts are no content."""
        return ModerationsReader()


class ModerationsReader:
    """Reads one response of the format."""

    def __init__(self) -> None:
        self._body: Json = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """The endpoint does not stream: nothing is read."""
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._body = body
        self._error = read_error(body)
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        results = sequence(self._body.get("results"))
        return Response(
            id=text(self._body.get("id")),
            model=text(self._body.get("model")),
            usage=read_usage(mapping(self._body.get("usage"))),
            attributes={genai.USAGE_MODERATED_INPUTS: len(results)} if results else {},
            error=self._error,
            complete=self._complete,
        )


def _read_input(value: object) -> Iterator[Message]:
    if isinstance(value, str):
        yield content.message("user", [content.text(value)])
        return
    together: list[Part] = []
    for item in sequence(value):
        if isinstance(item, str):
            yield content.message("user", [content.text(item)])
        elif words := text(mapping(item).get("text")):
            together.append(content.text(words))
        elif url := text(mapping(mapping(item).get("image_url")).get("url")):
            together.append(content.media("image", url))
        elif words := text(mapping(item).get("content")):
            yield content.message(text(mapping(item).get("role")) or "user", [content.text(words)])
    if together:
        yield content.message("user", together)
