"""Bedrock InvokeModel (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html).

    request   POST /model/{model}/invoke, /model/{model}/invoke-with-response-stream     a body of the model's family
    response  a body of the model's family; the counts in headers, see `_bedrock`
    stream    chunk {"bytes": base64 of a chunk of the model's family}; in an AWS event stream

Claude's bodies are those of Anthropic's own API, those of gpt-oss, DeepSeek, Qwen, Jamba, Palmyra and Mistral's chat
are those of OpenAI's, less the model: their wire formats are handed in. Nova's are in `_bedrock_messages`, all others
in `_bedrock_texts`. One path serves chat, text completion, embeddings and reranking: the format that owns the path
tells by model and body which of its variants a request is of.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.wire import _bedrock_messages as nova
from tokentrail.instrumentation.wire import _bedrock_texts as texts
from tokentrail.instrumentation.wire._base import (
    AttributeValue,
    ProviderError,
    Reader,
    Request,
    RequestContent,
    Response,
    Route,
    WireFormat,
)
from tokentrail.instrumentation.wire._bedrock import (
    METRICS,
    Headers,
    read_body_error,
    read_exception,
    read_metrics,
)
from tokentrail.instrumentation.wire._json import Json, integer, mapping, parse, sequence, text
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_METRICS: Final = METRICS.encode()
_ANTHROPIC_EVENTS: Final = ("message", "content_block", "ping", "error")
_NOVA_KEYS: Final = frozenset(
    {"output", "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
)


def _encoded(start: bytes) -> bytes:
    """How a chunk begins whose base64 payload begins with `start`, as far as whole groups of three bytes go."""
    return b'{"bytes":"' + b64encode(start[: len(start) // 3 * 3])


_SKIPPED: Final = tuple(_encoded(b'{"type":"content_block_' + kind) for kind in (b'delta"', b'stop"')) + tuple(
    _encoded(b'{"contentBlock' + kind) for kind in (b'Delta":', b'Stop":')
)
"""Chunks of Claude and of Nova that have output and nothing else, or nothing at all: for readers of the rest."""


class BedrockInvoke:
    """The wire format: chat, and the owner of the path."""

    name = "bedrock_invoke"
    operation = genai.Operation.CHAT
    routes: tuple[Route, ...] = (
        Route("/model/{model}/invoke"),
        Route("/model/{model}/invoke-with-response-stream", stream=True),
    )

    def __init__(
        self,
        anthropic: WireFormat,
        openai: WireFormat,
        text_completion: WireFormat,
        embeddings: WireFormat,
        rerank: WireFormat,
    ) -> None:
        self._anthropic, self._openai = anthropic, openai
        self._text_completion, self._embeddings, self._rerank = text_completion, embeddings, rerank

    def serving(self, model: str, body: bytes) -> WireFormat:
        """The variant of this format that `body` is of, as far as a glance tells."""
        if "embed" in model:
            return self._embeddings
        if "rerank" in model:
            return self._rerank
        # A quote inside a JSON string is escaped, so that these are keys.
        if b'"messages"' in body or b'"message"' in body:
            return self
        return self._text_completion if b'"prompt"' in body or b'"inputText"' in body else self

    def recognises(self, body: Json) -> bool:
        """A request of any family: the path is this format's for all of them."""
        messages = sequence(body.get("messages"))
        is_chat = bool(messages) and all(isinstance(mapping(item).get("role"), str) for item in messages)
        others = (self._text_completion, self._embeddings, self._rerank)
        return is_chat or texts.recognises(body) or any(other.recognises(body) for other in others)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        family = self._family(body)
        if family is None:
            return nova.read_request(body) if _is_nova(body) else texts.read_request(body)
        request = family.read_request(body)
        attributes = {name: value for name, value in request.attributes.items() if not name.startswith("openai.")}
        return replace(request, model="", stream=False, attributes=attributes)

    def read_content(self, body: Json) -> RequestContent:
        """Messages of a request."""
        family = self._family(body)
        if family is None:
            return nova.read_content(body) if _is_nova(body) else texts.read_content(body)
        return family.read_content(body)

    def reader(self, keep_content: bool) -> "InvokeReader":
        """A reader for one response, of whatever family."""
        return InvokeReader(keep_content, self._anthropic, self._openai)

    def _family(self, body: Json) -> WireFormat | None:
        """The other vendor's format that `body` is of."""
        if "anthropic_version" in body:
            return self._anthropic
        return self._openai if "messages" in body and not _is_nova(body) else None


