from collections.abc import Callable

import pytest

from tokentrail.instrumentation import headers
from tokentrail.instrumentation.context import Tags
from tokentrail.instrumentation.headers import NO_REQUEST_TAGS, RequestTags, is_honoured, read_request

SECRETS = [
    (b"Authorization", b"Bearer sk-secret-1"),
    (b"Proxy-Authorization", b"Basic secret-2"),
    (b"X-Api-Key", b"secret-3"),
    (b"api-key", b"secret-4"),
    (b"x-goog-api-key", b"secret-5"),
    (b"Cookie", b"session=secret-6"),
    (b"Helicone-Auth", b"Bearer sk-helicone-secret-7"),
    (b"helicone-jwt", b"secret-8"),
    (b"Helicone-Manual-Access-Key", b"secret-9"),
    (b"Helicone-Posthog-Key", b"secret-10"),
    (b"Helicone-Lytix-Key", b"secret-11"),
    (b"Tokentrail-Auth", b"secret-12"),
]


def _read(*pairs: tuple[str, str]) -> RequestTags:
    return read_request([(name.encode(), value.encode()) for name, value in pairs])


def _lookup(**values: str) -> Callable[[str], str | None]:
    return {name.replace("_", "-"): value for name, value in values.items()}.get


# Requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["Helicone", "Tokentrail", "helicone", "TOKENTRAIL"])
@pytest.mark.parametrize(
    ("name", "value", "attributes"),
    [
        ("User-Id", "u", {"user.id": "u"}),
        (
            "Session-Id",
            "s",
            {"session.id": "s", "gen_ai.conversation.id": "s", "tokentrail.session.path": "/"},
        ),
        ("Session-Name", "n", {"tokentrail.session.name": "n"}),
        ("Session-Path", "/a/b", {"tokentrail.session.path": "/a/b"}),
        ("Session-Path", "a/b/", {"tokentrail.session.path": "/a/b"}),
        ("Property-Feature", "f", {"tokentrail.property.Feature": "f"}),
        ("Prompt-Id", "p", {"gen_ai.prompt.name": "p"}),
        ("Prompt-Id", "p-v7", {"gen_ai.prompt.name": "p-v7"}),
        ("Prompt-Version", "7", {"gen_ai.prompt.version": "7"}),
        ("Request-Id", "r", {"tokentrail.request.id": "r"}),
        ("Node-Id", "d", {"tokentrail.node.id": "d"}),
        ("Model-Override", "gpt-4o", {"tokentrail.pricing.model": "gpt-4o"}),
        ("Experiment-Id", "e", {"tokentrail.property.Experiment-Id": "e"}),
        ("Experiment-Column-Id", "c", {"tokentrail.property.Experiment-Column-Id": "c"}),
        ("Experiment-Row-Index", "3", {"tokentrail.property.Experiment-Row-Index": "3"}),
    ],
)
def test_a_header_that_is_understood_becomes_attributes(
    prefix: str, name: str, value: str, attributes: dict[str, str]
) -> None:
    read = _read((f"{prefix}-{name}", value))

    assert {**read.attributes, **read.tags.attributes()} == attributes
    assert read.honoured
    assert is_honoured(f"{prefix}-{name}".encode())


@pytest.mark.parametrize(
    ("value", "omitted"), [("true", True), ("TRUE", True), ("false", False), ("", False), ("1", False)]
)
def test_content_is_left_out_when_a_header_says_true(value: str, omitted: bool) -> None:
    assert _read(("Helicone-Omit-Request", value)).omit_request == omitted
    assert _read(("Helicone-Omit-Response", value)).omit_response == omitted
    assert not _read(("Helicone-Omit-Request", value)).omit_response
    assert is_honoured(b"helicone-omit-request")
    assert is_honoured(b"helicone-omit-response")


@pytest.mark.parametrize("name", ["Helicone-Target-URL", "Helicone-OpenAI-Api-Base"])
@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("https://api.mistral.ai", "api.mistral.ai"),
        ("https://X.openai.azure.com:443/openai?a=b", "x.openai.azure.com"),
        ("api.groq.com/v1", "api.groq.com"),
        ("https://user:password@host.example/x", "host.example"),
        ("", ""),
        ("https://[broken", ""),
        ("::::", ""),
    ],
)
def test_a_routing_header_names_the_host_and_travels_on(name: str, value: str, host: str) -> None:
    read = _read((name, value))

    assert read.target_host == host
    assert read.tags == Tags()
    assert "password" not in repr(read)
    assert not is_honoured(name.encode())


