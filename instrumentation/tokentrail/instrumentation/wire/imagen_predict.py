"""Imagen's predict (https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api).

    request   {"instances": [{"prompt", "image"}], "parameters": {"sampleCount", "seed", ...}}    model: in the path
    response  {"predictions": [{"bytesBase64Encoded", "mimeType"} | {"raiFilteredReason"}]}

On Vertex AI and on the Gemini API. No usage is reported: images are paid by their number, which has no list price here,
so that such a call has a span and no cost. Never streamed.
"""

from collections.abc import Sequence
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
from tokentrail.instrumentation.wire._gemini import get
from tokentrail.instrumentation.wire._json import Json, integer, mapping, sequence, text
from tokentrail.semconv import finish, genai

_DATA: Final = "bytesBase64Encoded"


class ImagenPredict:
    """The wire format."""

    name = "imagen_predict"
    operation = genai.Operation.GENERATE_CONTENT
    routes: tuple[Route, ...] = (Route("/models/{model}:predict", judged=True),)

    def recognises(self, body: Json) -> bool:
        """Instances with a prompt."""
        instances = sequence(body.get("instances"))
        return bool(instances) and all(isinstance(mapping(item).get("prompt"), str) for item in instances)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        parameters = mapping(body.get("parameters"))
        attributes: dict[str, AttributeValue] = {genai.OUTPUT_TYPE: "image"}
        if (count := integer(get(parameters, "sampleCount"))) is not None and count != 1:
            attributes[genai.REQUEST_CHOICE_COUNT] = count
        if (seed := integer(parameters.get("seed"))) is not None:
            attributes[genai.REQUEST_SEED] = seed
        return Request(attributes=attributes)

    def read_content(self, body: Json) -> RequestContent:
        """The prompts, each with the image it starts from."""
        return RequestContent([_read_instance(mapping(item)) for item in sequence(body.get("instances"))])

    def reader(self, keep_content: bool) -> "PredictReader":
        """A reader for one response."""
        return PredictReader(keep_content)


class PredictReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._reasons: list[str] = []
        self._output: Sequence[Message] = ()
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """The endpoint does not stream: nothing is read."""
        return False

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._error = read_error(body)
        predictions = [mapping(item) for item in sequence(body.get("predictions"))]
        self._reasons = [finish.STOP if item.get(_DATA) else finish.CONTENT_FILTER for item in predictions]
        if self._keep_content:
            self._output = [
                {**_read_prediction(item), "finish_reason": reason}
                for item, reason in zip(predictions, self._reasons, strict=True)
            ]
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        return Response(
            finish_reasons=self._reasons, error=self._error, complete=self._complete, output=list(self._output)
        )


def _read_instance(instance: Json) -> Message:
    parts = [content.text(text(instance.get("prompt")))]
    if data := text(get(mapping(instance.get("image")), _DATA)):
        parts.append(content.blob("image", data, text(get(mapping(instance.get("image")), "mimeType"))))
    return content.message("user", parts)


def _read_prediction(prediction: Json) -> Message:
    data = text(prediction.get(_DATA))
    parts = [content.blob("image", data, text(prediction.get("mimeType")))] if data else []
    return content.message("assistant", parts)
