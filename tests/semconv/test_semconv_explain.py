"""Explanations of prices: what was looked for, who answers, and from when until when."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tokentrail.semconv.pricing import RateCard, Reason, Source, Unpriced, look_up, use_price_file
from tokentrail.semconv.pricing.explain import Explanation, Name, explain, sellers

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_price_file() -> Iterator[None]:
    yield
    use_price_file(None)


def _use(tmp_path: Path, *entries: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text("schema = 1\nprice = [\n" + "".join(f"  {{ {entry} }},\n" for entry in entries) + "]\n")
    use_price_file(path)


def _explain(provider: str, model: str, at: datetime = NOON, server: str = "", tier: str = "") -> Explanation:
    lookup, _ = look_up(provider, server, (model,) if model else (), tier, int(at.timestamp()) * 10**9)
    return explain(lookup)


def _input(answer: object) -> object:
    """The price of small inputs in USD per million tokens."""
    assert isinstance(answer, RateCard)
    return answer.bands[0][1].input * 1_000_000


def test_the_answer_is_that_of_a_call() -> None:
    lookup, answer = look_up("openai", "", ("gpt-4o",), "", int(NOON.timestamp()) * 10**9)

    found = explain(lookup)

    assert found.answer == answer
    assert found.list_names == (Name("openai/gpt-4o"),)
    assert found.own_names == ("gpt-4o",)


def test_names_are_told_in_their_order_with_what_they_assume() -> None:
    found = _explain("openai", "openai/gpt-4o-2031-01-01")

    assert found.own_names == ("openai/gpt-4o-2031-01-01", "gpt-4o-2031-01-01")
    assert found.list_names == (
        Name("openai/openai/gpt-4o-2031-01-01"),
        Name("openai/gpt-4o-2031-01-01"),
        Name("openai/openai/gpt-4o", "snapshot_at_model_price"),
        Name("openai/gpt-4o", "snapshot_at_model_price"),
    )


def test_nothing_is_looked_for_in_the_lists_for_an_own_server() -> None:
    found = _explain("openai", "gpt-oss-120b", server="llm.internal")

    assert found.list_names == ()
    assert isinstance(found.answer, Unpriced)
    assert found.answer.reason is Reason.SELF_HOSTED


def test_each_list_is_asked_also_where_an_earlier_one_answers(tmp_path: Path) -> None:
    _use(tmp_path, 'provider = "openai", model = "gpt-4o", input = "7", output = "8"')

    by_list = dict(_explain("openai", "gpt-4o").by_list)

    assert _input(by_list[Source.USER]) == 7
    assert by_list[Source.OVERLAY] is None
    assert _input(by_list[Source.GENAI_PRICES]) == Decimal("2.5")


def test_a_multiplier_and_an_alias_are_the_price_files_answer(tmp_path: Path) -> None:
    _use(
        tmp_path,
        'provider = "openai", model = "gpt-4o", multiplier = "0.5"',
        'provider = "azure", model = "team-a", alias = "openai/gpt-4o-mini"',
    )

    assert _input(dict(_explain("openai", "gpt-4o").by_list)[Source.USER]) == Decimal("1.25")
    assert _input(dict(_explain("azure", "team-a").by_list)[Source.USER]) == Decimal("0.15")


def test_a_price_holds_from_and_until_the_quarter_of_an_hour_that_a_file_says(tmp_path: Path) -> None:
    _use(
        tmp_path,
        'provider = "x", model = "m", input = "1", until = 2026-10-03',
        'provider = "x", model = "m", input = "2", from = 2026-10-03, until = 2027-02-01T10:15:00Z',
        'provider = "x", model = "m", input = "3", from = 2027-02-01T10:15:00Z',
    )

    found = _explain("x", "m")

    assert found.since is not None
    assert found.until is not None
    assert (found.since.at, _input(found.since.other)) == (datetime(2026, 10, 3, tzinfo=UTC), 1)
    assert (found.until.at, _input(found.until.other)) == (datetime(2027, 2, 1, 10, 15, tzinfo=UTC), 3)


def test_a_change_is_found_from_either_side_of_it(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
    _use(
        tmp_path,
        'provider = "x", model = "m", input = "1", until = 2026-11-20T12:15:00Z',
        'provider = "x", model = "m", input = "2", from = 2026-11-20T12:15:00Z',
    )

    before, after = _explain("x", "m", NOON), _explain("x", "m", moment)

    assert before.until is not None
    assert after.since is not None
    assert (before.until.at, _input(before.answer), before.since) == (moment, 1, None)
    assert (after.since.at, _input(after.answer), after.until) == (moment, 2, None)


def test_a_price_that_begins_or_ends_without_another_is_told_as_none(tmp_path: Path) -> None:
    _use(tmp_path, 'provider = "x", model = "m", input = "1", from = 2026-12-01, until = 2026-12-24')

    found = _explain("x", "m")

    assert isinstance(found.answer, Unpriced)
    assert found.until is not None
    assert (found.until.at, _input(found.until.other)) == (datetime(2026, 12, 1, tzinfo=UTC), 1)


def test_a_price_without_dates_has_always_been(tmp_path: Path) -> None:
    _use(tmp_path, 'provider = "x", model = "m", input = "1"')

    found = _explain("x", "m")

    assert (found.since, found.until, found.by_hour) == (None, None, ())


def test_an_announced_change_of_the_published_lists_shows() -> None:
    # DeepSeek ended its night discount on 2025-09-05 at 16:00 UTC (api-docs.deepseek.com, pricing, August 2025).
    found = _explain("deepseek", "deepseek-chat", datetime(2025, 9, 1, 12, tzinfo=UTC))

    assert found.until is not None
    assert found.until.at.date() == datetime(2025, 9, 5, tzinfo=UTC).date()


def test_prices_by_time_of_day_are_told_as_such() -> None:
    # DeepSeek's discount held from 16:30 to 00:30 UTC.
    found = _explain("deepseek", "deepseek-chat", datetime(2025, 6, 1, 12, tzinfo=UTC))

    assert [at for at, _ in found.by_hour] == [time(0, 0), time(0, 30), time(16, 30)]
    assert [_input(answer) for _, answer in found.by_hour] == [Decimal("0.135"), Decimal("0.27"), Decimal("0.135")]


def test_prices_of_weekdays_that_come_and_go_are_no_changes() -> None:
    # DeepSeek's weekends cost half since 2026-08-23 (api-docs.deepseek.com, pricing, November 2026).
    friday = datetime(2026, 11, 20, 2, tzinfo=UTC)

    found = [_explain("deepseek", "deepseek-v4-pro", friday + timedelta(days=days)) for days in (0, 1)]

    assert [_input(each.answer) for each in found] != [_input(found[0].answer)] * 2
    assert [each.until for each in found] == [None, None]
    assert all(each.since is None or each.since.at <= datetime(2026, 8, 23, tzinfo=UTC) for each in found)


def test_a_price_of_a_few_days_is_a_change(tmp_path: Path) -> None:
    _use(
        tmp_path,
        'provider = "x", model = "m", input = "1", from = 2026-11-27, until = 2026-11-30',
        'provider = "x", model = "m", input = "2"',
    )

    before, within = _explain("x", "m"), _explain("x", "m", datetime(2026, 11, 28, tzinfo=UTC))

    assert before.until is not None
    assert within.since is not None
    assert within.until is not None
    assert before.until.at == within.since.at == datetime(2026, 11, 27, tzinfo=UTC)
    assert within.until.at == datetime(2026, 11, 30, tzinfo=UTC)


def test_other_sellers_are_found_under_the_names_they_use() -> None:
    lookup = _explain("openai", "gpt-4o").lookup

    found = {provider: card for who, card in sellers(lookup) for provider in who}

    assert {"azure.ai.openai", "openrouter"} <= set(found)
    assert found["openrouter"].entry == "openrouter/openai/gpt-4o"
    assert "openai" not in found


def test_endpoints_that_share_a_list_are_one_seller() -> None:
    groups = [who for who, _ in sellers(_explain("anthropic", "claude-sonnet-5").lookup)]

    assert ("gcp.gemini", "gcp.gen_ai", "gcp.vertex_ai") in groups


def test_a_model_that_nobody_sells_has_no_sellers() -> None:
    assert sellers(_explain("openai", "a-model-nobody-sells").lookup) == ()


def test_a_call_that_names_nothing_is_explained_too() -> None:
    found = _explain("", "")

    assert isinstance(found.answer, Unpriced)
    assert (found.own_names, found.list_names) == ((), ())