@pytest.mark.parametrize(
    "name",
    [
        *("Helicone-Auth", "helicone-jwt", "Helicone-Unknown", "Helicone-", "Helicone-User-Id2"),
        *("X-Helicone-User-Id", "User-Id", "Authorization", "Cookie", "Content-Type", "", "Helicone-Property"),
    ],
)
def test_any_other_header_is_left_alone(name: str) -> None:
    assert _read((name, "x")) is NO_REQUEST_TAGS
    assert not is_honoured(name.encode())


def test_secrets_are_not_read() -> None:
    read = read_request([*SECRETS, (b"Helicone-User-Id", b"u"), *SECRETS])

    assert read == RequestTags(tags=Tags(user="u"), honoured=True)
    assert not any(is_honoured(name) for name, _ in SECRETS)


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_header_given_twice_in_different_case_the_last_counts(order: int) -> None:
    pairs = [("Helicone-User-Id", "a"), ("helicone-user-id", "b"), ("TOKENTRAIL-USER-ID", "c")][::order]

    assert _read(*pairs).tags.user == pairs[-1][1]


def test_of_a_property_given_twice_in_different_case_the_last_value_and_the_first_spelling_count() -> None:
    read = _read(
        ("Helicone-Property-AppName", "a"), ("helicone-property-appname", "b"), ("Tokentrail-Property-APPNAME", "c")
    )

    assert read.tags.properties == {"AppName": "c"}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Feature", "Feature"),
        ("feature", "Feature"),
        ("my-feature", "My-Feature"),
        ("myKey", "myKey"),
        ("API", "API"),
        ("1", "1"),
    ],
)
def test_a_property_that_lost_its_case_on_the_way_gets_capitals(name: str, key: str) -> None:
    assert _read((f"Helicone-Property-{name}", "x")).tags.properties == {key: "x"}


def test_a_property_without_a_name_is_none() -> None:
    assert _read(("Helicone-Property-", "x"), ("Helicone-User-Id", "u")).tags == Tags(user="u")


@pytest.mark.parametrize("name", ["UserId", "userid", "USERID"])
def test_the_user_sent_as_a_property_is_the_user_unless_one_was_named(name: str) -> None:
    assert _read((f"Helicone-Property-{name}", "a")).tags.user == "a"
    assert _read((f"Helicone-Property-{name}", "a"), ("Helicone-User-Id", "b")).tags.user == "b"


def test_an_empty_value_is_no_value() -> None:
    read = _read(("Helicone-User-Id", ""), ("Helicone-Session-Path", ""), ("Helicone-Request-Id", ""))

    assert read.tags == Tags()
    assert read.attributes == {}
    assert read.honoured


@pytest.mark.parametrize("text", ["José", "東京", "🙂"])
def test_text_that_is_not_ascii_is_read_as_it_was_meant(text: str) -> None:
    assert read_request([(b"Helicone-User-Id", text.encode())]).tags.user == text


def test_bytes_that_are_no_utf8_are_read_as_latin_1() -> None:
    assert read_request([(b"Helicone-User-Id", b"Jos\xe9")]).tags.user == "José"
    assert read_request([(b"Helicone-Property-Caf\xe9", b"\xff")]).tags.properties == {"Café": "ÿ"}