class BedrockText:
    """The variant of models that complete a prompt."""

    name = "bedrock_invoke_text"
    operation = genai.Operation.TEXT_COMPLETION
    routes: tuple[Route, ...] = ()

    def recognises(self, body: Json) -> bool:
        """A prompt with a setting."""
        return "messages" not in body and texts.recognises(body)

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        return texts.read_request(body)

    def read_content(self, body: Json) -> RequestContent:
        """The prompt, as a message."""
        return texts.read_content(body)

    def reader(self, keep_content: bool) -> "InvokeReader":
        """A reader for one response."""
        return InvokeReader(keep_content)


class BedrockEmbeddings:
    """The variant of models that embed: Titan's, Cohere's and Nova's."""

    name = "bedrock_invoke_embeddings"
    operation = genai.Operation.EMBEDDINGS
    routes: tuple[Route, ...] = ()

    def recognises(self, body: Json) -> bool:
        """What to embed, with how to: Titan's text alone may be anybody's."""
        return (
            (isinstance(body.get("inputText"), str) and bool(body.keys() & {"dimensions", "embeddingConfig"}))
            or (isinstance(body.get("texts"), list) and "input_type" in body)
            or "singleEmbeddingParams" in body
        )

    def read_request(self, body: Json) -> Request:
        """Settings of a request."""
        attributes: dict[str, AttributeValue] = {}
        single = mapping(body.get("singleEmbeddingParams"))
        for size in (
            body.get("dimensions"),
            body.get("output_dimension"),
            mapping(body.get("embeddingConfig")).get("outputEmbeddingLength"),
            single.get("embeddingDimension"),
        ):
            if (dimensions := integer(size)) is not None:
                attributes[genai.EMBEDDINGS_DIMENSION_COUNT] = dimensions
        formats = sequence(body.get("embeddingTypes")) or sequence(body.get("embedding_types"))
        if named := [item for item in formats if isinstance(item, str)]:
            attributes[genai.REQUEST_ENCODING_FORMATS] = named
        return Request(attributes=attributes)

    def read_content(self, body: Json) -> RequestContent:
        """The texts to embed, one message each; images are left out."""
        single = mapping(mapping(body.get("singleEmbeddingParams")).get("text")).get("value")
        found = [body.get("inputText"), *sequence(body.get("texts")), single]
        asked = [item for item in found if isinstance(item, str) and item]
        return RequestContent([content.message("user", [content.text(item)]) for item in asked])

    def reader(self, keep_content: bool) -> "InvokeReader":
        """A reader for one response; vectors are no content worth keeping."""
        return InvokeReader(keep_content=False)


class BedrockRerank:
    """The variant of models that rank documents by a query: Cohere's and Amazon's. They count nothing."""

    name = "bedrock_invoke_rerank"
    operation = genai.Operation.RERANK
    routes: tuple[Route, ...] = ()

    def recognises(self, body: Json) -> bool:
        """A query and documents."""
        return isinstance(body.get("query"), str) and isinstance(body.get("documents"), list)

    def read_request(self, body: Json) -> Request:
        """Nothing: a request has no setting that has a name."""
        return Request()

    def read_content(self, body: Json) -> RequestContent:
        """The query; the documents are left out."""
        return RequestContent([content.message("user", [content.text(text(body.get("query")))])])

    def reader(self, keep_content: bool) -> "InvokeReader":
        """A reader for one response; ranks are no content."""
        return InvokeReader(keep_content=False)


