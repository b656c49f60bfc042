"""The hosts that speak OpenAI's formats, and the paths of its endpoints beside chat: which call, of whom."""

import json

import pytest

from tokentrail.instrumentation.wire import (
    ANTHROPIC_COMPLETE,
    BEDROCK_CONVERSE,
    COHERE_RERANK,
    GENERIC_RERANK,
    MISTRAL_FIM,
    OPENAI_CHAT,
    OPENAI_COMPLETIONS,
    OPENAI_EMBEDDINGS,
    OPENAI_IMAGES,
    OPENAI_MODERATIONS,
    OPENAI_SPEECH,
    OPENAI_TRANSCRIPTIONS,
    endpoints,
)
from tokentrail.instrumentation.wire._base import WireFormat

HOSTS = [
    ("x.openai.azure.com", "/openai/v1/chat/completions", OPENAI_CHAT, "azure.ai.openai"),
    ("x.openai.azure.com", "/openai/deployments/d/completions", OPENAI_COMPLETIONS, "azure.ai.openai"),
    ("x.openai.azure.com", "/openai/deployments/d/images/generations", OPENAI_IMAGES, "azure.ai.openai"),
    ("x.openai.azure.com", "/openai/deployments/d/images/edits", OPENAI_IMAGES, "azure.ai.openai"),
    ("x.openai.azure.com", "/openai/deployments/d/audio/transcriptions", OPENAI_TRANSCRIPTIONS, "azure.ai.openai"),
    ("x.openai.azure.com", "/openai/deployments/d/audio/speech", OPENAI_SPEECH, "azure.ai.openai"),
    ("x.services.ai.azure.com", "/models/chat/completions", OPENAI_CHAT, "azure.ai.inference"),
    ("x.services.ai.azure.com", "/openai/v1/images/generations", OPENAI_IMAGES, "azure.ai.openai"),
    ("api.cerebras.ai", "/v1/chat/completions", OPENAI_CHAT, "cerebras"),
    ("api.cerebras.ai", "/v1/completions", OPENAI_COMPLETIONS, "cerebras"),
    ("api.groq.com", "/openai/v1/audio/transcriptions", OPENAI_TRANSCRIPTIONS, "groq"),
    ("api.groq.com", "/openai/v1/audio/speech", OPENAI_SPEECH, "groq"),
    ("api.x.ai", "/v1/chat/completions", OPENAI_CHAT, "x_ai"),
    ("api.x.ai", "/v1/completions", OPENAI_COMPLETIONS, "x_ai"),
    ("api.x.ai", "/v1/images/generations", OPENAI_IMAGES, "x_ai"),
    ("api.perplexity.ai", "/chat/completions", OPENAI_CHAT, "perplexity"),
    ("api.deepseek.com", "/beta/completions", OPENAI_COMPLETIONS, "deepseek"),
    ("api.moonshot.ai", "/v1/chat/completions", OPENAI_CHAT, "moonshot_ai"),
    ("open.bigmodel.cn", "/api/paas/v4/chat/completions", OPENAI_CHAT, "zhipu"),
    ("api.z.ai", "/api/coding/paas/v4/chat/completions", OPENAI_CHAT, "zhipu"),
    ("open.bigmodel.cn", "/api/paas/v4/images/generations", OPENAI_IMAGES, "zhipu"),
    ("integrate.api.nvidia.com", "/v1/chat/completions", OPENAI_CHAT, "nvidia"),
    ("openrouter.ai", "/api/v1/completions", OPENAI_COMPLETIONS, "openrouter"),
    ("api.together.xyz", "/v1/completions", OPENAI_COMPLETIONS, "together_ai"),
    ("api.together.xyz", "/v1/images/generations", OPENAI_IMAGES, "together_ai"),
    ("api.together.xyz", "/v1/rerank", GENERIC_RERANK, "together_ai"),
    ("api.fireworks.ai", "/inference/v1/completions", OPENAI_COMPLETIONS, "fireworks"),
    ("api.jina.ai", "/v1/rerank", GENERIC_RERANK, "jina"),
    ("api.jina.ai", "/v1/embeddings", OPENAI_EMBEDDINGS, "jina"),
    ("api.voyageai.com", "/v1/rerank", GENERIC_RERANK, "voyageai"),
    ("api.voyageai.com", "/v1/embeddings", OPENAI_EMBEDDINGS, "voyageai"),
    ("api.siliconflow.cn", "/v1/rerank", GENERIC_RERANK, "siliconflow"),
    ("api.mistral.ai", "/v1/moderations", OPENAI_MODERATIONS, "mistral_ai"),
    ("api.mistral.ai", "/v1/chat/moderations", OPENAI_MODERATIONS, "mistral_ai"),
    ("api.mistral.ai", "/v1/audio/transcriptions", OPENAI_TRANSCRIPTIONS, "mistral_ai"),
    ("api.portkey.ai", "/v1/chat/completions", OPENAI_CHAT, "portkey"),
    ("api.portkey.ai", "/v1/completions", OPENAI_COMPLETIONS, "portkey"),
    ("api.portkey.ai", "/v1/prompts/pp-weather-1/completions", OPENAI_CHAT, "portkey"),
    ("ai-gateway.helicone.ai", "/v1/chat/completions", OPENAI_CHAT, "helicone"),
    ("oai.helicone.ai", "/v1/completions", OPENAI_COMPLETIONS, "openai"),
    ("anthropic.helicone.ai", "/v1/complete", ANTHROPIC_COMPLETE, "anthropic"),
    ("api.openai.com", "/v1/completions", OPENAI_COMPLETIONS, "openai"),
    ("api.openai.com", "/v1/images/variations", OPENAI_IMAGES, "openai"),
    ("api.openai.com", "/v1/audio/translations", OPENAI_TRANSCRIPTIONS, "openai"),
    ("api.openai.com", "/v1/moderations", OPENAI_MODERATIONS, "openai"),
    ("api.anthropic.com", "/v1/complete", ANTHROPIC_COMPLETE, "anthropic"),
    # Longer paths and formats of one vendor go first.
    ("api.mistral.ai", "/v1/fim/completions", MISTRAL_FIM, "mistral_ai"),
    ("api.cohere.com", "/v2/rerank", COHERE_RERANK, "cohere"),
    ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse", BEDROCK_CONVERSE, "aws.bedrock"),
]


