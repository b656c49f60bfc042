import pytest

from tokentrail.semconv import providers
from tokentrail.semconv.pricing import names


@pytest.mark.parametrize(
    ("name", "host", "expected"),
    [
        ("openai", "api.openai.com", "openai"),
        ("openai", "https://API.OpenAI.com:443/v1", "openai"),
        ("openai", "api.groq.com", "groq"),
        ("openai", "acme.openai.azure.com", "azure.ai.openai"),
        ("openai", "oai.helicone.ai", "openai"),
        ("openai", "", "openai"),
        ("azure", "", "azure.ai.openai"),
        ("openai.chat", "", "openai"),
        ("openai", "llm.internal", "self_hosted"),
        ("openai", "localhost:8000", "self_hosted"),
        ("openai", "::1", "self_hosted"),
        ("", "10.0.0.7", "self_hosted"),
        ("anthropic", "gateway.corp.example", "anthropic"),
        ("anthropic", "gateway.helicone.ai", "anthropic"),
        ("", "gateway.helicone.ai", "helicone"),
    ],
)
def test_the_host_decides_the_provider_before_its_name(name: str, host: str, expected: str) -> None:
    assert names.provider_of(name, host) == expected


def test_ollama_is_self_hosted_except_on_its_own_cloud() -> None:
    assert names.is_self_hosted("ollama", "")
    assert names.is_self_hosted("ollama", "gpu-1.internal")
    assert not names.is_self_hosted("ollama", "ollama.com")
    assert not names.is_self_hosted("openai", "")


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (providers.X_AI, "x-ai"),
        (providers.GCP, "google"),
        (providers.GEMINI, "google"),
        (providers.VERTEX, "google"),
        (providers.AZURE_OPENAI, "azure"),
        (providers.AZURE_INFERENCE, "azure"),
        (providers.BEDROCK, "aws"),
        (providers.FIREWORKS, "fireworks"),
        (providers.TOGETHER, "together"),
        (providers.MISTRAL, "mistral"),
        (providers.MOONSHOT, "moonshotai"),
        ("databricks", "databricks"),
    ],
)
def test_every_provider_has_its_own_price_list(provider: str, expected: str) -> None:
    assert names.price_lists(provider, "") == (expected,)


def test_zhipu_is_priced_by_the_platform_that_was_called() -> None:
    assert names.price_lists("zhipu", "api.z.ai") == ("zai", "zhipuai")
    assert names.price_lists("zhipu", "open.bigmodel.cn") == ("zhipuai",)


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", " GPT-4o ", [("openai", "gpt-4o", "")]),
        ("openai", "openai/gpt-4o", [("openai", "openai/gpt-4o", ""), ("openai", "gpt-4o", "")]),
        (
            "groq",
            "groq/openai/gpt-oss-20b",
            [("groq", "groq/openai/gpt-oss-20b", ""), ("groq", "openai/gpt-oss-20b", "")],
        ),
        ("groq", "openai/gpt-oss-20b", [("groq", "openai/gpt-oss-20b", "")]),
        ("gcp.gemini", "models/gemini-9", [("google", "models/gemini-9", ""), ("google", "gemini-9", "")]),
        (
            "gcp.vertex_ai",
            "publishers/google/models/gemini-9",
            [("google", "publishers/google/models/gemini-9", ""), ("google", "gemini-9", "")],
        ),
        ("azure.ai.inference", "meta/llama", [("azure", "meta/llama", ""), ("azure", "llama", "")]),
        ("x_ai", "xai/grok-4", [("x-ai", "xai/grok-4", ""), ("x-ai", "grok-4", "")]),
        (
            "openrouter",
            "a/b:online",
            [("openrouter", "a/b:online", ""), ("openrouter", "a/b", "web_search_not_priced")],
        ),
        (
            "openai",
            "gpt-9-2027-01-02",
            [("openai", "gpt-9-2027-01-02", ""), ("openai", "gpt-9", "snapshot_at_model_price")],
        ),
        (
            "openai",
            "gpt-9-20270102",
            [("openai", "gpt-9-20270102", ""), ("openai", "gpt-9", "snapshot_at_model_price")],
        ),
        ("openai", "gpt-4-0613", [("openai", "gpt-4-0613", "")]),
        (
            "gcp.gemini",
            "gemini-9-001",
            [("google", "gemini-9-001", ""), ("google", "gemini-9", "snapshot_at_model_price")],
        ),
        (
            "openai",
            "ft:gpt-4o-mini:org::id",
            [
                ("openai", "ft:gpt-4o-mini:org::id", ""),
                ("openai", "ft:gpt-4o-mini-2024-07-18:org::id", ""),
                ("openai", "gpt-4o-mini", "fine_tune_at_base_price"),
                ("openai", "gpt-4o-mini-2024-07-18", "fine_tune_at_base_price"),
                ("openai", "gpt-4o-mini", "fine_tune_at_base_price"),
            ],
        ),
        (
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-9",
            [
                ("aws", "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-9", ""),
                ("aws", "us.anthropic.claude-9", ""),
            ],
        ),
        (
            "fireworks",
            "deepseek-v9",
            [("fireworks", "deepseek-v9", ""), ("fireworks", "accounts/fireworks/models/deepseek-v9", "")],
        ),
        ("hugging_face", "meta/llama:groq", [("huggingface_groq", "meta/llama", "")]),
    ],
)
def test_a_model_is_looked_up_as_given_then_cleaned_then_approximately(
    provider: str, model: str, expected: list[tuple[str, str, str]]
) -> None:
    price_list = names.price_lists(provider, "")[0]

    found = [(c.price_list, c.model, c.assumption) for c in names.candidates(provider, price_list, model)]

    assert found == expected
