"""Who provides a model: canonical provider names, their aliases, and the hosts they are called at.

Canonical names are the well-known values of `gen_ai.provider.name`; providers the conventions do not list keep the
name they are commonly known by. The host decides first: an SDK of one vendor is often pointed at another's host.
"""

import re
from typing import Final

OPENAI: Final = "openai"
AZURE_OPENAI: Final = "azure.ai.openai"
AZURE_INFERENCE: Final = "azure.ai.inference"
ANTHROPIC: Final = "anthropic"
BEDROCK: Final = "aws.bedrock"
GEMINI: Final = "gcp.gemini"
VERTEX: Final = "gcp.vertex_ai"
GCP: Final = "gcp.gen_ai"
"""Google, endpoint unknown."""
MISTRAL: Final = "mistral_ai"
COHERE: Final = "cohere"
GROQ: Final = "groq"
DEEPSEEK: Final = "deepseek"
X_AI: Final = "x_ai"
PERPLEXITY: Final = "perplexity"
MOONSHOT: Final = "moonshot_ai"
WATSONX: Final = "ibm.watsonx.ai"
OPENROUTER: Final = "openrouter"
TOGETHER: Final = "together_ai"
FIREWORKS: Final = "fireworks"
CEREBRAS: Final = "cerebras"
HUGGING_FACE: Final = "hugging_face"
NEBIUS: Final = "nebius"
DEEPINFRA: Final = "deepinfra"
SAMBANOVA: Final = "sambanova"
HYPERBOLIC: Final = "hyperbolic"
NOVITA: Final = "novita"
NVIDIA: Final = "nvidia"
ALIBABA: Final = "alibaba"
ZHIPU: Final = "zhipu"
MINIMAX: Final = "minimax"
GITHUB_MODELS: Final = "github_models"
VOYAGE: Final = "voyageai"
JINA: Final = "jina"
SILICONFLOW: Final = "siliconflow"
PORTKEY: Final = "portkey"
HELICONE: Final = "helicone"
VERCEL_GATEWAY: Final = "vercel"
OLLAMA: Final = "ollama"
ORACLE: Final = "oracle_cloud.generative_ai"
SELF_HOSTED: Final = "self_hosted"
"""A host that no table knows, serving a format that we do: vLLM, LM Studio, llama.cpp, a gateway of one's own."""

OLLAMA_PORT: Final = 11434

_EXACT: Final[dict[str, str]] = {
    "api.openai.com": OPENAI,
    "api.anthropic.com": ANTHROPIC,
    "generativelanguage.googleapis.com": GEMINI,
    "generativelanguage.mtls.googleapis.com": GEMINI,
    "aiplatform.googleapis.com": VERTEX,
    "aiplatform.mtls.googleapis.com": VERTEX,
    "aiplatform.us.rep.googleapis.com": VERTEX,
    "aiplatform.eu.rep.googleapis.com": VERTEX,
    "api.mistral.ai": MISTRAL,
    "codestral.mistral.ai": MISTRAL,
    "api.cohere.com": COHERE,
    "api.cohere.ai": COHERE,
    "api.groq.com": GROQ,
    "api.deepseek.com": DEEPSEEK,
    "api.x.ai": X_AI,
    "api.perplexity.ai": PERPLEXITY,
    "api.moonshot.ai": MOONSHOT,
    "api.moonshot.cn": MOONSHOT,
    "openrouter.ai": OPENROUTER,
    "api.together.xyz": TOGETHER,
    "api.together.ai": TOGETHER,
    "api.fireworks.ai": FIREWORKS,
    "api.cerebras.ai": CEREBRAS,
    "router.huggingface.co": HUGGING_FACE,
    "api-inference.huggingface.co": HUGGING_FACE,
    "api.studio.nebius.com": NEBIUS,
    "api.studio.nebius.ai": NEBIUS,
    "api.tokenfactory.nebius.com": NEBIUS,
    "api.deepinfra.com": DEEPINFRA,
    "api.sambanova.ai": SAMBANOVA,
    "api.hyperbolic.xyz": HYPERBOLIC,
    "api.novita.ai": NOVITA,
    "integrate.api.nvidia.com": NVIDIA,
    "dashscope.aliyuncs.com": ALIBABA,
    "dashscope-intl.aliyuncs.com": ALIBABA,
    "open.bigmodel.cn": ZHIPU,
    "api.z.ai": ZHIPU,
    "api.minimax.io": MINIMAX,
    "models.github.ai": GITHUB_MODELS,
    "api.voyageai.com": VOYAGE,
    "api.jina.ai": JINA,
    "api.siliconflow.com": SILICONFLOW,
    "api.siliconflow.cn": SILICONFLOW,
    "models.inference.ai.azure.com": AZURE_INFERENCE,
    "api.portkey.ai": PORTKEY,
    "ai-gateway.vercel.sh": VERCEL_GATEWAY,
    "ollama.com": OLLAMA,
    # Helicone's hosts stand for the provider behind them; its gateways serve many.
    "oai.helicone.ai": OPENAI,
    "oai.hconeai.com": OPENAI,
    "anthropic.helicone.ai": ANTHROPIC,
    "groq.helicone.ai": GROQ,
    "together.helicone.ai": TOGETHER,
    "openrouter.helicone.ai": OPENROUTER,
    "deepseek.helicone.ai": DEEPSEEK,
    "fireworks.helicone.ai": FIREWORKS,
    "perplexity.helicone.ai": PERPLEXITY,
    "mistral.helicone.ai": MISTRAL,
    "x.helicone.ai": X_AI,
    "gateway.helicone.ai": HELICONE,
    "ai-gateway.helicone.ai": HELICONE,
    "api.helicone.ai": HELICONE,
}

