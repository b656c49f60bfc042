import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tokentrail.semconv.cost import Call, Cost, Reason, Unpriced, price
from tokentrail.semconv.pricing import Layer, Lookup, RateCard, Source, forget, rate_card, resolve
from tokentrail.semconv.pricing._base import Others
from tokentrail.semconv.pricing.card import BASE, bands_of
from tokentrail.semconv.usage import Usage

NOW_NS = int(datetime(2026, 11, 20, 12, 7, 30, tzinfo=UTC).timestamp()) * 10**9


@dataclass
class Fixed:
    """A layer that answers always the same, and counts how often it was asked."""

    answer: RateCard | Unpriced | None
    asked: list[Lookup] = field(default_factory=list)

    def find(self, lookup: Lookup, others: Others) -> RateCard | Unpriced | None:
        self.asked.append(lookup)
        return self.answer


class Broken:
    def find(self, lookup: Lookup, others: Others) -> RateCard | Unpriced | None:
        raise OSError("no such file")


CARD = RateCard(bands_of({"input": ((BASE, Decimal(1)),)}), Source.USER, "mine 1", "mine/all", "standard")


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Layer]]:
    """The layers that `price` walks, to be filled by the test."""
    walked: list[Layer] = []
    monkeypatch.setattr(resolve, "LAYERS", walked)
    monkeypatch.setattr(resolve, "_logged", set())
    forget()
    yield walked
    forget()


def call(model: str = "m", provider: str = "openai", host: str = "") -> Call:
    return Call(provider, (model,), Usage(3, 0), NOW_NS, server_address=host)


def test_the_first_card_wins_and_later_layers_are_not_asked(layers: list[Layer]) -> None:
    later = Fixed(CARD)
    layers += [Fixed(None), Fixed(Unpriced(Reason.UNKNOWN_MODEL)), Fixed(CARD), later]

    result = price(call())

    assert isinstance(result, Cost)
    assert (result.total_usd, result.source, result.entry) == (Decimal(3), "user", "mine/all")
    assert later.asked == []


def test_a_layer_may_price_what_is_self_hosted(layers: list[Layer]) -> None:
    layers += [Fixed(CARD), resolve._LIST_PRICES]

    assert isinstance(price(call(host="llm.internal")), Cost)


def test_without_a_card_the_last_reason_is_the_answer(layers: list[Layer]) -> None:
    layers += [Fixed(Unpriced(Reason.UNKNOWN_MODEL, "first")), Fixed(Unpriced(Reason.SELF_HOSTED, "last")), Fixed(None)]

    assert price(call()) == Unpriced(Reason.SELF_HOSTED, "last")


def test_a_layer_sees_the_decided_provider_and_the_names_as_given(layers: list[Layer]) -> None:
    layer = Fixed(CARD)
    layers.append(layer)

    price(Call("OpenAI", ("", "GPT-X"), Usage(1, 1), NOW_NS, server_address="api.groq.com", service_tier=" Flex "))

    assert layer.asked == [
        Lookup("groq", ("GPT-X",), "api.groq.com", "flex", datetime(2026, 11, 20, 12, 0, tzinfo=UTC))
    ]


def test_a_failing_layer_is_skipped_and_logged_once(layers: list[Layer], caplog: pytest.LogCaptureFixture) -> None:
    layers += [Broken(), Fixed(CARD)]

    with caplog.at_level(logging.WARNING):
        results = [price(call(model)) for model in ("a", "b")]

    assert all(isinstance(result, Cost) for result in results)
    assert [record.getMessage().rpartition(": ")[0].rpartition(": ")[2] for record in caplog.records] == ["Broken"]


def test_when_only_failing_layers_are_left_the_call_is_unpriced_and_says_why(layers: list[Layer]) -> None:
    layers.append(Broken())

    result = price(call())

    assert isinstance(result, Unpriced)
    assert result.reason is Reason.INTERNAL
    assert "OSError" in result.detail


@pytest.mark.parametrize("answer", [CARD, Unpriced(Reason.UNKNOWN_MODEL)])
def test_hits_and_misses_are_remembered_for_a_quarter_of_an_hour(
    layers: list[Layer], answer: RateCard | Unpriced
) -> None:
    layer = Fixed(answer)
    layers.append(layer)

    for at_ns in (NOW_NS, NOW_NS + 10**9, NOW_NS + 900 * 10**9):
        rate_card("openai", "", ("m",), "", at_ns)

    assert [lookup.at.minute for lookup in layer.asked] == [0, 15]


def test_forgetting_asks_the_layers_again(layers: list[Layer]) -> None:
    layer = Fixed(CARD)
    layers.append(layer)

    price(call())
    forget()
    price(call())

    assert len(layer.asked) == 2


def test_the_memory_of_cards_is_bounded_in_number_and_in_size(layers: list[Layer]) -> None:
    layer = Fixed(CARD)
    layers.append(layer)
    limit = resolve.MAX_NAME_CHARS - len("openai")

    for number in range(resolve.CACHED_CARDS + 50):
        rate_card("openai", "", (f"model-{number}",), "", NOW_NS)
    longest = rate_card("openai", "", ("m" * limit,), "", NOW_NS)
    too_long = rate_card("openai", "", ("m" * (limit + 1),), "", NOW_NS)

    assert resolve._rate_card.cache_info().currsize == resolve.CACHED_CARDS
    assert longest is CARD
    assert isinstance(too_long, Unpriced)
    assert str(resolve.MAX_NAME_CHARS) in too_long.detail


def test_steps_of_different_prices_make_bands_that_a_larger_call_crosses_one_by_one() -> None:
    bands = bands_of(
        {
            "input": ((BASE, Decimal(1)), (100, Decimal(2))),
            "output": ((BASE, Decimal(5)), (50, Decimal(6)), (200, Decimal(7))),
        }
    )
    card = RateCard(bands, Source.USER, "v", "e", "standard")

    seen = [f"{card.rates(total).input} {card.rates(total).output}" for total in (0, 50, 51, 100, 101, 200, 201)]

    assert seen == ["1 5", "1 5", "1 6", "1 6", "2 6", "2 6", "2 7"]


def test_importing_cost_loads_neither_the_price_list_nor_a_client_and_the_first_price_loads_the_list() -> None:
    script = """
import sys
import tokentrail.semconv.cost as cost
import tokentrail.semconv.pricing
from tokentrail.semconv.usage import Usage
heavy = ("genai_prices", "pydantic", "httpx", "httpx2", "opentelemetry")
print([name for name in heavy if name in sys.modules])
cost.price(cost.Call("openai", ("gpt-4o",), Usage(), 0))
cost.price(cost.Call("self_hosted", ("gpt-4o",), Usage(1, 1), 0))
print([name for name in heavy if name in sys.modules])
result = cost.price(cost.Call("openai", ("gpt-4o",), Usage(1, 1), 0))
print(isinstance(result, cost.Cost), "genai_prices" in sys.modules)
"""

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "[]", "True True"]


def test_a_missing_price_list_leaves_calls_unpriced_with_the_reason() -> None:
    script = """
import sys
sys.modules["genai_prices"] = None
import tokentrail.semconv.cost as cost
from tokentrail.semconv.usage import Usage
result = cost.price(cost.Call("openai", ("gpt-4o",), Usage(1, 1), 0))
print(result.reason, "genai_prices" in result.detail)
"""

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout.split() == ["internal", "True"]
