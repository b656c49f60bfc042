"""Headers that matter: metadata the application sends with a request, and what the provider says with its answer.

`Helicone-*` request headers mean what Helicone documents; `Tokentrail-*` means the same. Those that are understood are
metadata for us, not for the provider, and are taken off the request before it leaves. Secrets (authorization, keys,
cookies) are not looked at.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit

from opentelemetry.context import Context

from tokentrail.instrumentation import limits
from tokentrail.instrumentation.context import (
    MAX_PROPERTIES,
    MAX_VALUE_BYTES,
    Tags,
    baggage_tags,
    bounded,
    current_tags,
    normal_path,
)
from tokentrail.instrumentation.wire._base import AttributeValue
from tokentrail.semconv import genai

RawHeaders = Iterable[tuple[bytes, bytes]]
_ATTEMPT: Final = frozenset({b"x-stainless-retry-count", b"amz-sdk-request"})
"""Request headers that tell the attempts before."""
_dull: Final[set[bytes]] = set()
"""Names of request headers that were seen and say nothing here, as they were spelt."""
_MAX_LEARNT: Final = 1_000
"""Names of headers that are remembered, of requests and of responses, and how long these may be."""
_MAX_LEARNT_BYTES: Final = 64
_AWS_ATTEMPT: Final = re.compile(r"(?:^|;)\s*attempt=([1-9]\d{0,4})\s*(?:;|$)")


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
        "stream-usage",
        *("experiment-id", "experiment-column-id", "experiment-row-index"),
    }
)
_ROUTING: Final = frozenset({"target-url", "openai-api-base", "token-limit-exception-handler"})
"""Understood, but addressed to a Helicone host, which is the only one that is ever asked to follow them."""
_ASKED: Final = frozenset(
    {
        *("cache-enabled", "cache-control", "cache-bucket-max-size", "cache-seed", "cache-ignore-keys"),
        *("retry-enabled", "retry-num", "retry-factor", "retry-min-timeout", "retry-max-timeout"),
        *("fallbacks", "fallback-model", "fallback-oncodes", "ratelimit-policy", "moderations-enabled"),
        *("llm-security-enabled", "prompt-security-enabled", "llm-security-advanced", "webhook-enabled"),
        *("prompt-name", "prompt-mode", "prompt-format", "posthog-host", "lytix-host", "org-id"),
    }
)
"""What a proxy is asked to do, and nobody else does: that it was asked is noted, not with what values."""
_PROPERTY: Final = "property-"
_SPELLINGS: Final = {
    name.lower(): name for name in ("UserId", "UserTier", "SignupDate", "RequestType", "TaskComplexity")
}
"""Of properties of more than one word that Helicone's documents use (helicone.md, G2)."""


@dataclass(frozen=True, slots=True)
class RequestTags:
    """What the headers of a request say."""

    tags: Tags = field(default_factory=Tags)
    attributes: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    """Further span attributes."""
    omit_request: bool = False
    """The content of the request must not be captured."""
    omit_response: bool = False
    stream_usage: bool = False
    """Usage must be asked for, whatever the settings say."""
    target_host: str = ""
    """Host behind a Helicone gateway."""
    honoured: bool = False
    """Any header was understood."""
    retry_count: int | None = None
    """The number of earlier attempts, where the SDK says it."""


NO_REQUEST_TAGS: Final = RequestTags()


def read_request(headers: RawHeaders) -> RequestTags:
    """The metadata in `headers`. Of a header given twice, in whatever case, the last one counts."""
    # This runs before the request leaves: nearly all names are those of the requests before.
    candidates = [item for item in headers if item[0] not in _dull]
    if not candidates:
        return NO_REQUEST_TAGS
    attempts, marked = [], []
    for item in candidates:
        name = item[0].lower()
        if name in _ATTEMPT:
            attempts.append(item)
        elif name.startswith(_PREFIXES):
            marked.append(item)
        elif len(_dull) < _MAX_LEARNT and len(name) <= _MAX_LEARNT_BYTES:
            _dull.add(item[0])
    return _read_marked(marked, tuple(attempts)) if marked else _of_attempts(tuple(attempts))


@lru_cache(maxsize=64)
def _of_attempts(attempts: tuple[tuple[bytes, bytes], ...]) -> RequestTags:
    """What those headers say that tell the attempts before; they have few values."""
    count = retry_count(by_name(attempts).get) if attempts else None
    return NO_REQUEST_TAGS if count is None else RequestTags(retry_count=count)


def _read_marked(headers: RawHeaders, attempts: tuple[tuple[bytes, bytes], ...]) -> RequestTags:
    values: dict[str, str] = {}
    properties: dict[str, str] = {}
    asked: set[str] = set()
    for name, value in headers:
        if (key := _key(name)) is None:
            continue
        if key.lower().startswith(_PROPERTY):
            _set_property(properties, key[len(_PROPERTY) :], _text(value))
        elif key.lower() in _FIELDS or key.lower() in _ROUTING:
            values[key.lower()] = _text(value)
        elif key.lower() in _ASKED:
            asked.add(key.lower())
    found = _of_attempts(attempts)
    if not values and not properties and not asked:
        return found
    tags = _to_tags(values, properties) if values or properties else NO_REQUEST_TAGS
    noted = {**tags.attributes, genai.HELICONE_ASKED: sorted(asked)} if asked else tags.attributes
    return replace(tags, attributes=noted, retry_count=found.retry_count)


