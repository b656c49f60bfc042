"""Which requests are model calls: the table of hosts and paths.

A path that ends like a known endpoint, at a host the provider table knows, is a call of that format. At any other host
the body must look like the format too; such a host is self-hosted, or a gateway, and is named so.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from tokentrail.instrumentation.wire import WIRE_FORMATS
from tokentrail.instrumentation.wire._base import Route, WireFormat
from tokentrail.instrumentation.wire._json import Json, text
from tokentrail.semconv import providers

_DEPLOYMENT: Final = re.compile(r"/openai/deployments/([^/]+)/")
_WHOLE_BODY_BYTES: Final = 4 * 1024
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
    stream: bool = False
    """True where the path says that the answer is a stream."""


class _Served(NamedTuple):
    """A route, ready to be looked for."""

    wire: WireFormat
    path: re.Pattern[str]
    stream: bool


def _compiled(formats: Iterable[WireFormat]) -> Mapping[str, tuple[_Served, ...]]:
    """The routes by the last word of their paths, the longest first: `/fim/completions` is one of `/completions`."""
    routes = sorted(
        ((route, wire) for wire in formats for route in wire.routes), key=lambda item: len(item[0].path), reverse=True
    )
    found: dict[str, list[_Served]] = {}
    for route, wire in routes:
        found.setdefault(_last_word(route.path), []).append(_Served(wire, _pattern(route), route.stream))
    return {word: tuple(served) for word, served in found.items()}


def _pattern(route: Route) -> re.Pattern[str]:
    escaped = re.escape(route.path)
    return re.compile(
        escaped.replace(r"\{model\}", "(?P<model>[^/]+)").replace(r"\{\}", "[^/]+") + "$",
    )


def _last_word(path: str) -> str:
    return path[max(path.rfind("/"), path.rfind(":")) + 1 :]


_ROUTES: Final = _compiled(WIRE_FORMATS)


def match(host: str, port: int | None, path: str, body: bytes) -> Endpoint | None:
    """The endpoint that a POST of `body` calls, or `None` when it is no model call that is known."""
    path = path.rstrip("/")
    candidates = _ROUTES.get(_last_word(path))
    if candidates is None:
        return None
    provider = providers.of_host(host, port)
    parsed: Json | None = None
    for served in candidates:
        if (found := served.path.search(path)) is None:
            continue
        if provider is None:
            if parsed is None:
                parsed = parse(body)
            if not served.wire.recognises(parsed):
                continue
        named = found.groupdict().get("model")
        return _endpoint(served, provider, path, body, parsed, unquote(named) if named else "")
    return None


def _endpoint(
    served: _Served, provider: str | None, path: str, body: bytes, parsed: Json | None, model: str
) -> Endpoint:
    if not model:
        if parsed is None and len(body) > _WHOLE_BODY_BYTES:
            model = _search_model(body)
        if not model:
            parsed = parse(body) if parsed is None else parsed
            model = text(parsed.get("model"))
        if not model and (deployment := _DEPLOYMENT.search(path)):
            model = deployment.group(1)
    return Endpoint(served.wire, provider or providers.SELF_HOSTED, model, parsed, served.stream)


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