class InvokeReader:
    """Reads one response of any family: the first thing that arrives tells which."""

    def __init__(
        self, keep_content: bool, anthropic: WireFormat | None = None, openai: WireFormat | None = None
    ) -> None:
        self._keep_content = keep_content
        self._anthropic, self._openai = anthropic, openai
        self._saw_output = False
        self._headers = Headers()
        self._metrics: Usage | None = None
        self._other: Reader | None = None
        self._nova: nova.Answer | None = None
        self._texts = texts.Answer(keep_content)
        self._error: ProviderError | None = None
        self._is_whole = False

    def feed_headers(self, lookup: Callable[[str], str | None]) -> None:
        """Take in the response's headers: counts of tokens, and the type of an error, may be in them alone."""
        self._headers.read(lookup)

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        if self._saw_output and not self._keep_content and event.data.startswith(_SKIPPED):
            return True
        if (error := read_exception(event)) is not None:
            self._error = error
            return False
        data = b64decode(text(mapping(parse(event.data)).get("bytes")))
        chunk = mapping(parse(data))
        if _METRICS in data:
            self._metrics = read_metrics(mapping(chunk.get(METRICS)))
        carries_output = self._read_chunk(chunk, data)
        self._saw_output |= carries_output
        return carries_output

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._is_whole = True
        self._error = read_body_error(body)
        if self._error is not None:
            return
        if (other := self._reader_of(body)) is not None:
            other.feed_body(_as_openai(body, "message") if "choices" in body else body)
        elif body.keys() & _NOVA_KEYS:
            self._nova_answer().read_body(body)
        else:
            self._texts.read(body)

    def result(self) -> Response:
        """What has arrived so far."""
        found = self._found()
        tier = found.service_tier or self._headers.tier
        # Bodies first: for Claude's tool calls Bedrock's own metrics leave a part of the output out.
        usage = found.usage
        if usage.is_empty:
            usage = self._headers.usage if self._metrics is None else self._metrics
        return replace(
            found,
            usage=usage,
            service_tier=tier,
            attributes={genai.RESPONSE_SERVICE_TIER: tier} if tier else {},
            error=self._headers.error(self._error or found.error),
            complete=self._is_whole or found.complete or self._metrics is not None,
        )

    def _found(self) -> Response:
        if self._other is not None:
            return self._other.result()
        if self._nova is not None:
            answer = self._nova
            reasons: Sequence[str] = [answer.reason] if answer.reason else ()
            return Response(
                finish_reasons=reasons,
                usage=answer.usage,
                service_tier=answer.tier,
                complete=answer.complete,
                output=answer.messages(),
            )
        told = self._texts
        return Response(
            id=told.id,
            finish_reasons=told.reasons,
            usage=told.usage,
            complete=told.complete,
            output=told.messages(),
        )

    def _read_chunk(self, chunk: Json, data: bytes) -> bool:
        if (other := self._reader_of(chunk)) is not None:
            return other.feed_event(Event("", _as_openai_chunk(chunk, data) if "choices" in chunk else data))
        if names := chunk.keys() & _NOVA_KEYS:
            answer = self._nova_answer()
            carry = {answer.read_event(name, mapping(chunk.get(name))) for name in names}
            return True in carry
        return self._texts.read(chunk)

    def _reader_of(self, body: Json) -> Reader | None:
        """The reader of another vendor's format that `body` is of."""
        form = None
        if text(body.get("type")).startswith(_ANTHROPIC_EVENTS):
            form = self._anthropic
        elif "choices" in body:
            form = self._openai
        if self._other is None and form is not None:
            self._other = form.reader(self._keep_content)
        return None if form is None else self._other

    def _nova_answer(self) -> nova.Answer:
        if self._nova is None:
            self._nova = nova.Answer(self._keep_content, joins_texts=True)
        return self._nova


def _is_nova(body: Json) -> bool:
    return "inferenceConfig" in body or "schemaVersion" in body or nova.has_messages(body)


def _as_openai(body: Json, answer: str) -> Json:
    """`body` with OpenAI's names for what older Mistral models call otherwise: each choice has `answer`."""
    choices = [dict(mapping(item)) for item in sequence(body.get("choices"))]
    for choice in choices:
        if "stop_reason" in choice and not choice.get("finish_reason"):
            choice["finish_reason"] = choice["stop_reason"]
        if answer not in choice and "message" in choice:
            choice[answer] = choice["message"]
    return {**body, "choices": choices}


def _as_openai_chunk(chunk: Json, data: bytes) -> bytes:
    if b'"stop_reason"' not in data and b'"message"' not in data:
        return data
    return json.dumps(_as_openai(chunk, "delta")).encode()
