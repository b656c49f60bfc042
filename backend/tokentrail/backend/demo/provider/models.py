"""The models on offer: real names with public list prices, and how fast each of them is.

A request may name the alias or the snapshot; answers name the snapshot, as the vendors do.
"""

from dataclasses import dataclass
from typing import Final

from tokentrail.backend.demo.provider._base import Refusal
from tokentrail.backend.demo.provider.request import INVALID
from tokentrail.semconv import providers


@dataclass(frozen=True, slots=True)
class Model:
    """One model. Times and rates are ranges, from and to."""

    provider: str
    alias: str
    snapshot: str
    first_token_s: tuple[float, float] = (0.18, 0.40)
    tokens_per_s: tuple[float, float] = (25.0, 45.0)
    dimensions: int = 0
    """Length of a vector; 0 for a model that talks."""


_QUICK: Final = (0.08, 0.20)
_FLUENT: Final = (40.0, 60.0)

MODELS: Final = (
    Model(providers.OPENAI, "gpt-5.5", "gpt-5.5-2026-04-23"),
    Model(providers.OPENAI, "gpt-5.4", "gpt-5.4"),
    Model(providers.OPENAI, "gpt-5.4-mini", "gpt-5.4-mini-2026-03-17", _QUICK, _FLUENT),
    Model(providers.OPENAI, "gpt-5.4-nano", "gpt-5.4-nano-2026-03-17", _QUICK, _FLUENT),
    Model(providers.OPENAI, "gpt-4.1", "gpt-4.1-2025-04-14"),
    Model(providers.OPENAI, "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", _QUICK, _FLUENT),
    Model(providers.OPENAI, "gpt-4o", "gpt-4o-2024-08-06"),
    Model(providers.OPENAI, "gpt-4o-mini", "gpt-4o-mini-2024-07-18", _QUICK, _FLUENT),
    Model(providers.OPENAI, "text-embedding-3-small", "text-embedding-3-small", _QUICK, dimensions=1536),
    Model(providers.OPENAI, "text-embedding-3-large", "text-embedding-3-large", _QUICK, dimensions=3072),
    Model(providers.ANTHROPIC, "claude-haiku-4-5", "claude-haiku-4-5-20251001", _QUICK, _FLUENT),
    Model(providers.ANTHROPIC, "claude-sonnet-5", "claude-sonnet-5"),
    Model(providers.ANTHROPIC, "claude-opus-4-5", "claude-opus-4-5-20251101", (0.25, 0.40), (20.0, 35.0)),
)

_BY_NAME: Final = {(model.provider, name): model for model in MODELS for name in (model.alias, model.snapshot)}


def find(provider: str, name: str, *, embeddings: bool) -> Model:
    """The model of that name. Raises `Refusal` (404) in the vendor's words when there is none for the endpoint."""
    model = _BY_NAME.get((provider, name))
    if model is not None and bool(model.dimensions) == embeddings:
        return model
    if provider == providers.ANTHROPIC:
        raise Refusal(404, "not_found_error", f"model: {name}")
    raise Refusal(
        404,
        INVALID,
        f"The model `{name}` does not exist or you do not have access to it.",
        code="model_not_found",
    )
