"""Price files: what they can say, what is wrong with them and where, and which entry answers."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tokentrail.semconv.pricing import Lookup, PriceFileError, RateCard, Reason, Source, Unpriced
from tokentrail.semconv.pricing.card import BASE
from tokentrail.semconv.pricing.tables.price_file import MAX_BYTES, read_price_file
from tokentrail.semconv.pricing.tables.table import Table

NOW = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
ELSEWHERE = Unpriced(Reason.UNKNOWN_MODEL, "asked the other lists")


def table(*lines: str) -> Table:
    text = "\n".join(["schema = 1", "price = [", *(f"  {line}," for line in lines), "]"])
    return read_price_file(text.encode(), "prices.toml", Source.USER)


def lookup(provider: str = "openai", *models: str, server: str = "", tier: str = "", at: datetime = NOW) -> Lookup:
    return Lookup(provider, models or ("gpt-4o",), server, tier, at)


def found(prices: Table, call: Lookup) -> RateCard | Unpriced | None:
    return prices.find(call, lambda _: ELSEWHERE)


def card(prices: Table, call: Lookup) -> RateCard:
    answer = found(prices, call)
    assert isinstance(answer, RateCard), answer
    return answer


def problems(text: str | bytes) -> tuple[tuple[int, str], ...]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(PriceFileError) as caught:
        read_price_file(data, "prices.toml", Source.USER)
    return caught.value.problems


# What matches ------------------------------------------------------------------------------------------------------


def test_an_entry_gives_prices_per_million_tokens_and_per_request() -> None:
    prices = table('{ provider = "openai", model = "gpt-4o", input = "2.50", output = "10", request = "0.01" }')

    answer = card(prices, lookup())

    rates = answer.rates(1000)
    assert (rates.input, rates.output, rates.request) == (Decimal("0.0000025"), Decimal("0.00001"), Decimal("0.01"))
    assert (answer.source, answer.entry, answer.tier, answer.assumptions) == ("user", "openai/gpt-4o", "standard", ())
    assert answer.version.startswith("prices.toml ")


def test_what_has_no_price_of_its_own_costs_what_its_whole_costs() -> None:
    rates = card(table('{ model = "gpt-4o", input = "2", output = "8", cache_read = "1" }'), lookup()).rates(1)

    assert (rates.cache_read, rates.cache_write, rates.reasoning) == (Decimal("1e-6"), Decimal("2e-6"), Decimal("8e-6"))


@pytest.mark.parametrize(
    ("pattern", "call"),
    [
        ('model = "GPT-4o"', lookup()),
        ('model = "gpt-*"', lookup()),
        ('model = "gpt-4?"', lookup()),
        ('model = "gpt-[34]o"', lookup()),
        ('provider = "open*"', lookup()),
        ('provider = "azure"', lookup("azure.ai.openai")),
        ('provider = "bedrock", model = "anthropic.claude*"', lookup("aws.bedrock", "anthropic.claude-x")),
        ('server = "*.internal"', lookup(server="GPU1.internal")),
        ('model = "gemini-9"', lookup("gcp.vertex_ai", "publishers/google/models/gemini-9")),
        ('model = "second"', lookup("openai", "first", "second")),
        ('model = "gpt-4o", tier = "flex"', lookup(tier="flex")),
        ('model = "gpt-4o", tier = "standard"', lookup(tier="default")),
        ('model = "gpt-4o", from = 2026-10-01', lookup()),
        ('model = "gpt-4o", from = 2026-10-01T14:00:00+02:00', lookup()),
        ('model = "gpt-4o", until = 2026-10-01T12:15:00Z', lookup()),
    ],
)
def test_an_entry_that_matches_answers(pattern: str, call: Lookup) -> None:
    assert isinstance(found(table(f'{{ {pattern}, input = "1" }}'), call), RateCard)


@pytest.mark.parametrize(
    ("pattern", "call"),
    [
        ('model = "gpt-4"', lookup()),
        ('provider = "azure", model = "*"', lookup()),
        ('server = "internal"', lookup(server="gpu1.internal")),
        ('server = "*.internal"', lookup()),
        ('model = "gpt-4o", tier = "flex"', lookup()),
        ('model = "gpt-4o", tier = "standard"', lookup(tier="flex")),
        ('model = "gpt-4o", from = 2026-10-01T12:15:00Z', lookup()),
        ('model = "gpt-4o", until = 2026-10-01T12:00:00Z', lookup()),
    ],
)
def test_an_entry_that_does_not_match_says_nothing(pattern: str, call: Lookup) -> None:
    assert found(table(f'{{ {pattern}, input = "1" }}'), call) is None


def test_the_first_entry_that_matches_answers() -> None:
    prices = table('{ model = "x", input = "1" }', '{ model = "gpt*", input = "2" }', '{ model = "*", input = "3" }')

    assert card(prices, lookup()).rates(0).input == Decimal("2e-6")


def test_a_tier_that_an_entry_does_not_name_is_an_assumption() -> None:
    answer = card(table('{ model = "gpt-4o", input = "1" }'), lookup(tier="priority"))

    assert (answer.tier, answer.assumptions) == ("standard", ("tier_not_priced",))


def test_an_entry_for_a_tier_is_that_tiers_price() -> None:
    answer = card(table('{ model = "gpt-4o", tier = "Priority", input = "1" }'), lookup(tier="priority"))

    assert (answer.tier, answer.assumptions) == ("priority", ())


def test_large_calls_have_the_prices_of_their_tier() -> None:
    prices = table(
        '{ model = "gpt-4o", input = "1", output = "2", tiers = ['
        '{ above = 1000, input = "3" }, { above = 2000, input = "5", output = "7" }] }'
    )

    bands = card(prices, lookup()).bands

    assert [start for start, _ in bands] == [BASE, 1000, 2000]
    assert [(rates.input, rates.output) for _, rates in bands] == [
        (Decimal("1e-6"), Decimal("2e-6")),
        (Decimal("3e-6"), Decimal("2e-6")),
        (Decimal("5e-6"), Decimal("7e-6")),
    ]


def test_a_free_model_costs_nothing_and_is_priced() -> None:
    rates = card(table('{ provider = "ollama", model = "*", free = true }'), lookup("ollama", "x")).rates(10)

    assert {getattr(rates, name) for name in rates.__slots__} == {Decimal(0)}


# Aliases and multipliers -------------------------------------------------------------------------------------------


def test_an_alias_asks_the_other_lists_for_another_model_at_its_own_provider() -> None:
    asked: list[Lookup] = []
    prices = table('{ provider = "azure", model = "team-a", alias = "azure/GPT-4o" }')

    def others(call: Lookup) -> Unpriced:
        asked.append(call)
        return ELSEWHERE

    prices.find(lookup("azure.ai.openai", "team-a", server="x.openai.azure.com"), others)

    assert asked == [Lookup("azure.ai.openai", ("gpt-4o",), "", "", NOW)]


def test_an_alias_may_lead_to_a_later_entry_and_never_to_an_earlier_one() -> None:
    prices = table(
        '{ model = "b", input = "1" }', '{ model = "a", alias = "openai/b" }', '{ model = "b", input = "2" }'
    )

    assert card(prices, lookup("openai", "a")).rates(0).input == Decimal("2e-6")


def test_a_multiplier_scales_what_comes_after_it_and_is_named() -> None:
    prices = table(
        '{ provider = "openai", multiplier = "0.85" }',
        '{ model = "gpt-4o", input = "2", output = "8", tiers = [{ above = 9, input = "4" }] }',
    )

    answer = card(prices, lookup())

    assert answer.rates(0).input == Decimal("1.7e-6")
    assert answer.rates(10).input == Decimal("3.4e-6")
    assert (answer.source, answer.entry) == ("user", "openai/gpt-4o x 0.85".replace("openai/", "*/"))


def test_a_multiplier_of_nothing_is_nothing() -> None:
    assert found(table('{ provider = "openai", multiplier = "2" }'), lookup()) is ELSEWHERE


# What is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            '{ model = "a", input = 0.1 }',
            'input is the number 0.1: write it in quotes, input = "0.1", to keep its digits',
        ),
        ('{ model = "a", input = "-1" }', "input is '-1': expected an amount such as \"2.50\""),
        ('{ model = "a", input = "1e3" }', "input is '1e3': expected an amount"),
        ('{ model = "a", input = "nan" }', "input is 'nan': expected an amount"),
        ('{ model = "a", input = "٣" }', "input is '٣': expected an amount"),
        ('{ model = "a", input = true }', "input is True: expected an amount"),
        ('{ model = "a", input = "1000000" }', "input is '1000000': expected less than 1000000"),
        ('{ model = "a", input = "0.000000000000000001" }', "at most 17 digits"),
        ('{ model = "a", input = "1", outptu = "2" }', "'outptu' is not known here; did you mean 'output'?"),
        ('{ model = "a", qqq = "2" }', "'qqq' is not known here: expected one of"),
        ('{ input = "1" }', "an entry needs a server, a provider or a model"),
        ('{ model = "" , input = "1" }', "model is '': expected a text"),
        ('{ model = 4, input = "1" }', "model is 4: expected a text"),
        ('{ model = "a" }', "an entry needs prices"),
        ('{ model = "a", output = "1" }', "needs one of input"),
        ('{ model = "a", free = false }', "free is False: expected true"),
        ('{ model = "a", free = true, input = "1" }', "or multiplier, this one has free, input"),
        ('{ model = "a", alias = "b/c", multiplier = "2" }', "or multiplier, this one has alias, multiplier"),
        ('{ model = "a", alias = "gpt-4o" }', "alias is 'gpt-4o': expected provider/model"),
        ('{ model = "a", multiplier = "1000" }', "expected less than 1000"),
        ('{ model = "a", input = "1", from = "2026-10-01" }', "from is '2026-10-01': expected a date without quotes"),
        ('{ model = "a", input = "1", from = 2026-10-01T10:07:00Z }', "full quarters of an hour"),
        ('{ model = "a", input = "1", from = 2026-10-01, until = 2026-10-01 }', "until is not after from"),
        ('{ model = "a", input = "1", tiers = { above = 1 } }', "tiers is no list"),
        ('{ model = "a", input = "1", tiers = ["x"] }', "a tier is 'x'"),
        ('{ model = "a", input = "1", tiers = [{ above = 0, input = "2" }] }', "above is 0"),
        ('{ model = "a", input = "1", tiers = [{ above = true, input = "2" }] }', "above is True"),
        ('{ model = "a", input = "1", tiers = [{ above = 5, input = "2" }, { above = 5 }] }', "more than the 5 of"),
        ('{ model = "a", input = "1", tiers = [{ above = 5, output = "2" }] }', "the entry itself has none"),
        ('{ model = "a", input = "1", tiers = [{ above = 5, free = true }] }', "'free' is not known in a tier"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told_with_its_line(entry: str, message: str) -> None:
    text = "\n".join(["schema = 1", "price = [", '  { model = "ok", input = "1" },', f"  {entry},", "]"])

    ((line, what),) = problems(text)

    assert message in what
    assert line == 4


def test_all_errors_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = 'schema = 1\nprice = [\n  { model = "a", input = 1.5 },\n\n  { model = "b", fre = true },\n]\nother = 1\n'

    assert [line for line, _ in problems(text)] == [3, 5, 7]


def test_an_entry_over_several_lines_is_told_by_the_line_of_the_key() -> None:
    first = '[[price]]\nmodel = "a" # input = ]\nnote = """\n[[price]]\n"""\ninput = "1"\n'
    text = f'schema = 1\n{first}\n[[price]]\nmodel = "b"\ninput = 2.5\n'

    assert [line for line, _ in problems(text)] == [11]


def test_braces_in_texts_and_comments_do_not_move_the_lines() -> None:
    first = """{ model = "a}]", note = '{"[', input = "1" }"""
    text = f'schema = 1\nprice = [ # {{ [\n  {first},\n  {{ model = "b", input = 1.5 }},\n]\n'

    assert [line for line, _ in problems(text)] == [4]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("price = []", 1, "schema is missing: expected schema = 1"),
        ("\n\nschema = 2", 3, "schema is 2: expected schema = 1"),
        ("schema = 1\nprice = 3", 2, "price is no list"),
        ('schema = 1\nprice = ["x"]', 2, "an entry is 'x': expected a table"),
        ('schema = 1\nprices = [{ model = "a", input = "1" }]', 2, "'prices' is not known here; did you mean 'price'?"),
        ('schema = 1\nprice = [\n  { model = "a" \n]', 3, ""),
        (b"schema = 1\n# \xff", 2, "not in UTF-8"),
        (b"x" * (MAX_BYTES + 1), 0, f"at most {MAX_BYTES} are read"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(text: str | bytes, line: int, message: str) -> None:
    found_problems = problems(text)

    assert (line, message) in [(at, message if message in what else what) for at, what in found_problems]


def test_the_error_reads_as_one_sentence_with_file_and_line() -> None:
    with pytest.raises(PriceFileError, match=r"^prices\.toml, line 2: price is no list"):
        read_price_file(b"schema = 1\nprice = 3", "prices.toml", Source.USER)


def test_the_shipped_overlay_is_valid_and_every_entry_has_its_evidence() -> None:
    import tomllib

    import tokentrail.semconv.pricing.tables.overlay as overlay

    data = Path(overlay.__file__).with_name("overlay.toml").read_bytes()

    read_price_file(data, "overlay", Source.OVERLAY)
    entries = tomllib.loads(data.decode())["price"]
    assert [entry for entry in entries if "http" not in entry.get("evidence", "")] == []
    assert [entry for entry in entries if "provider" not in entry] == []


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    assert problems(b'\xef\xbb\xbfschema = 1\r\nprice = [\r\n  { model = "a", input = 1.5 },\r\n]\r\n')[0][0] == 3
