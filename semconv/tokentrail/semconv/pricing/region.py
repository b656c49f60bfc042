"""Whether a price depends on where a call was served, and the call does not tell.

    Bedrock   in-region models and most profiles cost what the region of the host charges; lists know those of the USA
    Azure     a deployment costs what its type costs (global, data zone, regional), which stands in no response
    Vertex    regional endpoints may cost more than the global one; the host tells, where it is known
    Anthropic says where it ran the inference, which costs more where the caller chose it; lists have the global price

On Bedrock a global profile costs the same from everywhere, and so do Claude's regional ones outside GovCloud. A call
through an application profile names neither: Claude's answers tell the model alone.
(https://platform.claude.com/docs/en/about-claude/pricing, https://aws.amazon.com/bedrock/pricing, read 2026-11-21.)
Pure.
"""

import re
from typing import Final

from tokentrail.semconv import providers
from tokentrail.semconv.pricing._base import Lookup

REGION_ASSUMED: Final = "region_assumed"
"""Assumption: the price depends on the region or the type of deployment, and the list's is taken, which is the global
one on Azure and Vertex, that of the USA on Bedrock, and that of a regional profile for Claude there."""

_HOST: Final = re.compile(r"(?:^|[./])bedrock-(?:runtime|mantle)(?:-fips)?\.(?P<region>[a-z]+(?:-[a-z]+)+-\d+)\.")
_LISTED: Final = frozenset({"us-east-1", "us-east-2", "us-west-2"})
"""Regions of Bedrock whose prices are those of the lists."""
_SAME_EVERYWHERE: Final = re.compile(r"(?:^|[./])(?:global|anthropic)\.")
"""In a model id of Bedrock whose price all commercial regions share."""


def is_assumed(lookup: Lookup, model: str) -> bool:
    """True when the price of `model`, a name of the call's model, may not be that of where the call was served."""
    if lookup.provider == providers.BEDROCK:
        return _is_assumed_on_bedrock(lookup.server_address, model)
    if lookup.provider == providers.VERTEX:
        return not lookup.server_address
    if lookup.provider == providers.ANTHROPIC:
        return bool(lookup.region)
    return lookup.provider in (providers.AZURE_OPENAI, providers.AZURE_INFERENCE)


def _is_assumed_on_bedrock(server_address: str, model: str) -> bool:
    found = _HOST.search(server_address.lower())
    region = found["region"] if found else ""
    if region.startswith("us-gov-") or "." not in model:
        return True
    return region not in _LISTED and not _SAME_EVERYWHERE.search(model)
