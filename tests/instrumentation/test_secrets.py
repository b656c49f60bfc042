import random
import time

import pytest

from tokentrail.instrumentation import secrets
from tokentrail.instrumentation.secrets import REDACTED, redact

_TAIL = "Ab3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY"
KEYS = {
    "OpenAI": f"sk-{_TAIL}T3BlbkFJ{_TAIL}",
    "OpenAI project": f"sk-proj-{_TAIL}_{_TAIL}-{_TAIL}",
    "OpenAI service account": f"sk-svcacct-{_TAIL}",
    "OpenAI masked": "sk-proj-********************************abcd",
    "OpenAI shortened": "sk-abcd...wxyz",
    "OpenAI with an ellipsis": "sk-abcd…wxyz",
    "short": "sk-1",
    "letters only": "sk-notarealkey",
    "Anthropic": f"sk-ant-api03-{_TAIL}-{_TAIL}AA",
    "OpenRouter": "sk-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef",
    "DeepSeek": "sk-0123456789abcdef0123456789abcdef",
    "Helicone": "sk-helicone-abcdefg-hijklmn-opqrstu-vwxyz12",
    "Langfuse": "sk-lf-01234567-89ab-cdef-0123-456789abcdef",
    "Stripe": f"sk_live_{_TAIL}",
    "Groq": f"gsk_{_TAIL}{_TAIL}",
    "xAI": f"xai-{_TAIL}{_TAIL}",
    "Perplexity": f"pplx-{_TAIL}",
    "Hugging Face": f"hf_{_TAIL}",
    "Cerebras": f"csk-{_TAIL}",
    "Fireworks": f"fw_{_TAIL}",
    "NVIDIA": f"nvapi-{_TAIL}-{_TAIL}",
    "Replicate": f"r8_{_TAIL}",
    "Together": f"tgp_v1_{_TAIL}",
    "Voyage": f"pa-{_TAIL}",
    "Jina": f"jina_{_TAIL}",
    "LangSmith": "lsv2_pt_0123456789abcdef0123456789abcdef_0123456789",
    "Tavily": f"tvly-{_TAIL}",
    "GitHub": f"ghp_{_TAIL}",
    "GitHub, fine-grained": f"github_pat_{_TAIL}_{_TAIL}",
    "Slack": f"xoxb-0123456789012-{_TAIL}",
    "Google": f"AIzaSy{_TAIL}",
    "Google, new": f"AQ.{_TAIL}",
    "Google, OAuth": f"ya29.{_TAIL}",
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "AWS, temporary": "ASIAIOSFODNN7EXAMPLE",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fw",
    "generic": f"key-{_TAIL}",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
@pytest.mark.parametrize(
    "message",
    [
        "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com/account/api-keys.",
        "invalid key '{}'",
        'the key "{}", which',
        "({})",
        "{}",
        "Authorization: Bearer {}",
        "url https://api.example.com/v1?key={}&alt=sse",
        "schlüssel={}\nnext line",
    ],
)
def test_a_key_is_taken_out_of_a_message_and_nothing_else_is(key: str, message: str) -> None:
    redacted = redact(message.format(key))

    assert redacted == message.format(REDACTED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Incorrect API key provided: hello. You can", "Incorrect API key provided: [redacted]. You can"),
        ("Incorrect API key provided: my-s******-key.", "Incorrect API key provided: [redacted]."),
        ("Authorization: Bearer opaque", "Authorization: Bearer [redacted]"),
        ("{'authorization': 'Bearer opaque'}", "{'authorization': 'Bearer [redacted]'}"),
        ('{"Authorization":"Bearer opaque"}', '{"Authorization":"Bearer [redacted]"}'),
        ("header bearer  opaque sent", "header bearer  [redacted] sent"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted]"),
        ("Basic dXNlcjpwYXNzd29yZA==", "Basic [redacted]"),
        ("authorization: Token opaque", "authorization: Token [redacted]"),
        ("x-api-key: opaque", "x-api-key: [redacted]"),
        ("'api-key': 'opaque'", "'api-key': '[redacted]'"),
        ("X-Goog-Api-Key: opaque", "X-Goog-Api-Key: [redacted]"),
        ("Helicone-Auth: Bearer opaque", "Helicone-Auth: Bearer [redacted]"),
        ("Cookie: a=b; c=d", "Cookie: [redacted]"),
        ("{'set-cookie': 'a=b; Path=/'}", "{'set-cookie': '[redacted]'}"),
        ("https://user:pass@host/v1", "https://[redacted]@host/v1"),
        ("https://token@host/v1", "https://[redacted]@host/v1"),
        ("https://host/v1?a=1&api_key=x&b=2", "https://host/v1?a=1&api_key=[redacted]&b=2"),
        ("https://host/v1?access_token=x", "https://host/v1?access_token=[redacted]"),
        ("https://host/a?X-Amz-Signature=0a1b&x=y", "https://host/a?X-Amz-Signature=[redacted]&x=y"),
        ("密钥sk-aaaa1111无效", "密钥[redacted]无效"),
        ("two: sk-aaaa1111 and sk-bbbb2222", "two: [redacted] and [redacted]"),
    ],
)
def test_a_secret_without_a_prefix_is_known_by_its_label(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The model `gpt-4o-mini` does not exist or you do not have access to it.",
        "gpt-4o-mini gpt-4.1-nano-2025-04-14 o3-mini-2025-01-31 o1 chatgpt-4o-latest text-embedding-3-small",
        "claude-3-5-haiku-20241022 claude-sonnet-4-5@20250929 anthropic.claude-3-haiku-20240307-v1:0",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo mistral-large-2411 pplx-7b-online pplx-70b-chat grok-2-1212",
        "ft:gpt-4o-mini-2024-07-18:acme:suffix:9abcDEF0 accounts/fireworks/models/llama-v3p1-8b-instruct",
        "Incorrect API key provided: sk-. You can find your API key at https://platform.openai.com/account/api-keys.",
        "a risk-free, task-based, desk-bound disk_usage with sk-learn and scikit-learn",
        "chatcmpl-abc chatcmpl-9xYzAbCdEfGhIjKlMnOpQrStUvWx resp_68af0123456789abcdef0123456789abcdef",
        "req_011CQxyzABCDEFGH12345678 req_0123456789abcdef0123456789abcdef msg_01XFDUDYJgAACzvnptvVoYEL",
        "call_AbCdEfGhIjKlMnOpQrStUvWx toolu_01A09q90qw90lq917835lq9 file-AbCdEfGhIjKlMnOp1234 fp_44709d6fcb",
        "token-count token_count tokens-per-minute token-based... max_tokens token_limit_exceeded key-value key_id",
        "key-internationalization api_key api-keys api_key_id invalid_api_key pk-test ak-47 hf_hub fw-update r8-x",
        "Rate limit reached for gpt-4o in organization org-AbC123 on tokens per min (TPM): Limit 30000, Used 29000.",
        "Please try again in 6ms. Visit https://platform.openai.com/account/rate-limits to learn more.",
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY)".replace("YOUR_KEY", "token"),
        "Basic authentication failed; bearer token is missing; Bearer authentication required; authorization: required",
        "Missing Authorization header; the authorization header: missing",
        "monkey-patch turkey-shoot hockey-key keyboard basket-ball",
        "550e8400-e29b-41d4-a716-446655440000 0123456789abcdef0123456789abcdef",
        "mail user@example.com about https://example.com/path?page=2&sort=asc#top",
        "Größe überschritten: 日本語 🙂 … und so weiter…",
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.",
        "[Errno 111] Connection refused; [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_redacting_twice_changes_nothing_more() -> None:
    for key in KEYS.values():
        once = redact(f"Incorrect API key provided: {key}; Authorization: Bearer {key} https://{key}@host?key={key}")

        assert redact(once) == once


