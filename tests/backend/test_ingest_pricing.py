"""Cost of rows: kept with its provenance where the sender has one, priced on arrival where not, exact either way."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support import otlp
from tokentrail.backend.ingest.normalise import normalise
from tokentrail.backend.receiver.decode import Encoding, decode
from tokentrail.backend.row import Row
from tokentrail.semconv.pricing import use_price_file

NO_MONEY: dict[str, Decimal] = {}


def row_of(attributes: dict[str, object], **fields: Any) -> Row:
    spans = decode(otlp.body(otlp.span({"gen_ai.operation.name": "chat", **attributes}, **fields)), Encoding.PROTOBUF)
    (row,) = normalise(spans.spans)
    return row


def openai(model: str, input_tokens: int, output_tokens: int) -> dict[str, object]:
    return {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": input_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
    }


def test_a_call_without_cost_is_priced_on_arrival() -> None:
    # gpt-4o-mini: 0.15 USD per million input tokens, 0.60 per million output tokens.
    row = row_of(openai("gpt-4o-mini", 500, 300))

    assert row.cost_usd == Decimal("0.000255")
    assert row.cost_components == {"input": Decimal("0.000075"), "output": Decimal("0.00018")}
    assert (row.cost_source, row.pricing_status) == ("genai-prices", "priced")
    assert row.price_entry == "openai/gpt-4o-mini"


def test_an_unknown_model_has_no_cost_and_says_why() -> None:
    row = row_of(openai("a-model-nobody-sells", 500, 300))

    assert (row.cost_usd, row.cost_components, row.pricing_status) == (None, {}, "unknown_model")


def test_a_failed_call_without_usage_is_failed_and_not_a_gap_in_the_price_list() -> None:
    attributes: dict[str, object] = {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "error.type": "429",
    }

    assert row_of(attributes).pricing_status == "failed"


def test_a_successful_call_without_usage_says_so() -> None:
    assert row_of({"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}).pricing_status == "no_usage"


def test_a_failed_call_with_usage_is_priced() -> None:
    row = row_of({**openai("gpt-4o-mini", 500, 300), "error.type": "stream_broken"})

    assert row.cost_usd == Decimal("0.000255")


def test_absurd_counts_are_dropped_from_the_row_and_named() -> None:
    row = row_of(openai("gpt-4o", 10**15, 5))

    assert (row.input_tokens, row.output_tokens) == (None, 5)
    assert (row.cost_usd, row.pricing_status) == (None, "invalid_usage")


def test_a_foreign_cost_without_provenance_is_the_clients() -> None:
    row = row_of({**openai("gpt-4o-mini", 500, 300), "gen_ai.usage.cost": 0.0194})

    assert (row.cost_usd, row.cost_components) == (Decimal("0.0194"), {})
    assert (row.cost_source, row.pricing_status) == ("client", "priced")


@pytest.mark.parametrize("cost", [0.0, -1.0, float("nan"), float("inf"), 1e6, "x", True])
def test_a_foreign_cost_that_says_nothing_is_priced_on_arrival(cost: object) -> None:
    row = row_of({**openai("gpt-4o-mini", 500, 300), "gen_ai.usage.cost": cost})

    assert (row.cost_usd, row.cost_source) == (Decimal("0.000255"), "genai-prices")


def test_the_senders_own_reason_for_no_cost_is_kept() -> None:
    row = row_of({**openai("gpt-4o-mini", 500, 300), "tokentrail.pricing.status": "self_hosted"})

    assert (row.cost_usd, row.pricing_status) == (None, "self_hosted")


@pytest.mark.parametrize("reason", ["unknown_model", "unknown_provider", "internal"])
def test_what_the_sender_had_no_price_for_is_looked_up_again(reason: str) -> None:
    row = row_of({**openai("gpt-4o-mini", 500, 300), "tokentrail.pricing.status": reason})

    assert (row.cost_usd, row.pricing_status) == (Decimal("0.000255"), "priced")


@pytest.mark.parametrize("reason", ["unknown_model", "unknown_provider", "internal", "no_usage", "invalid_usage"])
def test_without_a_price_here_either_the_senders_reason_stays(reason: str) -> None:
    row = row_of({**openai("a-model-nobody-sells", 500, 300), "tokentrail.pricing.status": reason})

    assert (row.cost_usd, row.pricing_status) == (None, reason)


def test_a_self_hosted_model_has_the_price_of_our_price_file(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('schema = 1\nprice = [ { server = "gpu1", model = "llama*", input = "1", output = "2" } ]\n')
    attributes = {
        **openai("llama-3", 1000, 100),
        "server.address": "gpu1",
        "tokentrail.pricing.status": "self_hosted",
    }

    before = row_of(attributes)
    use_price_file(prices)
    try:
        after = row_of(attributes)
    finally:
        use_price_file(None)

    assert (before.cost_usd, before.pricing_status) == (None, "self_hosted")
    assert (after.cost_usd, after.cost_source) == (Decimal("0.0012"), "user")


def test_an_unheard_of_status_is_not_believed() -> None:
    row = row_of({**openai("gpt-4o-mini", 500, 300), "tokentrail.pricing.status": "free_beer"})

    assert (row.cost_usd, row.pricing_status) == (Decimal("0.000255"), "priced")


@pytest.mark.parametrize(
    ("total", "components", "expected_total", "expected_components"),
    [
        # Doubles: 0.1 + 0.2 is 0.30000000000000004, and both spell the same money.
        (0.1 + 0.2, {"input": 0.1, "output": 0.2}, "0.3", {"input": Decimal("0.1"), "output": Decimal("0.2")}),
        (0.3, {"input": 0.1, "output": 0.2}, "0.3", {"input": Decimal("0.1"), "output": Decimal("0.2")}),
        # Components that are not the total cannot be trusted; the total stays.
        (0.3, {"input": 0.1, "output": 0.1}, "0.3", NO_MONEY),
        (0.3, {}, "0.3", NO_MONEY),
        (1.5e-10, {"input": 1.5e-10}, "0.00000000015", {"input": Decimal("1.5E-10")}),
        (0.0, {}, "0", NO_MONEY),
    ],
)
def test_a_cost_with_provenance_is_kept_in_exact_digits(
    total: float, components: dict[str, float], expected_total: str, expected_components: dict[str, Decimal]
) -> None:
    own: dict[str, object] = {
        "tokentrail.pricing.status": "priced",
        "tokentrail.pricing.source": "user",
        "gen_ai.usage.cost": total,
        **{f"tokentrail.cost.{name}": amount for name, amount in components.items()},
    }

    row = row_of({**openai("gpt-4o-mini", 500, 300), **own})

    assert row.cost_usd == Decimal(expected_total)
    assert row.cost_components == expected_components
    assert row.cost_source == "user"


def test_the_components_of_every_priced_row_add_up_to_its_total() -> None:
    for model, tokens in (("gpt-4o", 12_345), ("gpt-4o-mini", 7), ("o3-mini", 999_999)):
        row = row_of({**openai(model, tokens, tokens * 3), "gen_ai.usage.cache_read.input_tokens": tokens // 2})

        assert row.cost_usd is not None
        assert sum(row.cost_components.values()) == row.cost_usd
