"""OpenAI Images: generations, edits, variations (https://platform.openai.com/docs/api-reference/images).

    request   {"model", "prompt", "n", "size", "stream", "partial_images", ...}     edits also as multipart/form-data
    response  {"created", "data": [{"b64_json"} | {"url"}],
               "usage": {"input_tokens", "output_tokens", "total_tokens", "input_tokens_details": {"image_tokens",
                         "text_tokens"}, "output_tokens_details": {...}}}
    stream    event: image_generation.partial_image    data: {"type", "b64_json", "partial_image_index"}
              event: image_generation.completed        data: {"type", "b64_json", "usage"}       image_edit.* for edits

The usage is that of GPT image models; where it does not say what the output is, it is the image. Models billed by the
image (DALL·E, and those of other vendors at this path) tell none, so that the number of images is all there is. xAI
tells what the call cost. Images are never kept: with content on, their size and hash are.
"""

from collections.abc import Mapping, Sequence
from typing import Final

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
from tokentrail.instrumentation.wire._form import typed
from tokentrail.instrumentation.wire._json import Json, count, integer, mapping, parse, sequence, text
from tokentrail.instrumentation.wire._openai import read_reported_usd
from tokentrail.instrumentation.wire._settings import read_settings
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_SETTINGS: Mapping[str, tuple[str, type]] = {"seed": (genai.REQUEST_SEED, int)}
_TYPED: Final = frozenset({"n", "stream", "seed"})
_PARTIAL: Final = b".partial_image"
_HEAD_BYTES: Final = 200
"""Where the type of an event stands, if it is before the image."""


class OpenAIImages:
    """The wire format."""

    name = "openai_images"
    operation = genai.Operation.GENERATE_CONTENT
    routes: tuple[Route, ...] = (
        Route("/images/generations"),
        Route("/images/edits"),
        Route("/images/variations"),
    )

    def recognises(self, body: Json) -> bool:
        """A model and a prompt."""
        return isinstance(body.get("model"), str) and isinstance(body.get("prompt"), str)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        body = typed(body, _TYPED)
        attributes = read_settings(body, _SETTINGS)
        attributes[genai.OUTPUT_TYPE] = "image"
        if (images := integer(body.get("n"))) is not None and images != 1:
            attributes[genai.REQUEST_CHOICE_COUNT] = images
        return Request(text(body.get("model")), body.get("stream") is True, attributes, text(body.get("user")))

    def read_content(self, body: Json) -> RequestContent:
        """The prompt, and the images to edit where they are told by URL or id; files of a form are not seen."""
        parts = [content.text(words)] if (words := text(body.get("prompt"))) else []
        given = body.get("images") or body.get("image")
        for item in sequence(given) if isinstance(given, list) else [given]:
            parts += _read_reference(item)
        return RequestContent(messages=[content.message("user", parts)] if parts else [])

    def reader(self, keep_content: bool) -> "ImagesReader":
        """A reader for one response."""
        return ImagesReader(keep_content)


class ImagesReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._model = ""
        self._images: list[Part] = []
        self._count = 0
        self._usage: Json = {}
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries an image, be it a preview. Previews are not parsed."""
        if event.name.endswith("partial_image") or _PARTIAL in event.data[:_HEAD_BYTES]:
            return True
        body = mapping(parse(event.data))
        kind = text(body.get("type"))
        if kind.endswith(".partial_image"):
            return True
        carries_image = bool(body.get("b64_json"))
        self._read(body, [body] if carries_image else [])
        self._complete = self._complete or kind.endswith(".completed")
        return carries_image

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read(body, sequence(body.get("data")))
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        return Response(
            model=self._model,
            usage=_read_usage(self._usage),
            attributes=self._attributes(),
            error=self._error,
            reported_usd=read_reported_usd(self._usage),
            complete=self._complete,
            output=[content.message("assistant", self._images)] if self._images else (),
        )

    def _attributes(self) -> dict[str, AttributeValue]:
        return {genai.USAGE_IMAGE_COUNT: self._count} if self._count else {}

    def _read(self, body: Json, images: Sequence[object]) -> None:
        self._error = read_error(body) or self._error
        self._model = text(body.get("model")) or self._model
        self._usage = mapping(body.get("usage")) or self._usage
        found = [mapping(item) for item in images]
        self._count += len(found)
        if self._keep_content:
            mime_type = f"image/{kind}" if (kind := text(body.get("output_format"))) else ""
            self._images += [part for item in found if (part := _read_image(item, mime_type))]


def _read_image(item: Json, mime_type: str) -> Part | None:
    if data := text(item.get("b64_json")):
        return content.blob("image", data, mime_type)
    url = text(item.get("url"))
    return content.media("image", url, mime_type) if url else None


def _read_reference(item: object) -> list[Part]:
    """An image to edit: by its URL, as a JSON request tells it, or by the id of a file."""
    reference = mapping(item)
    if url := text(item) or text(reference.get("image_url")) or text(reference.get("url")):
        return [content.media("image", url)]
    return [content.file("image", file_id)] if (file_id := text(reference.get("file_id"))) else []


def _read_usage(usage: Json) -> Usage:
    details = mapping(usage.get("input_tokens_details"))
    output_details = mapping(usage.get("output_tokens_details"))
    output_tokens = count(usage.get("output_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=output_tokens,
        cache_read_tokens=count(details.get("cached_tokens")),
        image_input_tokens=count(details.get("image_tokens")),
        image_output_tokens=count(output_details.get("image_tokens")) if output_details else output_tokens,
    )