@pytest.mark.parametrize("character", ["a", "é", "東", "🙂"])
@pytest.mark.parametrize("name", [b"Helicone-User-Id", b"Helicone-Property-P"])
def test_a_value_is_cut_at_4_kib_between_characters(name: bytes, character: str) -> None:
    size = len(character.encode())
    most = 4096 // size

    for count in (most, most + 1, 1_000_000 // size):
        tags = read_request([(name, (character * count).encode())]).tags

        assert (tags.user or tags.properties["P"]) == character * min(count, most)


def test_a_key_is_cut_at_256_bytes() -> None:
    tags = _read(("Helicone-Property-" + "K" * 256, "a"), ("Helicone-Property-" + "Q" * 257, "b")).tags

    assert tags.properties == {"K" * 256: "a", "Q" * 256: "b"}


@pytest.mark.parametrize("count", [64, 65, 5_000])
def test_64_properties_are_kept(count: int) -> None:
    tags = _read(*((f"Helicone-Property-Key{i}", str(i)) for i in range(count))).tags

    assert tags.properties == {f"Key{i}": str(i) for i in range(64)}


def test_the_64th_property_may_still_be_given_again() -> None:
    pairs = [(f"Helicone-Property-Key{i}", "a") for i in range(70)]

    assert _read(*pairs, ("helicone-property-key63", "b")).tags.properties["Key63"] == "b"


def test_headers_and_context_meet_by_the_name_of_a_property_whatever_its_case() -> None:
    read = _read(("helicone-property-costcenter", "header"))
    outer = Tags(properties={"CostCenter": "context", "Other": "x"})

    assert read.tags.over(outer).properties == {"CostCenter": "header", "Other": "x"}


def test_a_session_of_the_headers_is_not_mixed_with_one_of_the_context() -> None:
    outer = Tags(session_id="context", session_name="name", session_path="/a", user="u")

    over = _read(("Helicone-Session-Id", "header")).tags.over(outer)

    assert (over.session_id, over.session_name, over.session_path, over.user) == ("header", "", "/", "u")


# Responses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "attributes"),
    [
        ({"x_request_id": "r"}, {"tokentrail.response.request_id": "r"}),
        ({"request_id": "r"}, {"tokentrail.response.request_id": "r"}),
        ({"apim_request_id": "r"}, {"tokentrail.response.request_id": "r"}),
        ({"x_amzn_requestid": "r"}, {"tokentrail.response.request_id": "r"}),
        ({"x_request_id": "a", "request_id": "b"}, {"tokentrail.response.request_id": "a"}),
        ({"x_request_id": "r" * 300}, {"tokentrail.response.request_id": "r" * 256}),
        (
            {
                "x_ratelimit_limit_requests": "500",
                "x_ratelimit_remaining_requests": "0",
                "x_ratelimit_limit_tokens": "30000",
                "x_ratelimit_remaining_tokens": "29999",
            },
            {
                "tokentrail.ratelimit.limit_requests": 500,
                "tokentrail.ratelimit.remaining_requests": 0,
                "tokentrail.ratelimit.limit_tokens": 30000,
                "tokentrail.ratelimit.remaining_tokens": 29999,
            },
        ),
        (
            {"anthropic_ratelimit_requests_limit": "50", "anthropic_ratelimit_tokens_remaining": "7"},
            {"tokentrail.ratelimit.limit_requests": 50, "tokentrail.ratelimit.remaining_tokens": 7},
        ),
        ({"x_ratelimit_limit_requests": "-1", "x_ratelimit_limit_tokens": "many"}, {}),
        ({"x_ratelimit_limit_requests": "9" * 18}, {"tokentrail.ratelimit.limit_requests": int("9" * 18)}),
        ({"x_ratelimit_limit_requests": "9" * 19}, {}),
        ({"retry_after": "20"}, {"tokentrail.ratelimit.retry_after": 20.0}),
        ({"retry_after": "1.5"}, {"tokentrail.ratelimit.retry_after": 1.5}),
        ({"retry_after": "20", "retry_after_ms": "1500"}, {"tokentrail.ratelimit.retry_after": 1.5}),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}),
        ({"retry_after": "-1"}, {}),
        ({"retry_after": "nan", "retry_after_ms": "inf"}, {}),
        ({"retry_after": "9" * 10}, {}),
        ({"helicone_id": "h" * 300}, {"tokentrail.helicone.id": "h" * 256}),
        ({"helicone_cache": "HIT"}, {"tokentrail.cache.hit": True}),
        ({"helicone_cache": "miss"}, {"tokentrail.cache.hit": False}),
        ({"helicone_cache": "other"}, {}),
        ({"helicone_fallback_index": "1"}, {"tokentrail.request.fallback_index": 1}),
        ({"helicone_fallback_index": "x"}, {}),
        ({"set_cookie": "a=secret", "authorization": "secret", "server": "x"}, {}),
    ],
)
def test_response_headers_become_attributes(given: dict[str, str], attributes: dict[str, object]) -> None:
    read = headers.read_response({name.replace("_", "-"): value for name, value in given.items()})

    assert read == attributes
    assert {name: type(value) for name, value in read.items()} == {
        name: type(value) for name, value in attributes.items()
    }


@pytest.mark.parametrize(
    ("value", "count"), [("0", 0), ("2", 2), ("", None), ("x", None), ("-1", None), ("1.0", None), ("9" * 30, None)]
)
def test_the_retry_count_is_what_the_sdk_says(value: str, count: int | None) -> None:
    assert headers.retry_count(_lookup(x_stainless_retry_count=value)) == count


def test_without_the_sdk_s_header_there_is_no_retry_count() -> None:
    assert headers.retry_count(_lookup()) is None