_SUFFIXES: Final[tuple[tuple[str, str], ...]] = (
    # A host for each region of data residency: us, eu, ae, au, in, jp, ...
    (".api.openai.com", OPENAI),
    (".openai.azure.com", AZURE_OPENAI),
    (".openai.azure.us", AZURE_OPENAI),
    (".cognitiveservices.azure.com", AZURE_OPENAI),
    (".services.ai.azure.com", AZURE_INFERENCE),
    (".inference.ai.azure.com", AZURE_INFERENCE),
    (".models.ai.azure.com", AZURE_INFERENCE),
    ("-aiplatform.googleapis.com", VERTEX),
    ("-aiplatform.mtls.googleapis.com", VERTEX),
    (".prediction.vertexai.goog", VERTEX),
    (".helicone.ai", HELICONE),
    (".ml.cloud.ibm.com", WATSONX),
    (".endpoints.huggingface.cloud", HUGGING_FACE),
)

_BEDROCK: Final = re.compile(r"^(vpce-[^.]+\.)?bedrock-(runtime|mantle)(-fips)?\.")
"""Its hosts in every region and partition, and the endpoints of it in networks of one's own (AWS PrivateLink); `mantle`
serves the formats of Anthropic and OpenAI (https://platform.claude.com/docs/en/build-with-claude/claude-in-amazon-bedrock).
"""

_CLAUDE_PLATFORM: Final = re.compile(r"^aws-external-anthropic\.[a-z0-9-]+\.api\.aws$")
"""Anthropic's own API, billed through AWS at Anthropic's prices (https://docs.aws.amazon.com/claude-platform)."""

_ALIASES: Final[dict[str, str]] = {
    "open_ai": OPENAI,
    "text-completion-openai": OPENAI,
    "azure": AZURE_OPENAI,
    "azure_openai": AZURE_OPENAI,
    "azure-openai": AZURE_OPENAI,
    "az.ai.openai": AZURE_OPENAI,
    "az.ai.inference": AZURE_INFERENCE,
    "azure_ai": AZURE_INFERENCE,
    "azure-ai": AZURE_INFERENCE,
    "claude": ANTHROPIC,
    "bedrock": BEDROCK,
    "bedrock_converse": BEDROCK,
    "amazon-bedrock": BEDROCK,
    "amazon_bedrock": BEDROCK,
    "aws_bedrock": BEDROCK,
    "aws": BEDROCK,
    "amazon": BEDROCK,
    "gemini": GEMINI,
    "google.generative-ai": GEMINI,
    "google_ai_gemini": GEMINI,
    "google_ai_studio": GEMINI,
    "google-gla": GEMINI,
    "vertex_ai": VERTEX,
    "vertexai": VERTEX,
    "vertex_ai_beta": VERTEX,
    "vertex": VERTEX,
    "vertex-ai": VERTEX,
    "googlevertex": VERTEX,
    "google.vertex": VERTEX,
    "google-vertex": VERTEX,
    "google": GCP,
    "google_genai": GCP,
    "cohere_chat": COHERE,
    "mistral": MISTRAL,
    "mistralai": MISTRAL,
    "mistral-ai": MISTRAL,
    "perplexity-ai": PERPLEXITY,
    "xai": X_AI,
    "x-ai": X_AI,
    "watsonx": WATSONX,
    "ibm.watson.ai": WATSONX,
    "moonshot": MOONSHOT,
    "moonshotai": MOONSHOT,
    "together": TOGETHER,
    "together-ai": TOGETHER,
    "togetherai": TOGETHER,
    "voyage": VOYAGE,
    "jina_ai": JINA,
    "fireworks_ai": FIREWORKS,
    "fireworks-ai": FIREWORKS,
    "huggingface": HUGGING_FACE,
    "oci_genai": ORACLE,
}

