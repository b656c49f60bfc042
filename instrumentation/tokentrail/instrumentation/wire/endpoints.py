"""Which requests are model calls: the table of hosts and paths.

A path that ends like a known endpoint, at a host the provider table knows, is a call of that format. At any other host
the body must look like the format too; such a host is self-hosted, or a gateway, and is named so.
"""

import json
import re
from typing import Final, NamedTuple

from tokentrail.instrumentation.wire import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES
from tokentrail.instrumentation.wire._base import WireFormat
from tokentrail.instrumentation.wire._json import Json, text
from tokentrail.semconv import providers

_PATHS: Final[tuple[tuple[str, WireFormat], ...]] = (
    ("/chat/completions", OPENAI_CHAT),
    ("/responses", OPENAI_RESPONSES),
    ("/embeddings", OPENAI_EMBEDDINGS),
    ("/v1/messages", ANTHROPIC_MESSAGES),
)
_SUFFIXES: Final = tuple(suffix for suffix, _ in _PATHS)
_DEPLOYMENT: Final = re.compile(r"/openai/deployments/([^/]+)/")
_WHOLE_BODY_BYTES: Final = 16 * 1024
"""Up to this size a body is parsed to find its model; in a longer one the model is looked for first."""
_MODEL: Final = re.compile(rb'(?<!\\)"model"\s*:\s*"([^"\\]{1,256})"')


class Endpoint(NamedTuple):
    """A request recognised as a model call."""

    wire: WireFormat
    provider: str
    model: str
    """The request model, empty when the request does not name one."""
    body: Json | None
    """The parsed body, where finding the endpoint took parsing it."""


def match(host: str, port: int | None, path: str, body: bytes) -> Endpoint | None:
    """The endpoint that a POST of `body` calls, or `None` when it is no model call that is known."""
    path = path.rstrip("/")
    if not path.endswith(_SUFFIXES):
        return None
    wire = next(wire for suffix, wire in _PATHS if path.endswith(suffix))
    provider = providers.of_host(host, port)
    model = _search_model(body) if provider is not None and len(body) > _WHOLE_BODY_BYTES else ""
    parsed = None if model else parse(body)
    if provider is None:
        if parsed is None or not wire.recognises(parsed):
            return None
        provider = providers.SELF_HOSTED
    if parsed is not None:
        model = text(parsed.get("model"))
    if not model and (deployment := _DEPLOYMENT.search(path)):
        model = deployment.group(1)
    return Endpoint(wire, provider, model, parsed)


def _search_model(body: bytes) -> str:
    """The model a long body names, when a search finds a single one; empty when only parsing can tell.

    A quote inside a JSON string is escaped, so a match is structure, not text; but it may be nested, so that two
    different ones are decided by parsing.
    """
    found = set(_MODEL.findall(body))
    return str(found.pop(), "utf-8", "replace") if len(found) == 1 else ""


def parse(body: bytes) -> Json:
    """`body` as a JSON object; an empty one when it is none."""
    try:
        parsed = json.loads(body) if body else None
    except (ValueError, RecursionError):  # JSON that is none or nested too deep, and bytes that are no UTF-8
        return {}
    return parsed if isinstance(parsed, dict) else {}
