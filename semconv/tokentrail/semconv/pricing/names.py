"""Whose price list a call belongs to, and under which names its model may stand there. Pure: no price data is read.

server address, provider name  ->  canonical provider  ->  ids of price lists
model id                       ->  candidates: as given, then cleaned, then approximations that say so
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tokentrail.semconv import providers
from tokentrail.semconv.pricing._base import Lookup

FINE_TUNE_AT_BASE_PRICE: Final = "fine_tune_at_base_price"
"""Assumption: the list has no price of the fine-tuned model, its base model's is taken."""
SNAPSHOT_AT_MODEL_PRICE: Final = "snapshot_at_model_price"
"""Assumption: the list does not know this dated (or `-latest`) version, the model's own price is taken."""
WEB_SEARCH_NOT_PRICED: Final = "web_search_not_priced"
"""Assumption: the tokens are priced, web searches (those that are told, or of an `:online` model) are not."""

_LISTS: Final[dict[str, tuple[str, ...]]] = {
    providers.OPENAI: ("openai",),
    # Spelled out because the list's own matching takes `azure.ai.openai` for OpenAI (genai-prices 0.2.3).
    providers.AZURE_OPENAI: ("azure",),
    providers.AZURE_INFERENCE: ("azure",),
    providers.ANTHROPIC: ("anthropic",),
    providers.BEDROCK: ("aws",),
    providers.GEMINI: ("google",),
    providers.VERTEX: ("google",),
    providers.GCP: ("google",),
    providers.MISTRAL: ("mistral",),
    providers.COHERE: ("cohere",),
    providers.GROQ: ("groq",),
    providers.DEEPSEEK: ("deepseek",),
    providers.X_AI: ("x-ai",),
    providers.PERPLEXITY: ("perplexity",),
    providers.MOONSHOT: ("moonshotai",),
    providers.OPENROUTER: ("openrouter",),
    providers.TOGETHER: ("together",),
    providers.FIREWORKS: ("fireworks",),
    providers.CEREBRAS: ("cerebras",),
    providers.NOVITA: ("novita",),
    providers.MINIMAX: ("minimax",),
    providers.ZHIPU: ("zai", "zhipuai"),
}
"""Ids of genai-prices' lists by our provider name, in the order to look (read in its data, version 0.2.3)."""

_SELF_HOSTED: Final = frozenset(
    {providers.SELF_HOSTED, providers.OLLAMA, "vllm", "sglang", "tgi", "lm_studio", "lmstudio", "llama_cpp"}
    | {"llama.cpp", "llamacpp", "localai", "llamafile", "xinference"}
)
"""Programs that people run themselves; Ollama's own cloud is told apart by its host."""

_GATEWAYS: Final = frozenset({providers.HELICONE, providers.PORTKEY, providers.VERCEL_GATEWAY})
"""Their hosts stand for many providers, so a provider's name says more than the host."""

_ANY_VENDOR_PREFIX: Final = frozenset({"azure", "google"})
"""Lists that name models without their maker, whose APIs take them with it (`meta/llama-...`)."""

_TUNABLE_SNAPSHOTS: Final = {"gpt-4o": "gpt-4o-2024-08-06", "gpt-4o-mini": "gpt-4o-mini-2024-07-18"}
"""The tunable version of models whose fine-tunes are listed under dated ids only; OpenAI's API reference also shows ids
without a date. Versions from MicrosoftDocs/azure-ai-docs, `fine-tune-models.md`, September 2025."""

_SNAPSHOT: Final = re.compile(
    r"(?P<model>.+?)[-@](?:20\d\d-\d\d-\d\d|20\d{6}|latest|default)|(?P<gemini>(?:.*/)?gemini-.+)-\d{3}"
)
"""A model id with its version at the end: a date, `-latest`, Vertex's `@...`, Gemini's `-001`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place where the price of a model may stand."""

    price_list: str
    """Id of a provider in genai-prices."""
    model: str
    """Lower case."""
    assumption: str = ""
    """What is assumed by taking this price; empty when it is the model's own."""


def provider_of(name: str, server_address: str) -> str:
    """The canonical provider that serves `server_address` to a client of provider `name`.

    A known host decides. An unknown host behind a client of OpenAI's shape is self-hosted: everybody speaks that
    format, and a local `gpt-oss-120b` must not get somebody's list price. Other clients are believed.
    """
    named = providers.canonical(name)
    host = _host(server_address)
    if not host:
        return named
    known = providers.of_host(host)
    if known is None:
        return providers.SELF_HOSTED if named in (providers.OPENAI, "") else named
    if known in _GATEWAYS and named:
        return named
    return known


