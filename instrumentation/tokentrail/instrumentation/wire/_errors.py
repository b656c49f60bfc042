"""Provider errors, in the shapes that providers of all formats use.

    {"error": {"message", "type", "code", "param"}}     OpenAI and its kin; Anthropic inside {"type": "error"}
    {"error": {"message", "code": 502}}                 OpenRouter: status of the provider behind it, also mid-stream
    {"error": {"code": 400, "message", "status": "INVALID_ARGUMENT"}}    Google: the name of the code
    {"error": "message"}                                Ollama, LM Studio
    {"object": "error", "message", "type", "code"}      vLLM, Mistral; also with "detail"

The same shapes come as plain bodies and as events of a stream.
"""

import re
from typing import Final

from tokentrail.instrumentation.wire._base import ProviderError
from tokentrail.instrumentation.wire._json import Json, integer, mapping, text

_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
"""What may become an `error.type`: a code or type name, never a sentence."""


def read_error(body: Json) -> ProviderError | None:
    """The error that `body`, a plain response or a stream's chunk, tells of, or `None`."""
    error = body.get("error")
    if isinstance(error, str) and error:
        return ProviderError("", error)
    if details := mapping(error):
        return ProviderError(_kind(details), text(details.get("message")))
    if body.get("object") == "error" or body.get("type") == "error":
        return ProviderError(_kind(body, skip="error"), text(body.get("message")))
    if isinstance(detail := body.get("detail"), str) and detail:
        return ProviderError("", detail)
    return None


def _kind(details: Json, skip: str = "") -> str:
    for name in ("code", "type", "status"):
        value = text(details.get(name))
        if value != skip and _KIND.fullmatch(value):
            return value
    status = integer(details.get("code"))
    return str(status) if status is not None and 400 <= status < 600 else ""
