"""Which requests are model calls: the table of hosts and paths.

A path that ends like a known endpoint, at a host the provider table knows, is a call of that format. At any other host
the body must look like the format too; such a host is self-hosted, or a gateway, and is named so.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from tokentrail.instrumentation.wire import WIRE_FORMATS
from tokentrail.instrumentation.wire._base import Route, SharedPath, WireFormat
from tokentrail.instrumentation.wire._json import Json, text
from tokentrail.instrumentation.wire._json import parse as parse_json
from tokentrail.semconv import providers

_DEPLOYMENT: Final = re.compile(r"/openai/deployments/([^/]+)/")
_NO_MODELS: Final = frozenset({"count-tokens"})
"""What stands where a path names the model, and is none: Vertex AI counts the tokens of Claude's messages so."""
_MODEL_KEY: Final = b'"model":'
_MAX_MODEL_BYTES: Final = 512
_END_BYTES: Final = 2048
"""How much of each end of a body is searched for the model it names."""
_KNOWN_PLACES: Final = 512
"""Hosts and paths whose routes are remembered, whether or not any is served there."""
_MAX_PATH_CHARS: Final = 512
"""Of a path that is remembered."""


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
    is_guess: bool = False
    """True where `model` was searched for: what the parsed body says counts."""
    is_unnamed: bool = False
    """True until the body has been asked for the model (`named`); `model` is what counts where that names none."""


class _Served(NamedTuple):
    """A route, ready to be looked for."""

    wire: WireFormat
    path: re.Pattern[str]
    stream: bool
    providers: frozenset[str]
    judged: bool
    shared: SharedPath | None
    """The format, where its path serves several operations."""


def _compiled(formats: Iterable[WireFormat]) -> Mapping[str, tuple[_Served, ...]]:
    """The routes by the last word of their paths, the longest first: `/fim/completions` is one of `/completions`."""
    routes = sorted(
        ((route, wire) for wire in formats for route in wire.routes),
        key=lambda item: (len(item[0].path), bool(item[0].providers)),
        reverse=True,
    )
    found: dict[str, list[_Served]] = {}
    for route, wire in routes:
        shared = wire if isinstance(wire, SharedPath) else None
        served = _Served(wire, _pattern(route), route.stream, route.providers, route.judged, shared)
        found.setdefault(_last_word(route.path), []).append(served)
    return {word: tuple(served) for word, served in found.items()}


def _pattern(route: Route) -> re.Pattern[str]:
    escaped = re.escape(route.path)
    return re.compile(
        # An ARN has slashes, which some clients show decoded.
        escaped.replace(r"\{model\}", "(?P<model>arn:.+|[^/]+)").replace(r"\{\}", "[^/]+") + "$",
    )


def _last_word(path: str) -> str:
    return path[max(path.rfind("/"), path.rfind(":")) + 1 :]


class _Place(NamedTuple):
    """What is served at a host and a path, as far as these two tell."""

    served: _Served
    provider: str | None
    model: str
    """That the path names, in place of the body."""
    deployment: str
    """The model where neither the path nor the body names one."""
    endpoint: Endpoint | None
    """The endpoint, where the body need not be looked at to know that it is one."""


_ROUTES: Final = _compiled(WIRE_FORMATS)
_OPEN_ENDED: Final = _ROUTES.get("{}", ())
"""Those whose last word may be any: they end in an id."""


def match(host: str, port: int | None, path: str, body: bytes) -> Endpoint | None:
    """The endpoint that a POST of `body` calls, or `None` when it is no model call that is known."""
    endpoint = recognise(host, port, path, body)
    return None if endpoint is None else named(endpoint, body)


def recognise(host: str, port: int | None, path: str, body: bytes) -> Endpoint | None:
    """The same, but the model may not have been looked for: this is for the application's path."""
    places = _places(host, port, path) if len(path) <= _MAX_PATH_CHARS else _find_places(host, port, path)
    parsed: Json | None = None
    for place in places:
        if place.endpoint is not None:
            return place.endpoint
        if place.provider is None or place.served.judged:
            if parsed is None:
                parsed = parse(body)
            if not place.served.wire.recognises(parsed):
                continue
        if place.model in _NO_MODELS:
            return None
        return _endpoint(place, body, parsed)
    return None


