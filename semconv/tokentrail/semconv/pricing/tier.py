"""Service tiers: which words mean the ordinary one, and what is assumed where another has no price."""

from typing import Final

TIER_NOT_PRICED: Final = "tier_not_priced"
"""Assumption: the list has no prices of the tier that served the call, the standard ones are taken."""

STANDARD_TIER: Final = "standard"

_STANDARD_TIERS: Final = frozenset({"", "default", STANDARD_TIER, "auto", "on_demand", "ondemand", "on-demand"})
"""Words for the ordinary tier: OpenAI, Anthropic, a request's choice, Groq and Google."""


def is_standard(tier: str) -> bool:
    """True for the ordinary tier; `tier` is in lower case, empty where a call named none."""
    return tier in _STANDARD_TIERS
