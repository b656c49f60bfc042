"""Headers that matter: metadata the application sends with a request, and what the provider says with its answer.

`Helicone-*` request headers mean what Helicone documents; `Tokentrail-*` means the same. Those that are understood are
metadata for us, not for the provider, and are taken off the request before it leaves. Secrets (authorization, keys,
cookies) are not looked at.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

from tokentrail.instrumentation.context import MAX_PROPERTIES, MAX_VALUE_BYTES, Tags, bounded, normal_path
from tokentrail.semconv import genai

RawHeaders = Iterable[tuple[bytes, bytes]]


class RequestHeaders(Protocol):
    """The headers of a request, read only when the request concerns us: `raw` is made anew by every access."""

    @property
    def raw(self) -> RawHeaders:
        """Names and values as they will be sent."""

    def get(self, name: str, /) -> str | None:
        """A value by its lower-case name."""


_PREFIXES: Final = (b"helicone-", b"tokentrail-")
_FIELDS: Final = frozenset(
    {
        *("user-id", "session-id", "session-name", "session-path", "request-id", "node-id"),
        *("prompt-id", "prompt-version", "model-override", "omit-request", "omit-response"),
        *("experiment-id", "experiment-column-id", "experiment-row-index"),
    }
)
_ROUTING: Final = frozenset({"target-url", "openai-api-base"})
"""Understood, but addressed to a Helicone host, which is the only one that is ever asked to follow them."""
_PROPERTY: Final = "property-"


@dataclass(frozen=True, slots=True)
class RequestTags:
    """What the headers of a request say."""

    tags: Tags = field(default_factory=Tags)
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Further span attributes."""
    omit_request: bool = False
    """The content of the request must not be captured."""
    omit_response: bool = False
    target_host: str = ""
    """Host behind a Helicone gateway."""
    honoured: bool = False
    """Any header was understood."""


NO_REQUEST_TAGS: Final = RequestTags()


def read_request(headers: RawHeaders) -> RequestTags:
    """The metadata in `headers`. Of a header given twice, in whatever case, the last one counts."""
    values: dict[str, str] = {}
    properties: dict[str, str] = {}
    for name, value in headers:
        key = _key(name)
        if key is None:
            continue
        if key.lower().startswith(_PROPERTY):
            _set_property(properties, key[len(_PROPERTY) :], _text(value))
        elif key.lower() in _FIELDS or key.lower() in _ROUTING:
            values[key.lower()] = _text(value)
    return _to_tags(values, properties) if values or properties else NO_REQUEST_TAGS


def is_honoured(name: bytes) -> bool:
    """True for a request header that was understood, and so must not travel on."""
    key = _key(name)
    return key is not None and (key.lower() in _FIELDS or key.lower().startswith(_PROPERTY))


def retry_count(headers: Callable[[str], str | None]) -> int | None:
    """The number of earlier attempts, where the SDK says it; `headers` looks a header up by its lower-case name."""
    value = headers("x-stainless-retry-count") or ""
    return int(value) if value.isdecimal() and len(value) < 6 else None


def read_response(headers: Callable[[str], str | None]) -> dict[str, str | int | float | bool]:
    """Span attributes from response headers; `headers` looks a header up by its lower-case name."""
    attributes: dict[str, str | int | float | bool] = {}
    for name in _REQUEST_IDS:
        if value := headers(name):
            attributes[genai.PROVIDER_REQUEST_ID] = value[:256]
            break
    for attribute, names in _LIMITS:
        for name in names:
            value = headers(name)
            if value and value.isdecimal() and len(value) < 19:
                attributes[attribute] = int(value)
                break
    if (retry_after := _seconds(headers)) is not None:
        attributes[genai.RETRY_AFTER] = retry_after
    if helicone_id := headers("helicone-id"):
        attributes[genai.HELICONE_ID] = helicone_id[:256]
    if (cache := (headers("helicone-cache") or "").upper()) in ("HIT", "MISS"):
        attributes[genai.CACHE_HIT] = cache == "HIT"
    if (fallback := headers("helicone-fallback-index") or "").isdecimal():
        attributes[genai.FALLBACK_INDEX] = int(fallback[:6])
    return attributes


_REQUEST_IDS: Final = ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "x-typhoon-request-id")
_LIMITS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (genai.RATELIMIT_LIMIT_REQUESTS, ("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit")),
    (genai.RATELIMIT_REMAINING_REQUESTS, ("x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining")),
    (genai.RATELIMIT_LIMIT_TOKENS, ("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit")),
    (genai.RATELIMIT_REMAINING_TOKENS, ("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining")),
)
_SECONDS: Final = re.compile(r"\d{1,9}(\.\d{1,9})?")


def _seconds(headers: Callable[[str], str | None]) -> float | None:
    milliseconds = headers("retry-after-ms") or ""
    if _SECONDS.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    seconds = headers("retry-after") or ""
    # A date is allowed as well; no model provider sends one.
    return float(seconds) if _SECONDS.fullmatch(seconds) else None


def _key(name: bytes) -> str | None:
    """What follows the prefix in a metadata header's name, its case kept; `None` for any other header."""
    for prefix in _PREFIXES:
        if name[: len(prefix)].lower() == prefix:
            return name[len(prefix) :].decode("latin-1")
    return None


def _text(value: bytes) -> str:
    whole, value = len(value) <= MAX_VALUE_BYTES * 2, value[: MAX_VALUE_BYTES * 2]
    try:
        # Incrementally, because the cut may have gone through a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(value, final=whole)
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.encode("utf-8")[:MAX_VALUE_BYTES].decode("utf-8", "ignore")


def _set_property(properties: dict[str, str], key: str, value: str) -> None:
    if key.islower():
        # Somebody on the way lost the case (openai 3 does): `feature` was `Feature` far more often than not.
        key = "-".join(word[:1].upper() + word[1:] for word in key.split("-"))
    for known in properties:
        if known.lower() == key.lower():
            properties[known] = value
            return
    if key and len(properties) < MAX_PROPERTIES:
        properties[key] = value


def _to_tags(values: Mapping[str, str], properties: dict[str, str]) -> RequestTags:
    session_id = values.get("session-id", "")
    path = values.get("session-path", "")
    for name in ("experiment-id", "experiment-column-id", "experiment-row-index"):
        if name in values:
            properties[name.title()] = values[name]
    # People send the user as a property too; it is the user unless a user was named (helicone.md, E2).
    user = values.get("user-id") or next((value for key, value in properties.items() if key.lower() == "userid"), "")
    tags = Tags(
        user=user,
        session_id=session_id,
        session_name=values.get("session-name", ""),
        session_path=normal_path(path) if path or session_id else "",
        conversation_id=session_id,
        prompt_name=values.get("prompt-id", ""),
        prompt_version=values.get("prompt-version", ""),
        properties=bounded(properties),
    )
    named = (
        (genai.REQUEST_ID, values.get("request-id")),
        (genai.NODE_ID, values.get("node-id")),
        (genai.PRICING_MODEL, values.get("model-override")),
    )
    return RequestTags(
        tags=tags,
        attributes={name: value for name, value in named if value},
        omit_request=values.get("omit-request", "").lower() == "true",
        omit_response=values.get("omit-response", "").lower() == "true",
        target_host=_host(values.get("target-url") or values.get("openai-api-base") or ""),
        honoured=True,
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""
