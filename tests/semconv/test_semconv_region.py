"""Prices that depend on where a call was served: what is known of that, and what is assumed."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tokentrail.semconv import providers
from tokentrail.semconv.pricing import RateCard, rate_card
from tokentrail.semconv.pricing._base import Lookup, Others
from tokentrail.semconv.pricing.card import BASE, Reason, Source, Steps, Unpriced, bands_of
from tokentrail.semconv.pricing.region import is_assumed
from tokentrail.semconv.pricing.tables.price_file import read_price_file
from tokentrail.semconv.pricing.tables.table import Table

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BEDROCK = "aws.bedrock"
VIRGINIA = "bedrock-runtime.us-east-1.amazonaws.com"
FRANKFURT = "bedrock-runtime.eu-central-1.amazonaws.com"
GOVCLOUD = "bedrock-runtime-fips.us-gov-west-1.amazonaws.com"
NOVA = "amazon.nova-pro-v1:0"
OPUS = "anthropic.claude-opus-5-5"


def lookup(provider: str, server: str = "", model: str = "m", region: str = "") -> Lookup:
    return Lookup(provider, (model,), server, "", NOW, region)


def table(*entries: str, source: Source = Source.OVERLAY) -> Table:
    return read_price_file(f"schema = 1\nprice = [\n{''.join(f'{e},' for e in entries)}\n]\n".encode(), "t", source)


def unknown(_: Lookup) -> Unpriced:
    return Unpriced(Reason.UNKNOWN_MODEL)


def listed(*assumptions: str) -> Others:
    """Other lists, which have one card for everything."""
    steps: Steps = ((BASE, Decimal(1)),)
    card = RateCard(bands_of({"input": steps}), Source.GENAI_PRICES, "v", "list/m", "standard", assumptions)
    return lambda _: card


def assumptions(answer: RateCard | Unpriced | None) -> tuple[str, ...]:
    assert isinstance(answer, RateCard), answer
    return answer.assumptions


@pytest.mark.parametrize(
    ("server", "model", "assumed"),
    [
        (VIRGINIA, NOVA, False),
        ("https://bedrock-runtime.us-west-2.amazonaws.com:443", NOVA, False),
        ("vpce-0a1.bedrock-runtime.us-east-2.vpce.amazonaws.com", NOVA, False),
        ("bedrock-mantle.us-east-1.api.aws", NOVA, False),
        (FRANKFURT, NOVA, True),
        (FRANKFURT, f"eu.{NOVA}", True),
        ("gateway.internal", NOVA, True),
        ("", NOVA, True),
        (FRANKFURT, "global.amazon.nova-2-lite-v1:0", False),
        (FRANKFURT, f"eu.{OPUS}", False),
        (FRANKFURT, OPUS, False),
        ("", f"global.{OPUS}", False),
        (FRANKFURT, f"arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.{OPUS}", False),
        (GOVCLOUD, f"us-gov.{OPUS}", True),
        (GOVCLOUD, NOVA, True),
        (VIRGINIA, "claude-opus-5-5", True),
    ],
)
def test_on_bedrock_the_region_is_assumed_where_prices_differ_and_no_list_has_them(
    server: str, model: str, assumed: bool
) -> None:
    assert is_assumed(lookup(BEDROCK, server), model) is assumed


@pytest.mark.parametrize(
    ("provider", "server", "region", "assumed"),
    [
        ("azure.ai.openai", "acme.openai.azure.com", "", True),
        ("azure.ai.inference", "", "", True),
        ("gcp.vertex_ai", "europe-west1-aiplatform.googleapis.com", "", False),
        ("gcp.vertex_ai", "", "", True),
        ("gcp.gemini", "", "", False),
        ("openai", "api.openai.com", "", False),
        ("anthropic", "api.anthropic.com", "", False),
        ("anthropic", "api.anthropic.com", "mars", True),
    ],
)
def test_the_region_is_assumed_where_the_provider_prices_by_it_and_the_call_does_not_tell(
    provider: str, server: str, region: str, assumed: bool
) -> None:
    assert is_assumed(lookup(provider, server, region=region), "m") is assumed


def test_a_card_of_the_list_says_when_its_region_was_assumed() -> None:
    at_ns = int(NOW.timestamp()) * 10**9

    here = rate_card(BEDROCK, VIRGINIA, (NOVA,), "", at_ns)
    elsewhere = rate_card(BEDROCK, FRANKFURT, (NOVA,), "", at_ns)

    assert assumptions(here) == ()
    assert assumptions(elsewhere) == ("region_assumed",)


def test_a_correction_without_a_server_assumes_the_region_and_one_with_a_server_knows_it() -> None:
    anywhere = '{ provider = "aws.bedrock", model = "*amazon.nova-pro*", input = "1" }'
    there = '{ server = "*.eu-central-1.*", provider = "aws.bedrock", model = "*amazon.nova-pro*", input = "2" }'
    asked = lookup(BEDROCK, FRANKFURT, NOVA)

    assert assumptions(table(anywhere).find(asked, unknown)) == ("region_assumed",)
    assert assumptions(table(there, anywhere).find(asked, unknown)) == ()


def test_users_know_where_they_call() -> None:
    own = '{ provider = "aws.bedrock", model = "*amazon.nova-pro*", input = "1" }'
    alias = '{ provider = "azure.ai.openai", model = "chat", alias = "azure/gpt-4o" }'

    priced = table(own, source=Source.USER).find(lookup(BEDROCK, FRANKFURT, NOVA), unknown)
    named = table(alias, source=Source.USER).find(lookup("azure.ai.openai", "", "chat"), listed("region_assumed", "a"))

    assert assumptions(priced) == ()
    assert assumptions(named) == ("a",)


def test_a_factor_for_a_server_or_a_region_knows_it_and_one_for_a_model_does_not() -> None:
    server = '{ server = "*.eu-central-1.*", model = "m", multiplier = "1.1" }'
    region = '{ provider = "aws.bedrock", region = "us", multiplier = "1.1" }'
    model = '{ provider = "aws.bedrock", model = "m", multiplier = "1.1" }'
    asked = lookup(BEDROCK, FRANKFURT, region="us")

    found = [table(entry).find(asked, listed("region_assumed")) for entry in (server, region, model)]

    assert [assumptions(each) for each in found] == [(), (), ("region_assumed",)]


def test_an_entry_for_a_region_is_for_calls_that_tell_of_it() -> None:
    entry = table('{ provider = "anthropic", region = "US", input = "1" }')

    assert assumptions(entry.find(lookup("anthropic", region="us"), unknown)) == ()
    assert entry.find(lookup("anthropic", region="eu"), unknown) is None
    assert entry.find(lookup("anthropic"), unknown) is None


def test_the_region_stands_behind_the_tier() -> None:
    at_ns = int(NOW.timestamp()) * 10**9
    model = ("claude-opus-5-5",)

    plain, usa, elsewhere = (
        rate_card("anthropic", "", model, tier, at_ns) for tier in ("standard", "Standard@US", "standard@mars")
    )

    assert isinstance(plain, RateCard)
    assert isinstance(usa, RateCard)
    assert usa.rates(0).input == plain.rates(0).input * Decimal("1.1")
    assert (usa.tier, usa.entry) == ("standard", "anthropic/claude-opus-5-5 x 1.1")
    assert (assumptions(usa), assumptions(elsewhere)) == ((), ("region_assumed",))


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("bedrock-mantle.us-east-1.api.aws", providers.BEDROCK),
        ("aws-external-anthropic.us-west-2.api.aws", providers.ANTHROPIC),
        ("aws-external-anthropic.us-west-2.api.aws.example", None),
    ],
)
def test_newer_hosts_of_aws_are_known(host: str, provider: str | None) -> None:
    assert providers.of_host(host) == provider