_APIS: Final = frozenset(
    {
        *("chat", "completion", "completions", "responses", "messages", "embedding", "embeddings", "textembedding"),
        *("image", "speech", "transcription", "video", "reranking"),
    }
)
"""What Vercel's AI SDK appends to the name of a provider (`@ai-sdk/*` of November 2026)."""

_BEDROCK_MODEL: Final = re.compile(
    r"arn:aws[a-z-]*:bedrock:.*|((us|eu|apac|global)\.)?(anthropic|amazon|meta|mistral|cohere|ai21|deepseek)\..+"
)
_FAMILIES: Final = (
    (re.compile(r"gpt-|o\d|chatgpt-|text-embedding-(3|ada)"), OPENAI),
    (re.compile(r"claude"), ANTHROPIC),
    (re.compile(r"gemini"), GCP),
    (re.compile(r"mistral|mixtral|codestral"), MISTRAL),
    (re.compile(r"grok"), X_AI),
    (re.compile(r"deepseek"), DEEPSEEK),
    (re.compile(r"command"), COHERE),
)
"""Whose models begin like this."""

_CANONICAL: Final = frozenset({*_EXACT.values(), *(name for _, name in _SUFFIXES), *_ALIASES.values(), SELF_HOSTED})


def of_host(host: str, port: int | None = None) -> str | None:
    """The provider called at `host`, or `None` when no table knows it (lower case or not, no scheme, no port)."""
    host = host.lower().rstrip(".")
    if name := _EXACT.get(host):
        return name
    for suffix, provider in _SUFFIXES:
        if host.endswith(suffix):
            return provider
    if _BEDROCK.search(host):
        return BEDROCK
    if _CLAUDE_PLATFORM.search(host):
        return ANTHROPIC
    return OLLAMA if port == OLLAMA_PORT else None


def canonical(name: str) -> str:
    """`name` as its canonical provider name; a name nobody knows passes through in lower case.

    Some producers append the API (`openai.chat`, `bedrock.anthropic.messages`): the whole name is looked up first, then
    what is before its dots, the last one first.
    """
    name = name.strip().lower()
    if name in _CANONICAL:
        return name
    if alias := _ALIASES.get(name):
        return alias
    head, _, api = name.rpartition(".")
    rest = head
    while rest:
        if rest in _CANONICAL or rest in _ALIASES:
            return _ALIASES.get(rest, rest)
        rest = rest.rpartition(".")[0]
    return head if head and api in _APIS else name


def of_model(model: str) -> str:
    """The provider that a model's name alone suggests, empty when it suggests none: a guess, for want of better."""
    model = model.strip().lower()
    if _BEDROCK_MODEL.fullmatch(model):
        return BEDROCK
    vendor, slash, rest = model.partition("/")
    if slash and rest:
        return canonical(vendor)
    return next((name for pattern, name in _FAMILIES if pattern.match(model)), "")


def known() -> tuple[str, ...]:
    """All canonical provider names, in alphabetical order."""
    return tuple(sorted(_CANONICAL))


def is_helicone_host(host: str) -> bool:
    """True for a host that is Helicone's own, to which `Helicone-*` headers must travel on."""
    host = host.lower().rstrip(".")
    return host.endswith((".helicone.ai", ".hconeai.com")) or host in ("helicone.ai", "hconeai.com")
