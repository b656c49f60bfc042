"""Recorded traffic of real providers: `*.jsonl`, one exchange a line.

    {"source", "request": {method, url, headers, body | body_b64}, "response": {status, headers, body | body_b64}}

The recordings are not part of the repository; they lie beside it in `shared/wire`, or where `TOKENTRAIL_WIRE` points.
Bodies are already decoded, whatever `content-encoding` the recorded headers claim, and header mappings may be empty.
One recording has its body still compressed; it is taken apart here.
"""

import base64
import gzip
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

DIRECTORY: Final = Path(os.environ.get("TOKENTRAIL_WIRE") or Path(__file__).parents[2].parent / "shared" / "wire")
"""Where the recordings are."""

SUPPORTED: Final = 436
"""Exchanges of the supported formats in the recordings; a smaller number found means that some were lost."""

OTHERS: Final = 5
"""Exchanges that call no model: guardrails applied by themselves, and caches made."""

_BODY_HEADERS: Final = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})
"""They describe the recorded transfer, not the one that a replay makes."""


class Format(StrEnum):
    """The endpoints that call a model, by the end of their path; `*` stands for one part of it."""

    CHAT = "/v1/chat/completions"
    RESPONSES = "/v1/responses"
    EMBEDDINGS = "/v1/embeddings"
    COMPLETIONS = "/v1/completions"
    PROMPT = "/v1/prompts/*/completions"
    """A template that a gateway keeps and fills in; the answer is a chat completion."""
    MESSAGES = "/v1/messages"
    COMPLETE = "/v1/complete"
    RERANK = "/v2/rerank"
    OLLAMA_CHAT = "/api/chat"
    GENERATE = "/models/*:generateContent"
    STREAM_GENERATE = "/models/*:streamGenerateContent"
    BATCH_EMBED = "/models/*:batchEmbedContents"
    INTERACTIONS = "/v1beta/interactions"
    CONVERSE = "/model/*/converse"
    CONVERSE_STREAM = "/model/*/converse-stream"
    INVOKE = "/model/*/invoke"
    INVOKE_STREAM = "/model/*/invoke-with-response-stream"
    NONE = ""
    """No model is called: there is nothing to see."""


_PATHS: Final = {
    form: re.compile(re.escape(form.value).replace(r"\*", "[^/:]+") + "$") for form in Format if form is not Format.NONE
}


class Framing(StrEnum):
    """How a response is cut into events."""

    NONE = ""
    """It is one JSON value."""
    SSE = "text/event-stream"
    NDJSON = "application/x-ndjson"
    ARRAY = "application/json"
    """A JSON array whose items come one after another, as Gemini streams where nobody asks for server-sent events."""
    AWS = "application/vnd.amazon.eventstream"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request with its response."""

    key: str
    """Unique, fit for a header or a file name: `<file>.<line>`."""
    source: str
    """Where the recording was taken from; not unique."""
    format: Format
    method: str
    url: str
    request_headers: Mapping[str, str]
    """Names in lower case, without those that describe the transfer, as are the response's."""
    request_body: bytes
    status: int
    response_headers: Mapping[str, str]
    """With a `content-type`, inferred from the body where the recording has none."""
    response_body: bytes

    @property
    def host(self) -> str:
        """The recorded host, without a port."""
        return urlsplit(self.url).hostname or ""

    @property
    def authority(self) -> str:
        """The recorded host, with the port that the URL names: what the `host` header says."""
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        """The path of the URL as it was sent, percent-encoded, without the query."""
        return urlsplit(self.url).path

    @property
    def base_url(self) -> str:
        """What OpenAI's SDK takes as its base: the URL up to the version, which is included.

        Some clients have put a fragment after the path; it was never sent.
        """
        scheme, _, rest = self.url.partition("://")
        end = self.format.value.removeprefix("/v1")
        return f"{scheme}://{rest.partition('#')[0].partition('?')[0].removesuffix(end)}"

    @property
    def framing(self) -> Framing:
        """How the response is cut into events."""
        return framing_of(self.format, self.response_body)

    @property
    def is_stream(self) -> bool:
        """True when the response is a stream of events, in whatever framing."""
        return self.framing is not Framing.NONE

    @property
    def is_sse(self) -> bool:
        """True when the response is a stream of server-sent events."""
        return self.framing is Framing.SSE

    @property
    def label(self) -> str:
        """How a failure names the exchange."""
        return f"{self.source} [{self.key}]"

    def request_json(self) -> dict[str, Any]:
        """The parsed request body; empty where the recording has lost it."""
        body = json.loads(self.request_body or b"{}")
        assert isinstance(body, dict), f"{self.label}: the request is not an object"
        return body


