"""Which of the vendors' paths are calls, of which format, and whose they are."""

import json

import pytest

from tokentrail.instrumentation.wire import (
    COHERE_CHAT,
    COHERE_CHAT_V1,
    COHERE_EMBED,
    COHERE_RERANK,
    MISTRAL_CONVERSATIONS,
    MISTRAL_FIM,
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OLLAMA_GENERATE,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    endpoints,
)
from tokentrail.instrumentation.wire._base import WireFormat

FOUNDRY = "x.services.ai.azure.com"
USER = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("host", "path", "wire", "provider"),
    [
        ("127.0.0.1:11434", "/api/chat", OLLAMA_CHAT, "ollama"),
        ("gpu.example:11434", "/api/generate", OLLAMA_GENERATE, "ollama"),
        ("localhost:11434", "/api/embed", OLLAMA_EMBED, "ollama"),
        ("localhost:11434", "/api/embeddings", OLLAMA_EMBEDDINGS, "ollama"),
        ("localhost:11434", "/v1/embeddings", OPENAI_EMBEDDINGS, "ollama"),
        ("ollama.com:443", "/api/chat", OLLAMA_CHAT, "ollama"),
        ("api.cohere.com:443", "/v2/chat", COHERE_CHAT, "cohere"),
        ("api.cohere.com:443", "/v1/chat", COHERE_CHAT_V1, "cohere"),
        ("api.cohere.ai:443", "/v1/embed", COHERE_EMBED, "cohere"),
        ("api.cohere.com:443", "/v2/embed", COHERE_EMBED, "cohere"),
        ("api.cohere.com:443", "/v1/rerank", COHERE_RERANK, "cohere"),
        ("api.cohere.com:443", "/v2/rerank", COHERE_RERANK, "cohere"),
        ("api.cohere.com:443", "/compatibility/v1/chat/completions", OPENAI_CHAT, "cohere"),
        ("api.cohere.com:443", "/compatibility/v1/embeddings", OPENAI_EMBEDDINGS, "cohere"),
        ("api.mistral.ai:443", "/v1/chat/completions", OPENAI_CHAT, "mistral_ai"),
        ("api.mistral.ai:443", "/v1/agents/completions", OPENAI_CHAT, "mistral_ai"),
        ("api.mistral.ai:443", "/v1/embeddings", OPENAI_EMBEDDINGS, "mistral_ai"),
        ("api.mistral.ai:443", "/v1/fim/completions", MISTRAL_FIM, "mistral_ai"),
        ("codestral.mistral.ai:443", "/v1/fim/completions", MISTRAL_FIM, "mistral_ai"),
        ("api.mistral.ai:443", "/v1/conversations", MISTRAL_CONVERSATIONS, "mistral_ai"),
        ("api.mistral.ai:443", "/v1/conversations/conv_1", MISTRAL_CONVERSATIONS, "mistral_ai"),
        ("api.mistral.ai:443", "/v1/conversations/conv_1/restart", MISTRAL_CONVERSATIONS, "mistral_ai"),
        (f"{FOUNDRY}:443", "/models/chat/completions", OPENAI_CHAT, "azure.ai.inference"),
        (f"{FOUNDRY}:443", "/models/embeddings", OPENAI_EMBEDDINGS, "azure.ai.inference"),
        (f"{FOUNDRY}:443", "/models/images/embeddings", OPENAI_EMBEDDINGS, "azure.ai.inference"),
        (f"{FOUNDRY}:443", "/openai/deployments/d/chat/completions", OPENAI_CHAT, "azure.ai.openai"),
        (f"{FOUNDRY}:443", "/openai/v1/chat/completions", OPENAI_CHAT, "azure.ai.openai"),
        (f"{FOUNDRY}:443", "/providers/cohere/v2/rerank", COHERE_RERANK, "azure.ai.inference"),
        ("x.eastus2.models.ai.azure.com:443", "/chat/completions", OPENAI_CHAT, "azure.ai.inference"),
        ("x.eastus2.models.ai.azure.com:443", "/v1/chat/completions", OPENAI_CHAT, "azure.ai.inference"),
        ("models.inference.ai.azure.com:443", "/chat/completions", OPENAI_CHAT, "azure.ai.inference"),
    ],
)
def test_a_path_of_a_known_host_is_an_endpoint_whatever_the_body(
    host: str, path: str, wire: WireFormat, provider: str
) -> None:
    name, _, port = host.partition(":")

    for body, model in ((b'{"model": "m"}', "m"), (b"{}", ""), (b"", "")):
        found = endpoints.match(name, int(port), path, body)

        assert found is not None
        assert (found.wire, found.provider) == (wire, provider)
        assert found.model == (model or ("d" if "deployments" in path else ""))


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("api.openai.com", "/v1/conversations"),
        ("api.openai.com", "/v1/conversations/conv_1/items"),
        ("api.openai.com", "/v1/conversations/conv_1"),
        ("api.openai.com", "/v1/agents/completions/x"),
        ("api.mistral.ai", "/v1/conversations/conv_1/history"),
        ("api.mistral.ai", "/v1/agents"),
        ("api.mistral.ai", "/v1/ocr"),
        ("api.cohere.com", "/v1/tokenize"),
        ("api.cohere.com", "/v1/classify"),
        ("app.example.com", "/v1/conversations/conv_1"),
    ],
)
def test_what_calls_no_model_is_no_endpoint(host: str, path: str) -> None:
    body = {"model": "m", "inputs": "x", "messages": USER}

    assert endpoints.match(host, 443, path, json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    ("path", "body", "wire"),
    [
        ("/api/chat", {"model": "m", "messages": USER}, OLLAMA_CHAT),
        ("/ollama/api/chat", {"model": "m", "messages": [], "keep_alive": 0}, OLLAMA_CHAT),
        ("/api/generate", {"model": "m", "prompt": "x", "stream": False, "options": {}}, OLLAMA_GENERATE),
        ("/api/embed", {"model": "m", "input": "x"}, OLLAMA_EMBED),
        ("/api/embed", {"model": "m", "input": ["x"]}, OLLAMA_EMBED),
        ("/api/embeddings", {"model": "m", "prompt": "x"}, OLLAMA_EMBEDDINGS),
        ("/api/embeddings", {"model": "m", "input": "x"}, OPENAI_EMBEDDINGS),
        ("/v1/chat", {"model": "m", "message": "x", "stream": True}, COHERE_CHAT_V1),
        ("/v2/chat", {"model": "m", "messages": USER}, COHERE_CHAT),
        ("/v1/embed", {"model": "m", "texts": ["x"], "input_type": "search_query"}, COHERE_EMBED),
        ("/v1/fim/completions", {"model": "m", "prompt": "x", "suffix": "y"}, MISTRAL_FIM),
    ],
)
def test_an_unknown_host_with_a_body_of_the_format_is_self_hosted(
    path: str, body: dict[str, object], wire: WireFormat
) -> None:
    found = endpoints.match("10.0.0.7", 8080, path, json.dumps(body).encode())

    assert found is not None
    assert (found.wire, found.provider, found.model) == (wire, "self_hosted", "m")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"id": "c", "model": "m", "messages": USER}),
        ("/api/chat", {"model": "m", "messages": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}]}),
        ("/api/chat", {"model": "m", "messages": ["x"]}),
        ("/api/chat", {"model": "m", "message": "x"}),
        ("/api/chat", {"messages": USER}),
        ("/api/generate", {"model": "m", "prompt": "x", "userId": "u"}),
        ("/api/generate", {"prompt": "x"}),
        ("/api/embed", {"model": "m", "input": [1, 2]}),
        ("/api/embed", {"model": "m", "input": "x", "project": "p"}),
        ("/api/embeddings", {"model": "m", "prompt": "x", "project": "p"}),
        ("/v1/chat", {"model": "m", "message": "x", "session": "s"}),
        ("/v1/chat", {"message": "x"}),
        ("/v2/chat", {"model": "m", "messages": USER, "session": "s"}),
        ("/v1/embed", {"model": "m", "texts": "x"}),
        ("/v1/embed", {"texts": ["x"]}),
        ("/v1/conversations", {"model": "m", "inputs": "x"}),
        ("/v1/agents/completions", {"model": "m", "agent_id": "a", "messages": USER}),
    ],
)
def test_an_unknown_host_with_another_body_is_not_ours(path: str, body: dict[str, object]) -> None:
    assert endpoints.match("app.example.com", 443, path, json.dumps(body).encode()) is None


def test_a_rerank_at_an_unknown_host_is_not_taken_for_cohere_s() -> None:
    body = json.dumps({"model": "m", "query": "q", "documents": ["a"]}).encode()

    for path in ("/v1/rerank", "/v2/rerank"):
        found = endpoints.match("10.0.0.7", 8000, path, body)

        assert found is None or found.wire is not COHERE_RERANK
