"""Recorded traffic of real providers: `*.jsonl`, one exchange a line.

    {"source", "request": {method, url, headers, body | body_b64}, "response": {status, headers, body | body_b64}}

The recordings are not part of the repository; they lie beside it in `shared/wire`, or where `TOKENTRAIL_WIRE` points.
Bodies are already decoded, whatever `content-encoding` the recorded headers claim, and header mappings may be empty.
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

DIRECTORY: Final = Path(os.environ.get("TOKENTRAIL_WIRE") or Path(__file__).parents[2].parent / "shared" / "wire")
"""Where the recordings are."""

SUPPORTED: Final = 246
"""Exchanges of the supported formats in the recordings; a smaller number found means that some were lost."""

_BODY_HEADERS: Final = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})
"""They describe the recorded transfer, not the one that a replay makes."""


class Format(StrEnum):
    """The endpoints of this issue, by the end of their path."""

    CHAT = "/chat/completions"
    RESPONSES = "/responses"
    EMBEDDINGS = "/embeddings"
    MESSAGES = "/messages"


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
    def base_url(self) -> str:
        """What an SDK takes as its base: the URL less the path of the endpoint and what some clients put after it."""
        return self.url.partition("#")[0].removesuffix(self.format.value)

    @property
    def is_sse(self) -> bool:
        """True when the response is a stream of server-sent events."""
        return looks_like_sse(self.response_body)

    @property
    def label(self) -> str:
        """How a failure names the exchange."""
        return f"{self.source} [{self.key}]"

    def request_json(self) -> dict[str, object]:
        """The parsed request body."""
        body = json.loads(self.request_body)
        assert isinstance(body, dict), f"{self.label}: the request is not an object"
        return body


def looks_like_sse(body: bytes) -> bool:
    """True for a body that begins with a field or a comment of a server-sent event."""
    return body.lstrip().startswith((b"data:", b"event:", b"id:", b"retry:", b":"))


def load(directory: Path = DIRECTORY) -> tuple[Exchange, ...]:
    """Every exchange of the supported formats, in the order of files and lines; empty where there are no recordings."""
    return tuple(
        exchange
        for path in sorted(directory.glob("*.jsonl"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (exchange := _exchange(f"{path.stem}.{number}", json.loads(line)))
    )


def require() -> tuple[Exchange, ...]:
    """The exchanges, or a skip of the calling test that says where they were expected."""
    if not any(DIRECTORY.glob("*.jsonl")):
        pytest.skip(f"no recorded traffic in {DIRECTORY}; set TOKENTRAIL_WIRE to the directory that holds it")
    return load()


def _exchange(key: str, record: dict[str, dict[str, object]]) -> Exchange | None:
    request, response = record["request"], record["response"]
    url = str(request["url"])
    form = _format_of(url)
    if form is None:
        return None
    body = _body(response)
    headers = _headers(response)
    headers.setdefault("content-type", "text/event-stream" if looks_like_sse(body) else "application/json")
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


def _format_of(url: str) -> Format | None:
    """Prompt templates of a gateway (`/prompts/<id>/completions`) and Bedrock's `/invoke` are other formats."""
    path = urlsplit(url).path
    return next((form for form in Format if path.endswith("/v1" + form.value)), None)


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
        return base64.b64decode(str(message["body_b64"]))
    body = message.get("body")
    return b"" if body is None else str(body).encode()
