"""What Cohere's endpoints have in common (https://docs.cohere.com/reference/about).

    {"billed_units": {"input_tokens", "output_tokens", "search_units", "images", "image_tokens"},
     "tokens": {"input_tokens", "output_tokens"}, "cached_tokens"}      `meta`, or `usage` of the second chat API
    {"id", "message": "invalid api token"}                              an error, plain or as an event of a stream

`billed_units` is what is paid for; `tokens` has Cohere's own additions to the prompt as well. The conventions want what
is billed.
"""

from collections.abc import Mapping

from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire._base import AttributeValue, ProviderError, Response, Route
from tokentrail.instrumentation.wire._errors import read_error
from tokentrail.instrumentation.wire._json import Json, count, first_count, mapping, sequence, text, total_count
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import genai, providers
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

_SETTINGS: Mapping[str, tuple[str, type]] = {
    "temperature": (genai.REQUEST_TEMPERATURE, float),
    "p": (genai.REQUEST_TOP_P, float),
    "k": (genai.REQUEST_TOP_K, int),
    "max_tokens": (genai.REQUEST_MAX_TOKENS, int),
    "frequency_penalty": (genai.REQUEST_FREQUENCY_PENALTY, float),
    "presence_penalty": (genai.REQUEST_PRESENCE_PENALTY, float),
    "seed": (genai.REQUEST_SEED, int),
}


PROVIDERS = frozenset({providers.COHERE, providers.AZURE_INFERENCE})
"""Cohere, and Azure, which sells its models."""


def served_at(path: str) -> tuple[Route, ...]:
    """`path` at Cohere and Azure, and anywhere else where the body looks like Cohere's."""
    return Route(path, providers=PROVIDERS), Route(path, judged=True)


def read_chat_settings(body: Json) -> dict[str, AttributeValue]:
    """Span attributes of the settings that both chat APIs have."""
    attributes = read_settings(body, _SETTINGS)
    if stop := [item for item in sequence(body.get("stop_sequences")) if isinstance(item, str)]:
        attributes[genai.REQUEST_STOP_SEQUENCES] = stop
    output_type = text(mapping(body.get("response_format")).get("type"))
    if output_type in ("json_object", "text"):
        attributes[genai.OUTPUT_TYPE] = output_type.removesuffix("_object")
    return attributes


def read_usage(holder: Json) -> Usage:
    """Billed tokens, each that is not told as the tokens processed; `holder` is `meta` or `usage`."""
    billed, tokens = mapping(holder.get("billed_units")), mapping(holder.get("tokens"))
    image_tokens, text_tokens = count(billed.get("image_tokens")), count(billed.get("text_tokens"))
    input_tokens = first_count(billed.get("input_tokens"), tokens.get("input_tokens"))
    apart = total_count(image_tokens, text_tokens)
    if apart is not None and input_tokens != NOT_A_COUNT and (apart == NOT_A_COUNT or apart > (input_tokens or 0)):
        input_tokens = apart  # whether the total is told beside its parts is not documented
    cached = count(holder.get("cached_tokens"))
    return Usage(
        input_tokens=input_tokens,
        output_tokens=first_count(billed.get("output_tokens"), tokens.get("output_tokens")),
        # Counted among all tokens: more of them than were billed are no part of what was.
        cache_read_tokens=cached if cached is not None and cached <= max(input_tokens or 0, 0) else None,
        image_input_tokens=image_tokens,
    )


def read_units(meta: Json) -> dict[str, AttributeValue]:
    """Span attributes of what is billed by other units than tokens."""
    billed = mapping(meta.get("billed_units"))
    return read_settings(
        billed, {"search_units": (genai.USAGE_SEARCH_UNITS, int), "images": (genai.USAGE_BILLED_IMAGES, int)}
    )


def read_failure(body: Json) -> ProviderError | None:
    """The error that a plain body or an event tells of, or `None`."""
    if message := text(body.get("message")):
        return ProviderError("", message)
    return read_error(body)


class UnitsReader:
    """Reads one response of an endpoint that generates nothing: an id, and what is billed."""

    def __init__(self) -> None:
        self._id = ""
        self._meta: Json = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """The endpoint does not stream: nothing is read."""
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._error = read_failure(body)
        if self._error is None:
            self._id = text(body.get("id"))
            self._meta = mapping(body.get("meta"))
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        return Response(
            id=self._id,
            usage=read_usage(self._meta),
            attributes=read_units(self._meta),
            error=self._error,
            complete=self._complete,
        )