def framing_of(form: Format, body: bytes) -> Framing:
    """The framing that `body` is in, told by the endpoint where it has one of its own, and by its first bytes."""
    start = body.lstrip()[:1]
    if looks_like_sse(body):
        return Framing.SSE
    if form in (Format.CONVERSE_STREAM, Format.INVOKE_STREAM) and body[:1] == b"\0":
        return Framing.AWS
    if form is Format.STREAM_GENERATE and start == b"[":
        return Framing.ARRAY
    if form is Format.OLLAMA_CHAT and body.strip().count(b"\n"):
        return Framing.NDJSON
    return Framing.NONE


def looks_like_sse(body: bytes) -> bool:
    """True for a body that begins with a field or a comment of a server-sent event."""
    return body.lstrip().startswith((b"data:", b"event:", b"id:", b"retry:", b":"))


def load(directory: Path = DIRECTORY) -> tuple[Exchange, ...]:
    """Every exchange that calls a model, in the order of files and lines; empty where there are no recordings."""
    return tuple(exchange for exchange in load_all(directory) if exchange.format is not Format.NONE)


def load_all(directory: Path = DIRECTORY) -> tuple[Exchange, ...]:
    """Every recorded exchange, those among them that call no model."""
    return tuple(
        _exchange(f"{path.stem}.{number}", json.loads(line))
        for path in sorted(directory.glob("*.jsonl"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    )


def require() -> tuple[Exchange, ...]:
    """What `load` gives, or a skip of the calling test that says where the recordings were expected."""
    if not any(DIRECTORY.glob("*.jsonl")):
        pytest.skip(f"no recorded traffic in {DIRECTORY}; set TOKENTRAIL_WIRE to the directory that holds it")
    return load()


def _exchange(key: str, record: dict[str, dict[str, object]]) -> Exchange:
    request, response = record["request"], record["response"]
    url = str(request["url"])
    form, body = _format_of(url), _body(response)
    headers = _headers(response)
    headers.setdefault("content-type", framing_of(form, body).value or "application/json")
    return Exchange(
        key=key,
        source=str(record["source"]),
        format=form,
        method=str(request["method"]).upper(),
        url=url,
        request_headers=_headers(request),
        request_body=_body(request),
        status=int(str(response["status"])),
        response_headers=headers,
        response_body=body,
    )


def _format_of(url: str) -> Format:
    path = urlsplit(url).path
    return next((form for form, pattern in _PATHS.items() if pattern.search(path)), Format.NONE)


def _headers(message: Mapping[str, object]) -> dict[str, str]:
    """Recordings hold a value or a list of values by name."""
    headers = message.get("headers") or {}
    assert isinstance(headers, dict)
    return {
        name.lower(): value[0] if isinstance(value, list) else str(value)
        for name, value in headers.items()
        if name.lower() not in _BODY_HEADERS
    }


def _body(message: Mapping[str, object]) -> bytes:
    if "body_b64" in message:
        body = base64.b64decode(str(message["body_b64"]))
        return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    body_text = message.get("body")
    return b"" if body_text is None else str(body_text).encode()