@pytest.mark.parametrize(("host", "path", "wire", "provider"), HOSTS)
def test_a_path_at_a_known_host_is_a_call(host: str, path: str, wire: WireFormat, provider: str) -> None:
    found = endpoints.match(host, 443, path, b"")

    assert found is not None
    assert (found.wire, found.provider) == (wire, provider)


@pytest.mark.parametrize(
    ("path", "body", "wire"),
    [
        ("/v1/completions", {"model": "m", "prompt": "x"}, OPENAI_COMPLETIONS),
        ("/v1/completions", {"model": "m", "prompt": [1, 2]}, OPENAI_COMPLETIONS),
        ("/api/v0/completions", {"model": "m", "prompt": "x"}, OPENAI_COMPLETIONS),
        ("/api/v0/chat/completions", {"model": "m", "messages": []}, OPENAI_CHAT),
        ("/v1/complete", {"model": "m", "prompt": "x", "max_tokens_to_sample": 1}, ANTHROPIC_COMPLETE),
        ("/v1/images/generations", {"model": "m", "prompt": "x"}, OPENAI_IMAGES),
        ("/v1/audio/transcriptions", {"model": "m"}, OPENAI_TRANSCRIPTIONS),
        ("/v1/audio/speech", {"model": "m", "input": "x"}, OPENAI_SPEECH),
        ("/v1/moderations", {"model": "m", "input": "x"}, OPENAI_MODERATIONS),
        ("/rerank", {"model": "m", "query": "q", "documents": []}, GENERIC_RERANK),
        ("/v1/rerank", {"model": "m", "query": "q", "documents": ["a"]}, GENERIC_RERANK),
        ("/v2/rerank", {"model": "m", "query": "q", "documents": ["a"]}, GENERIC_RERANK),
    ],
)
def test_a_server_of_ones_own_is_known_by_the_body(path: str, body: dict[str, object], wire: WireFormat) -> None:
    found = endpoints.match("gateway.internal", 4000, path, json.dumps(body).encode())

    assert found is not None
    assert (found.wire, found.provider, found.model) == (wire, "self_hosted", "m")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "m"}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/prompts/p/completions", {"variables": {}}),
        ("/task/complete", {"model": "m", "prompt": "x", "max_tokens_to_sample": 1}),
        ("/v1/complete", {"model": "m", "prompt": "x"}),
        ("/images/edits", {"prompt": "x"}),
        ("/audio/speech", {"text": "x"}),
        ("/moderations", {"input": "x"}),
        ("/rerank", {"query": "q", "texts": ["a"]}),
        ("/rerank", {"model": "m", "query": "q"}),
    ],
)
def test_an_api_of_ones_own_at_such_a_path_is_none(path: str, body: dict[str, object]) -> None:
    assert endpoints.match("app.example.com", 443, path, json.dumps(body).encode()) is None