def test_what_is_not_searched_is_not_kept() -> None:
    text = "x" * secrets.MAX_CHARS + " sk-abc123"

    assert redact(text) == "x" * secrets.MAX_CHARS


def test_random_keys_never_leave_a_piece_of_themselves() -> None:
    source = random.Random("secrets")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

    for _ in range(2_000):
        tail = "".join(source.choices(alphabet, k=source.randrange(32, 80))) + "7x"
        prefix = source.choice(["sk-", "sk-ant-", "sk_live_", "sk-proj-"])

        assert redact(f"bad key {prefix}{tail}!") == "bad key [redacted]!"


@pytest.mark.parametrize(
    "pattern",
    [
        *("key-", "sk-", "sk-a-", "://", "key-a-", "bearer ", "authorization: ", "eyJ", "eyJa", "cookie: ", "basic "),
        *("&x-", "a", "-", ".", "…", "api key provided: ", "token_a1_", "AIza", "key-aaaaaaaaaaaaaaa-", " ", '"', "@"),
    ],
)
def test_no_text_takes_long(pattern: str) -> None:
    text = pattern * (secrets.MAX_CHARS // len(pattern))
    start = time.process_time()

    redact(text)

    # It takes a few hundredths; backtracking over the whole text would take minutes.
    assert time.process_time() - start < 2
