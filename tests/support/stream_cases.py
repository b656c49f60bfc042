"""A stream of every wire format and framing, with what has arrived when its opening has and when all of it has.

The openings are worked out by hand from the fixtures, the rest is what the fixtures expect, which was, too. Bodies are
cut into events here by a reading of its own: blank lines, lines, length prefixes, and the elements of an array.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.sse_server import Received, Reply, SseServer, Step, serving

DIRECTORY: Final = Path(__file__).parents[1] / "fixtures" / "wire"
REPLY_HEADER: Final = "x-reply"
"""Names the reply that a request wants."""
CASE_HEADER: Final = "Tokentrail-Property-Case"
"""Has the span of a request say whose it is."""

_OPENAI: Final = "https://api.openai.com/v1"
_GOOGLE: Final = "https://generativelanguage.googleapis.com/v1beta"
_MISTRAL: Final = "https://api.mistral.ai/v1"
_COHERE: Final = "https://api.cohere.com"
_OLLAMA: Final = "http://127.0.0.1:11434/api"
_BEDROCK: Final = "https://bedrock-runtime.us-east-1.amazonaws.com/model"
_CLAUDE: Final = "anthropic.claude-3-haiku-20240307-v1%3A0"


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a span should have of a response."""

    parts: tuple[tuple[str, str], ...] = ()
    """Type and text of each part of the answer; the name of a tool that is called."""
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class StreamCase:
    """A streamed fixture and where it is served."""

    fixture: str
    """`<format>/<name>`."""
    url: str
    opening_events: int
    """Events of the opening: it ends with the first piece of the answer's text."""
    opening: Arrived
    content: Mapping[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = (DIRECTORY / f"{self.fixture}.json").read_text(encoding="utf-8")
        object.__setattr__(self, "content", json.loads(text))

    @property
    def format(self) -> str:
        """The wire format."""
        return self.fixture.partition("/")[0]

    @property
    def events(self) -> list[bytes]:
        """The body, cut after each event."""
        return _cut(self.content)

    @property
    def opening_bytes(self) -> bytes:
        """The body up to the end of the opening."""
        return b"".join(self.events[: self.opening_events])

    @property
    def whole(self) -> Arrived:
        """What all of the stream says."""
        expected = self.content["expected"]["response"]
        usage = expected.get("usage", {})
        messages = expected.get("output") or [{"parts": []}]
        return Arrived(_parts(messages[0]["parts"]), usage.get("input_tokens"), usage.get("output_tokens"))

    @property
    def error(self) -> tuple[str, str]:
        """`error.type` and message of the error that the stream ends in."""
        error = self.content["expected"]["response"]["error"]
        return error["kind"] or "_OTHER", error["message"]

    def reply(self, *steps: Step) -> Reply:
        """`steps` as a response of the fixture's media type."""
        return Reply((*steps, b""), 200, {"content-type": self.content["content_type"]})


def _case(
    fixture: str, url: str, events: int, *parts: tuple[str, str], usage: tuple[int, int] | None = None
) -> StreamCase:
    input_tokens, output_tokens = usage or (None, None)
    return StreamCase(fixture, url, events, Arrived(parts, input_tokens, output_tokens))


CASES: Final = (
    _case("openai_chat/streamed", f"{_OPENAI}/chat/completions", 2, ("text", "Hé")),
    _case("openai_completions/streamed", f"{_OPENAI}/completions", 2, ("text", "Hé")),
    _case("openai_images/streamed", f"{_OPENAI}/images/generations", 1),
    _case("openai_speech/streamed", f"{_OPENAI}/audio/speech", 1),
    _case("openai_transcriptions/streamed", f"{_OPENAI}/audio/transcriptions", 1, ("text", "I see")),
    _case("openai_responses/streamed", f"{_OPENAI}/responses", 4, ("text", "Hel")),
    _case(
        *("anthropic_messages/streamed", "https://api.anthropic.com/v1/messages", 8),
        *(("reasoning", "Let"), ("text", "Hé")),
        usage=(25, 1),
    ),
    _case("anthropic_complete/streamed", "https://api.anthropic.com/v1/complete", 2, ("text", " Grüße")),
    _case(
        *("gemini_generate_content/streamed", f"{_GOOGLE}/models/gemini-2.5-flash:streamGenerateContent?alt=sse", 3),
        *(("reasoning", "Let me think."), ("text", "Wh")),
        usage=(15, 11),
    ),
    _case(
        *("gemini_generate_content/streamed_array", f"{_GOOGLE}/models/gemini-2.5-flash:streamGenerateContent", 3),
        *(("reasoning", "Let me think."), ("text", "Wh")),
        usage=(15, 11),
    ),
    _case(
        *("gemini_interactions/streamed", f"{_GOOGLE}/interactions", 9),
        *(("reasoning", "Hm. So."), ("text", "A ")),
        usage=(9, 30),
    ),
    _case(
        *("mistral_conversations/streamed", f"{_MISTRAL}/conversations", 3),
        *(("reasoning", "Hm."), ("text", "A p")),
    ),
    _case("mistral_fim/streamed", f"{_MISTRAL}/fim/completions", 2, ("text", "y ")),
    _case("cohere_chat/streamed", f"{_COHERE}/v2/chat", 7, ("reasoning", "Hm, so"), ("text", "Héllo ")),
    _case("cohere_chat/streamed_json_lines", f"{_COHERE}/v2/chat", 3, ("text", "C")),
    _case("cohere_chat_v1/streamed", f"{_COHERE}/v1/chat", 2, ("text", "Hellö")),
    _case("cohere_chat_v1/streamed_events", f"{_COHERE}/v1/chat", 2, ("text", "He")),
    _case("ollama_chat/streamed", f"{_OLLAMA}/chat", 4, ("reasoning", 'Hm,\n"done":true'), ("text", "Oneé")),
    _case("ollama_generate/streamed", f"{_OLLAMA}/generate", 2, ("reasoning", "Light."), ("text", "The")),
    _case(
        "bedrock_converse/streamed", f"{_BEDROCK}/{_CLAUDE}/converse-stream", 6, ("reasoning", "Let"), ("text", "Hé")
    ),
    _case(
        *("bedrock_invoke/streamed", f"{_BEDROCK}/{_CLAUDE}/invoke-with-response-stream", 3, ("text", "Hé")),
        usage=(25, 1),
    ),
    _case(
        "bedrock_invoke_text/streamed_llama",
        f"{_BEDROCK}/meta.llama3-8b-instruct-v1%3A0/invoke-with-response-stream",
        2,
        ("text", "Hel"),
        usage=(5, 2),
    ),
)
"""Each format that streams, in each framing it comes in."""


def _error_cases() -> Iterator[StreamCase]:
    urls = {case.format: case.url for case in reversed(CASES)}
    for path in sorted(DIRECTORY.glob("*/*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        is_known = path.parent.name in urls  # that another is not is for the matrix to say
        if is_known and "body" not in content and "error" in content["expected"]["response"]:
            yield StreamCase(f"{path.parent.name}/{path.stem}", urls[path.parent.name], 0, Arrived())


ERROR_CASES: Final = tuple(_error_cases())
"""Every stream among the fixtures that ends in an error of the provider."""


def streaming_formats() -> set[str]:
    """The names of the formats that have a streamed fixture."""
    paths = DIRECTORY.glob("*/*.json")
    return {path.parent.name for path in paths if "body" not in json.loads(path.read_text(encoding="utf-8"))}


class CaseServer(SseServer):
    """Gives each request the reply that it names."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: dict[str, Reply] = {}

    def next_reply(self, received: Received) -> Reply:
        """The reply that `received` names."""
        return self.replies[received.header(REPLY_HEADER) or ""]


@contextmanager
def serving_cases() -> Iterator[CaseServer]:
    """A server for the duration of the block."""
    server = CaseServer()
    with serving(server):
        yield server


def arrived(found: Mapping[str, object]) -> Arrived:
    """What a span with the attributes `found` has of the response."""
    messages = json.loads(str(found.get("gen_ai.output.messages", '[{"parts": []}]')))
    tokens = (found.get(f"gen_ai.usage.{kind}_tokens") for kind in ("input", "output"))
    return Arrived(_parts(messages[0]["parts"]), *(None if count is None else int(str(count)) for count in tokens))


def body_of(content: Mapping[str, Any]) -> bytes:
    """The body of the response of a fixture, plain or streamed."""
    if "body" in content:
        return json.dumps(content["body"], ensure_ascii=False).encode()
    return base64.b64decode(content["base64"]) if "base64" in content else "\n".join([*content["lines"], ""]).encode()


def _parts(parts: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    return tuple((part["type"], part["content"] if "content" in part else part["name"]) for part in parts)


def _cut(content: Mapping[str, Any]) -> list[bytes]:
    if "base64" in content:
        return list(_cut_messages(base64.b64decode(content["base64"])))
    text = "\n".join([*content["lines"], ""])
    if content["content_type"].startswith("application/json"):
        return list(_cut_array(text))
    if content["content_type"].startswith("text/event-stream"):
        return [f"{event}\n\n".encode() for event in text.split("\n\n") if event]
    return [line.encode() for line in text.splitlines(keepends=True)]


def _cut_messages(body: bytes) -> Iterator[bytes]:
    while body:
        length = int.from_bytes(body[:4], "big")
        yield body[:length]
        body = body[length:]


def _cut_array(text: str) -> Iterator[bytes]:
    start, decoder = 0, json.JSONDecoder()
    while (opening := text.find("{", start)) >= 0:
        _, end = decoder.raw_decode(text, opening)
        yield text[start:end].encode()
        start = end
    yield text[start:].encode()
