"""Gemini's generateContent (https://ai.google.dev/api/generate-content), on the Gemini API and on Vertex AI.

    request   {"contents": [content], "systemInstruction", "tools", "generationConfig", ...}   the model is in the path
    response  {"candidates": [{"content", "finishReason", "index"}], "usageMetadata", "modelVersion", "responseId"}
    searched  {"candidates": [{"groundingMetadata": {"webSearchQueries": [text], "groundingChunks": [...]}}], ...}
    blocked   {"promptFeedback": {"blockReason"}, "usageMetadata", ...}
    stream    the same, as server-sent events with `alt=sse`, otherwise as the elements of one JSON array
    error     {"error": {"code": 400, "message", "status": "INVALID_ARGUMENT"}}

Every event repeats the usage as it is by then. Nothing marks the end of a stream but the finish reasons.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from tokentrail.instrumentation import content
from tokentrail.instrumentation.content import Message, Part, TextBuffer
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
from tokentrail.instrumentation.wire._gemini import (
    billed_searches,
    get,
    read_message,
    read_part,
    read_parts,
    read_settings,
    read_tier,
    read_tools,
    read_usage,
)
from tokentrail.instrumentation.wire._json import Json, index, integer, mapping, parse, sequence, text
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_OWNERS: Final = ("models", "tunedModels", "endpoints", "agents")
"""What may stand before the name of a model in the path. Tuned models of Vertex AI are called by their endpoint."""

_GEMINI_REASONS: Final = (
    *("", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
    *("MALFORMED_FUNCTION_CALL", "IMAGE_SAFETY", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
    *("IMAGE_PROHIBITED_CONTENT", "IMAGE_OTHER", "NO_IMAGE", "IMAGE_RECITATION"),
)
"""Finish reasons of the Gemini API by their numbers."""
_VERTEX_REASONS: Final = (
    *("", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
    *("MALFORMED_FUNCTION_CALL", "MODEL_ARMOR"),
)
"""Those of Vertex AI, whose numbers differ from the sixth on."""
_UNSPECIFIED: Final = "FINISH_REASON_UNSPECIFIED"
_TELLING: Final = re.compile(rb'"(?:finish|error"|prompt_?[Ff]eedback|grounding|index"\s*:\s*[1-9])')
"""In an event that brings more than output: an end, an error, what was searched for, or a further candidate."""
_QUERIES: Final = ("webSearchQueries", "imageSearchQueries")
"""What was searched for on the web. Queries of other tools (maps, one's own documents) have prices of their own."""


class GeminiGenerateContent:
    """The wire format."""

    name = "gemini_generate_content"
    operation = genai.Operation.GENERATE_CONTENT
    routes: tuple[Route, ...] = tuple(
        Route(f"/{owner}/{{model}}:{method}", stream)
        for owner in _OWNERS
        for method, stream in (("generateContent", False), ("streamGenerateContent", True))
    )

    def recognises(self, body: Json) -> bool:
        """A list of contents that are made of parts."""
        contents = body.get("contents")
        return (
            isinstance(contents, list)
            and bool(contents)
            and all(isinstance(mapping(item).get("parts"), (list, dict)) for item in contents)
        )

    def read_request(self, body: Json) -> Request:
        """Settings of a request; its model and whether it streams stand in the path."""
        return Request(attributes=read_settings(mapping(get(body, "generationConfig"))))

    def read_content(self, body: Json) -> RequestContent:
        """System instruction, contents and tools of a request."""
        contents = body.get("contents")
        items = sequence(contents) or ([contents] if contents else [])
        messages = [
            read_message(mapping(item)) if not isinstance(item, str) else content.message("user", read_parts(item))
            for item in items
        ]
        return RequestContent(messages, read_parts(get(body, "systemInstruction")), read_tools(body.get("tools")))

    def reader(self, keep_content: bool) -> "GenerateContentReader":
        """A reader for one response."""
        return GenerateContentReader(keep_content)


@dataclass(slots=True)
class _Candidate:
    """One of the answers."""

    reason: str = ""
    parts: list[Part] = field(default_factory=list)
    """Those that are whole."""
    written: TextBuffer | None = None
    """The text that arrives, when a text was the last to arrive."""
    is_thought: bool = False
    """Whether that text is a thought."""
    call: dict[str, object] | None = None
    """The function call that arrives in pieces."""

    def add(self, part: Json) -> None:
        """Take in a part of an event."""
        value = part.get("text")
        if isinstance(value, str):
            self._write(value, part.get("thought") is True)
            return
        if isinstance(call := part.get("functionCall"), dict) and self._add_to_call(call):
            return
        if (found := read_part(part)) is not None:
            self.close_text()
            self.parts.append(found)

    def close_text(self) -> None:
        """Make a part of the text that has arrived."""
        if self.written:
            written = str(self.written)
            self.parts.append(content.reasoning(written) if self.is_thought else content.text(written))
        self.written = None

    def output(self) -> list[Part]:
        """All parts so far, whole or not."""
        written = str(self.written or "")
        tail = [content.reasoning(written) if self.is_thought else content.text(written)] if written else []
        return [*self.parts, *tail]

    def _write(self, value: str, is_thought: bool) -> None:
        if not value:
            return
        if self.written is None or self.is_thought is not is_thought:
            self.close_text()
            self.written, self.is_thought = TextBuffer(), is_thought
        self.written.append(value)

    def _add_to_call(self, call: Json) -> bool:
        """Take in a piece of a call that Vertex AI streams by its arguments; false for a whole call.

        A piece names its argument by a JSON path; a string comes in several. Paths below the first level are kept
        flat, as they come.
        """
        if self.call is None:
            if "partialArgs" not in call and call.get("willContinue") is not True:
                return False
            self.close_text()
            self.call = {}
            self.parts.append(content.tool_call(text(call.get("id")), text(call.get("name")), self.call))
        for piece in map(mapping, sequence(call.get("partialArgs"))):
            name = text(piece.get("jsonPath")).removeprefix("$.")
            for kind in ("stringValue", "numberValue", "boolValue"):
                if (value := piece.get(kind)) is not None:
                    before = self.call.get(name)
                    joined = isinstance(before, str) and isinstance(value, str)
                    self.call[name] = f"{before}{value}" if joined else value
        if call.get("willContinue") is not True:
            self.call = None
        return True


class GenerateContentReader:
    """Reads one response of the format."""

    def __init__(self, keep_content: bool) -> None:
        self._keep_content = keep_content
        self._id = ""
        self._model = ""
        self._usage: Json = {}
        self._tier = ""
        self._latest: bytes = b""
        """An event that was not looked into, for it says no more than the usage so far; the next replaces it."""
        self._candidates: dict[int, _Candidate] = {}
        self._queries: set[str] = set()
        self._is_grounded = False
        self._has_output = False
        self._blocked = False
        self._error: ProviderError | None = None
        self._complete = False

    def feed_event(self, event: Event) -> bool:
        """Take in an event; true when it carries output."""
        data = event.data
        if self._has_output and not self._keep_content and not _TELLING.search(data):
            if b"TokenCount" in data:
                self._latest = data
            return True
        self._latest = b""
        return self._read(mapping(parse(data)))

    def feed_body(self, body: Json) -> None:
        """Take in a plain response."""
        self._read(body)
        self._complete = True

    def result(self) -> Response:
        """What has arrived so far."""
        if latest := self._latest:
            self._latest = b""
            with suppress(ValueError, RecursionError):  # cut off or garbled: the events before it count
                self._read(mapping(parse(latest)))
        tier = self._tier
        attributes: dict[str, AttributeValue] = {genai.RESPONSE_SERVICE_TIER: tier} if tier else {}
        return Response(
            id=self._id,
            model=self._model,
            finish_reasons=self._finish_reasons(),
            usage=self._count_usage(),
            service_tier=tier,
            attributes=attributes,
            error=self._error,
            complete=self._complete,
            output=self._output() if self._keep_content else (),
        )

    def _read(self, body: Json) -> bool:
        self._error = read_error(body) or self._error
        self._id = text(body.get("responseId")) or self._id
        self._model = text(body.get("modelVersion")) or self._model
        self._read_usage(mapping(body.get("usageMetadata")))
        is_vertex = "createTime" in body or "trafficType" in mapping(body.get("usageMetadata"))
        for item in sequence(body.get("candidates")):
            self._read_candidate(mapping(item), _VERTEX_REASONS if is_vertex else _GEMINI_REASONS)
        if mapping(body.get("promptFeedback")).get("blockReason"):
            self._blocked = True
        finished = bool(self._candidates) and all(one.reason for one in self._candidates.values())
        self._complete = self._complete or self._blocked or finished
        carries_output = any(
            _is_output(mapping(part))
            for item in sequence(body.get("candidates"))
            for part in sequence(mapping(mapping(item).get("content")).get("parts"))
        )
        self._has_output = self._has_output or carries_output
        return carries_output

    def _count_usage(self) -> Usage:
        usage = read_usage(self._usage)
        if not self._queries:
            return usage
        searches = billed_searches(self._model, len(self._queries), is_grounded=self._is_grounded)
        return replace(usage, web_searches=searches)

    def _read_usage(self, usage: Json) -> None:
        self._tier = read_tier(usage) or self._tier
        # The last usage holds all counts as they are by then. Vertex AI sends one without any with most events.
        if any(name.endswith("TokenCount") for name in usage):
            self._usage = usage

    def _read_candidate(self, item: Json, reasons: Sequence[str]) -> None:
        candidate = self._candidates.setdefault(index(item.get("index")), _Candidate())
        reason = item.get("finishReason")
        if (position := integer(reason)) is not None:
            reason = reasons[position] if 0 <= position < len(reasons) else str(position)
        if (word := text(reason)) and word != _UNSPECIFIED:
            candidate.reason = finish.canonical(word)
        if grounding := mapping(item.get("groundingMetadata")):
            asked = (query for name in _QUERIES for query in sequence(grounding.get(name)))
            self._queries.update(query for query in asked if isinstance(query, str) and query)
            self._is_grounded = self._is_grounded or bool(grounding.get("groundingChunks"))
        if self._keep_content:
            for part in sequence(mapping(item.get("content")).get("parts")):
                candidate.add(mapping(part))

    def _finish_reasons(self) -> list[str]:
        reasons = [one.reason for _, one in sorted(self._candidates.items())]
        if any(reasons):
            return [reason or finish.ERROR for reason in reasons]
        return [finish.CONTENT_FILTER] if self._blocked else []

    def _output(self) -> list[Message]:
        return [
            {**content.message("assistant", one.output()), "finish_reason": one.reason or finish.ERROR}
            for _, one in sorted(self._candidates.items())
        ]


def _is_output(part: Json) -> bool:
    """True for a part that brings something: an empty text comes with the end, or with the signature of a thought."""
    if "text" in part:
        return bool(part["text"])
    return any(name not in ("thought", "thoughtSignature") for name in part)