def is_self_hosted(provider: str, server_address: str) -> bool:
    """True when whoever runs `provider` sets its price: there is no list to look in."""
    return provider in _SELF_HOSTED and providers.of_host(_host(server_address)) is None


def price_lists(provider: str, server_address: str) -> tuple[str, ...]:
    """Ids of the price lists of `provider`, in the order to look; its own name when it is not in our table."""
    if provider == providers.ZHIPU and _host(server_address) == "open.bigmodel.cn":
        return ("zhipuai",)  # the Chinese platform has prices of its own, lower than those abroad
    return _LISTS.get(provider, (provider,))


def exact_first(provider: str, models: tuple[str, ...]) -> tuple[str, ...]:
    """`models` in the order to look, which is their own but on Bedrock.

    What is called there says more than what answers: Claude calls itself `claude-sonnet-4-5-...` whether it was asked
    as `global.anthropic.claude-sonnet-4-5-...` or by a regional profile, which costs a tenth more. So a name that
    another one contains goes behind it.
    """
    if provider != providers.BEDROCK:
        return models
    return tuple(sorted(models, key=lambda model: any(model != other and model in other for other in models)))


def candidates(provider: str, price_list: str, model: str) -> Iterator[Candidate]:
    """Where to look for `model` in `price_list`, best first; names may repeat."""
    name = model.strip().lower()
    if provider == providers.HUGGING_FACE:
        # The router names the provider that serves the model behind a colon; each has a list of its own.
        name, _, served_by = name.partition(":")
        yield Candidate(f"huggingface_{served_by}", name)
        return
    for exact in _spellings(provider, price_list, name):
        yield Candidate(price_list, exact)
    for exact in _spellings(provider, price_list, name):
        for approximate, assumption in _approximations(exact):
            yield Candidate(price_list, approximate, assumption)


def spellings(lookup: Lookup, model: str) -> tuple[str, ...]:
    """The names, in lower case, under which `model` may stand in a table of our own: as given, and without its path."""
    name = model.strip().lower()
    lists = price_lists(lookup.provider, lookup.server_address)
    return tuple(dict.fromkeys(each for one in lists for each in _spellings(lookup.provider, one, name)))


def _spellings(provider: str, price_list: str, name: str) -> Iterator[str]:
    """The names of the very same model."""
    yield name
    bare = _without_path(name)
    head, _, rest = bare.partition("/")
    if rest and (price_list in _ANY_VENDOR_PREFIX or price_list in _LISTS.get(providers.canonical(head), ())):
        bare = rest
    if bare != name:
        yield bare
    if provider == providers.FIREWORKS and "/" not in bare:
        yield f"accounts/fireworks/models/{bare}"
    if bare.startswith("ft:"):
        base = bare.removeprefix("ft:").partition(":")[0]
        if snapshot := _TUNABLE_SNAPSHOTS.get(base):
            yield f"ft:{snapshot}{bare.removeprefix('ft:' + base)}"


def _approximations(name: str) -> Iterator[tuple[str, str]]:
    """Names of models that cost the same as far as anybody can tell, with the assumption that this is."""
    if name.endswith(":online"):
        yield name.removesuffix(":online"), WEB_SEARCH_NOT_PRICED
    elif name.startswith("ft:"):
        base = name.removeprefix("ft:").partition(":")[0]
        yield base, FINE_TUNE_AT_BASE_PRICE
        if model := _without_version(base):
            yield model, FINE_TUNE_AT_BASE_PRICE
    elif model := _without_version(name):
        yield model, SNAPSHOT_AT_MODEL_PRICE


def _without_version(name: str) -> str:
    """`name` less its version, empty when it has none."""
    match = _SNAPSHOT.fullmatch(name)
    return (match["model"] or match["gemini"]) if match else ""


def _without_path(name: str) -> str:
    """`name` without the resource path that Google (`publishers/x/models/`) and Bedrock (ARNs) put before it."""
    if name.startswith("arn:"):
        return name.rpartition("/")[2]
    if name.startswith(("models/", "publishers/", "projects/")):
        return name.rpartition("models/")[2]
    return name


def _host(server_address: str) -> str:
    """The host in what should be a host, but is a URL or carries a port with some producers."""
    host = server_address.strip().lower().rpartition("://")[2].partition("/")[0]
    name, _, port = host.rpartition(":")
    return name if port.isdigit() and ":" not in name else host
