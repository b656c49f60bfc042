"""Where a call went to: a host and a port, also of those who write a URL in place of the host.

Semantic Kernel, Azure's clients and Portkey's gateway write the base URL, or the whole one.
"""

from typing import Final
from urllib.parse import urlsplit

from tokentrail.backend.dialects import coerce
from tokentrail.backend.span import Attributes
from tokentrail.semconv import genai

_SCHEME: Final = "://"


def host_of(attributes: Attributes) -> str:
    """The host of the server, empty when there is none."""
    told = coerce.text(attributes, genai.SERVER_ADDRESS)
    return told if _SCHEME not in told else _of_url(told)[0]


def host_and_port(attributes: Attributes) -> tuple[str, int | None]:
    """The host of the server and its port, as far as they are told."""
    told = coerce.text(attributes, genai.SERVER_ADDRESS)
    if _SCHEME in told:
        return _of_url(told)
    return told, coerce.whole(attributes, genai.SERVER_PORT) if told else None


def _of_url(told: str) -> tuple[str, int | None]:
    try:
        url = urlsplit(told)
        host, port = url.hostname or "", url.port
    except ValueError:
        return "", None
    return host, port