def named(endpoint: Endpoint, body: bytes, parsed: Json | None = None) -> Endpoint:
    """`endpoint`, whose request has `body`, with the model; `parsed` is the same body where it has been parsed."""
    if not endpoint.is_unnamed:
        return endpoint
    if parsed:  # what is no JSON may name it all the same
        model, is_guess = text(parsed.get("model")), False
    else:
        model, is_guess, parsed = _find_model(body, endpoint.body)
    return Endpoint(endpoint.wire, endpoint.provider, model or endpoint.model, parsed, endpoint.stream, is_guess)


def _find_places(host: str, port: int | None, path: str) -> tuple[_Place, ...]:
    """What may be served at `host` and `path`, in the order in which to ask the body."""
    path = path.rstrip("/")
    candidates = _ROUTES.get(_last_word(path), _OPEN_ENDED)
    matches = [(served, found) for served in candidates if (found := served.path.search(path)) is not None]
    if not matches:
        return ()
    provider = _provider(host, port, path)
    deployment = found.group(1) if (found := _DEPLOYMENT.search(path)) else ""
    places = []
    for served, found in matches:
        if served.providers and provider not in served.providers:
            continue
        model = unquote(found.groupdict().get("model") or "")
        endpoint = None
        if provider is not None and not (served.judged or served.shared or model):
            endpoint = Endpoint(served.wire, provider, deployment, None, served.stream, is_unnamed=True)
        places.append(_Place(served, provider, model, deployment, endpoint))
    return tuple(places)


_places: Final = lru_cache(maxsize=_KNOWN_PLACES)(_find_places)


def _provider(host: str, port: int | None, path: str) -> str | None:
    """The provider at `host`; Azure AI Foundry serves Azure OpenAI at the same one."""
    provider = providers.of_host(host, port)
    is_openai = provider == providers.AZURE_INFERENCE and "/openai/" in path
    return providers.AZURE_OPENAI if is_openai else provider


def _endpoint(place: _Place, body: bytes, parsed: Json | None) -> Endpoint:
    served, model, is_guess = place.served, place.model, False
    if not model:
        model, is_guess, parsed = _find_model(body, parsed)
        model = model or place.deployment
    wire = served.wire if served.shared is None else served.shared.serving(model, body)
    return Endpoint(wire, place.provider or providers.SELF_HOSTED, model, parsed, served.stream, is_guess)


def _find_model(body: bytes, parsed: Json | None) -> tuple[str, bool, Json | None]:
    """The model that `body` names, whether that is a guess, and the parsed body where it is known or was needed."""
    if parsed is None:
        if model := _search_model(body):
            return model, True, None
        parsed = parse(body)
    return text(parsed.get("model")), False, parsed


def _search_model(body: bytes) -> str:
    """The model that `body` seems to name, empty when only parsing can tell.

    A quote inside a JSON string is escaped, so what is found is a key; but it may be nested. SDKs write the model
    before or after the messages, so the two ends are searched, and when they differ parsing decides. What is wrong all
    the same is put right when the body is read.
    """
    first = _value_at(body, body.find(_MODEL_KEY, 0, _END_BYTES))
    start = max(len(body) - _END_BYTES, 0)
    last = _value_at(body, body.rfind(_MODEL_KEY, start))
    return (first or last) if first == last or not (first and last) else ""


def _value_at(body: bytes, position: int) -> str:
    """The string after the key at `position` (-1: there is none); empty when it is none, or has escapes in it."""
    if position < 0:
        return ""
    start = position + len(_MODEL_KEY)
    value = body[start : start + _MAX_MODEL_BYTES].lstrip()
    end = value.find(b'"', 1)
    if end < 0 or value[:1] != b'"' or b"\\" in value[:end]:
        return ""
    return value[1:end].decode("utf-8", "replace")


def parse(body: bytes) -> Json:
    """`body` as a JSON object; an empty one when it is none."""
    try:
        parsed = parse_json(body) if body else None
    except (ValueError, RecursionError):  # JSON that is none or nested too deep, and bytes that are no UTF-8
        return {}
    return parsed if isinstance(parsed, dict) else {}
