"""The last resort: spans that nobody's vocabulary knows, and that name a model and what it used.

    model, model_name, llm.model_name, llm.model                which model
    input_tokens, prompt_tokens, usage.prompt_tokens, ...       what it used

Much else has a `model`: a device, a car, a table of a database, a classifier, the web request of a chat, a look-up of a
model's settings. So a model alone is no call: tokens have to be told with it, by a span that is no request served, no
query of a database, no message of a queue. A model with the prefix `llm.` is a language model's, and enough.
"""

from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.figures import counts, told_usd
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.tokens import as_totals
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Kind, Span
from tokentrail.semconv import genai
from tokentrail.semconv.usage import Usage

_OWN_MODEL: Final = ("llm.model_name", "llm.model", "llm.request.model")
_ANY_MODEL: Final = ("model", "model_name")
_MODELS: Final = frozenset({*_OWN_MODEL, *_ANY_MODEL})
_BEFORE: Final = ("", "usage.", "llm.usage.", "llm.", "token_usage.")
_INPUT: Final = tuple(
    before + name for before in _BEFORE for name in ("input_tokens", "prompt_tokens", "input_token_count")
)
_OUTPUT: Final = tuple(
    before + name for before in _BEFORE for name in ("output_tokens", "completion_tokens", "output_token_count")
)
_CACHE_READ: Final = tuple(
    before + name
    for before in _BEFORE
    for name in ("cache_read_tokens", "cached_tokens", "cache_read_input_tokens", "cached_token_count")
)
_REASONING: Final = tuple(before + name for before in _BEFORE for name in ("reasoning_tokens", "reasoning_token_count"))
_TOTAL: Final = tuple(before + "total_tokens" for before in _BEFORE)
_SPOKEN: Final = ("gen_ai.",)
"""Who knows the conventions says there what a span is."""
_NOT_CALLS: Final = ("db.", "messaging.", "rpc.", "graphql.", "faas.", "http.route", "device.")


class Bare:
    """The dialect."""

    name = "bare"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for a span that names a model in nobody's words, and speaks not of something else."""
        named = not _MODELS.isdisjoint(keys)
        return named and not any(key.startswith((*_SPOKEN, *_NOT_CALLS)) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row when it tells a model call, else `None`."""
        attributes = span.attributes
        usage = _usage(attributes)
        model = _model(attributes)
        if not model or span.kind == Kind.SERVER or (usage.is_empty and not coerce.text(attributes, *_OWN_MODEL)):
            return None
        return Row(
            **frame(span),
            kind=kinds.LLM,
            operation=kinds.OPERATION_OF[kinds.LLM],
            provider=identity.provider(span, model, "llm.provider", "llm.system", "provider"),
            request_model=model,
            response_model="",
            **counts(usage),
            **told_usd(coerce.number(attributes, "cost_usd")),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, genai.SESSION_ID, "thread_id"),
        )


def _model(attributes: Attributes) -> str:
    value = coerce.first(attributes, *_OWN_MODEL, *_ANY_MODEL)
    return value if isinstance(value, str) else ""


def _usage(attributes: Attributes) -> Usage:
    told = Usage(
        input_tokens=coerce.count(attributes, *_INPUT),
        output_tokens=coerce.count(attributes, *_OUTPUT),
        cache_read_tokens=coerce.count(attributes, *_CACHE_READ),
        reasoning_tokens=coerce.count(attributes, *_REASONING),
    )
    return as_totals(told, coerce.whole(attributes, *_TOTAL))