def attributes(tags: RequestTags, context: Context, baggage: bool) -> dict[str, AttributeValue]:
    """Span attributes of a request with `tags` that is made in `context`, whose `baggage` counts if it is to."""
    ambient = current_tags(context)
    if baggage:
        ambient = ambient.over(baggage_tags(context))
    found: dict[str, AttributeValue] = {**tags.attributes, **tags.tags.over(ambient).attributes()}
    if tags.retry_count is not None:
        found[genai.RETRY_COUNT] = tags.retry_count
    return found


def is_honoured(name: bytes) -> bool:
    """True for a request header that was understood, and so must not travel on."""
    key = _key(name)
    return key is not None and (key.lower() in _FIELDS or key.lower().startswith(_PROPERTY))


def by_name(headers: RawHeaders) -> dict[str, str]:
    """The values by lower-case name; of a header given twice the last one."""
    return {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers}


def retry_count(headers: Callable[[str], str | None]) -> int | None:
    """The number of earlier attempts, where the SDK says it; `headers` looks a header up by its lower-case name."""
    value = headers("x-stainless-retry-count") or ""
    if value.isdecimal() and len(value) < 6:
        return int(value)
    # botocore numbers attempts from 1: `attempt=2; max=3`.
    attempt = _AWS_ATTEMPT.search(headers("amz-sdk-request") or "")
    return int(attempt[1]) - 1 if attempt else None


def read_response(headers: Mapping[str, str]) -> dict[str, str | int | float | bool]:
    """Span attributes from response headers, given by their lower-case names."""
    attributes: dict[str, str | int | float | bool] = {}
    for name in _REQUEST_IDS:
        if value := headers.get(name):
            attributes[genai.PROVIDER_REQUEST_ID] = value[:256]
            break
    attributes.update(limits.read_limits(headers))
    if not _HELICONE.isdisjoint(headers):
        _read_helicone(headers, attributes)
    return attributes


def _read_helicone(headers: Mapping[str, str], attributes: dict[str, str | int | float | bool]) -> None:
    if helicone_id := headers.get("helicone-id"):
        attributes[genai.HELICONE_ID] = helicone_id[:256]
    if (cache := headers.get("helicone-cache", "").upper()) in ("HIT", "MISS"):
        attributes[genai.CACHE_HIT] = cache == "HIT"
    if (bucket := headers.get("helicone-cache-bucket-idx", "")).isdecimal():
        attributes[genai.CACHE_BUCKET_INDEX] = int(bucket[:6])
    if (latency := headers.get("helicone-cache-latency", "")).isdecimal():
        attributes[genai.CACHE_SAVED_LATENCY] = int(latency[:12]) / 1000
    if (fallback := headers.get("helicone-fallback-index", "")).isdecimal():
        attributes[genai.FALLBACK_INDEX] = int(fallback[:6])


_REQUEST_IDS: Final = ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "x-typhoon-request-id")
_HELICONE: Final = frozenset(
    {
        *("helicone-id", "helicone-cache", "helicone-cache-bucket-idx", "helicone-cache-latency"),
        "helicone-fallback-index",
    }
)
_spellings: Final[dict[bytes, str]] = {}
"""Names of response headers that were seen, as they were spelt, by what `_learn` says of them."""
_RESPONSE_NAMES: Final = frozenset(
    name.encode() for name in {"content-type", "content-encoding", *_REQUEST_IDS, *_HELICONE, *limits.NAMES}
)


def known(headers: RawHeaders) -> dict[str, str]:
    """Response headers that mean something here, by lower-case name; of one given twice the last value."""
    found: dict[str, str] = {}
    for name, value in headers:
        if (key := _spellings.get(name)) is None:
            key = _learn(name)
        if key:
            found[key] = value.decode("latin-1")
    return found


def _learn(name: bytes) -> str:
    """The lower-case name of a response header that means something here, else an empty one; remembered as spelt."""
    lower = name.lower()
    key = lower.decode("latin-1") if lower in _RESPONSE_NAMES else ""
    if len(_spellings) < _MAX_LEARNT and len(name) <= _MAX_LEARNT_BYTES:
        _spellings[name] = key
    return key


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
        key = _SPELLINGS.get(key) or "-".join(word[:1].upper() + word[1:] for word in key.split("-"))
    for known in properties:
        if known.lower() == key.lower():
            properties[known] = value
            return
    if key and len(properties) < MAX_PROPERTIES:
        properties[key] = value


def _to_tags(values: Mapping[str, str], properties: dict[str, str]) -> RequestTags:
    session_id = values.get("session-id", "")
    path = values.get("session-path", "")
    for name in ("experiment-id", "experiment-column-id", "experiment-row-index", "token-limit-exception-handler"):
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
        stream_usage=values.get("stream-usage", "").lower() == "true",
        target_host=_host(values.get("target-url") or values.get("openai-api-base") or ""),
        honoured=True,
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""
