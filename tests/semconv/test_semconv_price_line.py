"""Lines for a price file: pasted and filled in, they price the calls they are for, and no others."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tokentrail.semconv.cost import Call, Cost, Unpriced, price
from tokentrail.semconv.pricing import Source, use_price_file
from tokentrail.semconv.pricing.tables.price_file import PriceFileError, read_price_file
from tokentrail.semconv.pricing.tables.price_line import price_line, toml_string
from tokentrail.semconv.usage import Usage

NOW_NS = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 10**9

STRANGE = (
    "plain",
    "MiXeD-Case",
    "glob*star",
    "what?",
    "class[abc]",
    "[!x]",
    "]odd[",
    'quo"ted',
    "back\\slash",
    "new\nline",
    "tab\there",
    "nul\x00",
    "bell\x07\x7f",
    "snail \N{SNAIL}",
    "emoji \N{GRINNING FACE}",
    "\N{GREEK CAPITAL LETTER SIGMA}",
    "line\N{LINE SEPARATOR}separator",
    "'single'",
    "# no comment",
    "{ braces }",
    "a, b = c",
    "arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc",
    "ft:gpt-nobody:org::id",
    "publishers/nobody/models/x@1",
)


@pytest.fixture(autouse=True)
def no_price_file() -> Iterator[None]:
    yield
    use_price_file(None)


def _use(tmp_path: Path, *lines: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text("schema = 1\nprice = [\n" + "".join(f"  {line}\n" for line in lines) + "]\n", encoding="utf-8")
    use_price_file(path)


def _call(provider: str, server: str, *models: str) -> Call:
    return Call(provider, models, Usage(1_000_000, 1_000_000), NOW_NS, server_address=server)


def _filled(provider: str, server: str, model: str) -> str:
    """The line with 3 USD for each amount."""
    return price_line(provider, server, model, amount="3")


def test_the_line_of_a_model_has_its_provider_and_places_for_the_amounts() -> None:
    assert price_line("openai", "api.openai.com", "my-model") == (
        '{ provider = "openai", model = "my-model", input = "", output = "" },  # USD per million tokens'
    )


def test_the_line_of_an_own_server_has_its_host() -> None:
    assert price_line("openai", "llm.internal", "llama-3") == (
        '{ server = "llm.internal", model = "llama-3", input = "", output = "" },  # USD per million tokens'
    )


def test_only_the_prices_asked_for_have_a_place() -> None:
    assert price_line("cohere", "", "embed-x", ("input",)) == (
        '{ provider = "cohere", model = "embed-x", input = "" },  # USD per million tokens'
    )


def test_a_line_that_was_not_filled_in_is_an_error_of_the_file() -> None:
    text = f"schema = 1\nprice = [\n  {price_line('openai', '', 'my-model')}\n]\n"

    with pytest.raises(PriceFileError, match="line 3: input is '': expected an amount"):
        read_price_file(text.encode(), "prices.toml", Source.USER)


@pytest.mark.parametrize("model", STRANGE, ids=ascii)
@pytest.mark.parametrize(("provider", "server"), [("somebody", ""), ("openai", "llm.internal")])
def test_a_filled_in_line_prices_its_call_and_no_other(tmp_path: Path, provider: str, server: str, model: str) -> None:
    assert isinstance(price(_call(provider, server, model)), Unpriced)

    _use(tmp_path, _filled(provider, server, model))

    result = price(_call(provider, server, model))
    assert isinstance(result, Cost)
    assert (result.total_usd, result.source) == (Decimal(6), "user")
    assert isinstance(price(_call(provider, server, model.swapcase())), Cost) or not model.isascii()
    for other in (f"{model}x", f"x{model}", model.replace("*", "y"), model.replace("?", "y"), model.replace("[", "y")):
        if other != model:
            assert isinstance(price(_call(provider, server, other)), Unpriced), other
    assert isinstance(price(_call(provider if server else "else", f"x{server}" if server else "", model)), Unpriced)


@pytest.mark.parametrize("server", ["[::1]", "10.0.0.7:8000", "http://llm.internal/v1", " llm ", "LLM.Internal", "a*b"])
def test_a_server_is_matched_as_calls_give_it(tmp_path: Path, server: str) -> None:
    _use(tmp_path, _filled("openai", server, "llama-3"))

    assert isinstance(price(_call("openai", server, "llama-3")), Cost)
    assert isinstance(price(_call("openai", "elsewhere.internal", "llama-3")), Unpriced)


def test_the_provider_is_the_one_that_the_host_decides(tmp_path: Path) -> None:
    # An SDK of OpenAI's pointed at Groq: entries are held against Groq.
    line = _filled("openai", "api.groq.com", "no-such-model")

    assert line.startswith('{ provider = "groq", model')
    _use(tmp_path, line)
    assert isinstance(price(_call("openai", "api.groq.com", "no-such-model")), Cost)


def test_a_list_price_of_another_model_stays_in_force(tmp_path: Path) -> None:
    before = price(_call("openai", "api.openai.com", "gpt-4o"))

    _use(tmp_path, _filled("openai", "api.openai.com", "gpt-4?"))

    assert isinstance(before, Cost)
    assert price(_call("openai", "api.openai.com", "gpt-4o")) == before


def test_a_call_without_a_model_has_a_line_only_on_an_own_server(tmp_path: Path) -> None:
    assert price_line("openai", "api.openai.com", "") == ""
    assert price_line("", "", "") == ""
    line = _filled("openai", "llm.internal", " ")

    assert line == '{ server = "llm.internal", input = "3", output = "3" },  # USD per million tokens'
    _use(tmp_path, line)
    assert isinstance(price(_call("openai", "llm.internal")), Cost)


def test_names_that_are_too_long_for_any_price_have_no_line() -> None:
    assert price_line("openai", "", "x" * 2000) == ""


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_strings_come_back_from_toml_as_they_were(text: str) -> None:
    import tomllib

    assert tomllib.loads(f"x = {toml_string(text)}") == {"x": text}
    assert toml_string(text).isprintable()
