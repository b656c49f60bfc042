"""Clients of the local provider: raw ones that see every byte, and the vendors' SDKs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anthropic
import httpx2
import openai

from tokentrail.backend.demo.provider import ServedProvider, Settings

FAST = Settings(speed=200)
"""The pace of tests: an answer takes milliseconds."""


@dataclass(frozen=True)
class Served:
    """A provider that listens, and clients that talk to it."""

    url: str
    http: httpx2.Client
    gpt: openai.OpenAI
    claude: anthropic.Anthropic

    def ledger(self) -> dict[str, list[dict[str, object]]]:
        """The document of `GET /ledger`."""
        document: dict[str, list[dict[str, object]]] = self.http.get("/ledger").json()
        return document

    def totals(self) -> dict[str, int]:
        """Its grand totals."""
        totals: dict[str, int] = self.http.get("/ledger").json()["totals"]
        return totals

    def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        """A request with a key, as an SDK would send it."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        known = {"authorization": "Bearer k", "x-api-key": "k", "anthropic-version": "2023-06-01", **headers}
        return self.http.post(path, content=content, headers=known)


@contextmanager
def serve(settings: Settings = FAST) -> Iterator[Served]:
    """A provider and clients without retries; everything is closed at the end."""
    with (
        ServedProvider(settings) as served,
        httpx2.Client(base_url=served.url) as http,
        openai.OpenAI(api_key="k", base_url=f"{served.url}/v1", max_retries=0) as gpt,
        anthropic.Anthropic(api_key="k", base_url=served.url, max_retries=0) as claude,
    ):
        yield Served(served.url, http, gpt, claude)


def events(body: str) -> list[tuple[str, object]]:
    """The events of a stream as (name, data), data as JSON where it is some; the name is empty where there is none."""
    found: list[tuple[str, object]] = []
    for block in body.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if lines:
            data = lines["data"]
            found.append((lines.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found
