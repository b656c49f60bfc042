"""`tokentrail prices`: prices explained, price files checked."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tokentrail.backend.__main__ import main
from tokentrail.semconv.pricing import use_price_file

GOOD = """schema = 1
price = [
  { server = "*.internal", model = "llama-3*", input = "0.05", output = "0.05" },
  { provider = "ollama", model = "*", free = true },
  { provider = "azure.ai.openai", model = "team-a-chat", alias = "azure/gpt-4o-2024-08-06" },
  { provider = "anthropic", model = "*", multiplier = "0.85", from = 2026-10-01, until = 2026-12-24T10:15:00Z },
  { model = "ft", region = "eu", input = "3", request = "1", tier = "flex", tiers = [{above = 9, input = "6"}] },
]
"""
BAD = """schema = 1
price = [
  { provider = "openai", model = "a", input = 2.5 },
\t{ provider = "openai", modle = "b", input = "1" },
  { provider = "openai", model = "c", input = "", output = "" },
]
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("TOKENTRAIL_PRICES", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text(GOOD)
    Path("bad.toml").write_text(BAD)
    yield
    use_price_file(None)


def _show(capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> str:
    assert main(["prices", "show", *options]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def _fields(out: str) -> dict[str, str]:
    """The lines at the top, by their names."""
    head = out.split("\n\n")[1]
    return {line[:13].strip(): line[14:] for line in head.splitlines()}


def _rates(out: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line[:1] == "│"]
    return {name: amounts for name, *amounts in rows}


def test_a_list_price_is_shown_with_where_it_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    out = _show(capsys, "gpt-4o", "--at", "2026-11-20T12:07:00Z")

    assert out.splitlines()[0] == (
        "gpt-4o of openai (guessed from its name; --provider says otherwise), 2026-11-20 12:00 UTC"
    )
    fields = _fields(out)
    assert fields["price"].startswith("published list prices, genai-prices ")
    assert fields["entry"] == "openai/gpt-4o, tier standard"
    assert fields["assumptions"] == "none"
    assert fields["looked for"] == "gpt-4o in price files; openai/gpt-4o in the published lists"
    assert fields["price file"] == "none (TOKENTRAIL_PRICES, or --prices)"
    # Published by OpenAI: 2.50 input, 1.25 cached input, 10.00 output.
    rates = _rates(out)
    assert rates["input"] == ["2.50", ""]
    assert rates["cache read"] == ["1.25", ""]
    assert rates["output"] == ["10.00", ""]
    assert rates["reasoning"] == ["10.00", "as output"]
    assert rates["1 h cache write"] == ["2.50", "as cache write"]


def test_other_providers_whose_lists_know_the_model_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    out = _show(capsys, "gpt-4o")

    assert "Also sold by openrouter: input $2.50, output $10.00 (openrouter/openai/gpt-4o)" in out


def test_prices_by_the_size_of_the_call_are_columns(capsys: pytest.CaptureFixture[str]) -> None:
    out = _show(capsys, "gemini-2.5-pro")

    # Published by Google: 1.25 and 10 to 200,000 tokens of prompt, 2.50 and 15 above.
    assert _rates(out)["input"] == ["1.25", "2.50", ""]
    assert _rates(out)["output"] == ["10.00", "15.00", ""]
    assert "to 200,000" in out
    assert "above 200,000" in out


def test_a_tier_has_its_own_price_or_says_that_it_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    flex = _fields(_show(capsys, "gpt-5.5", "--tier", "flex"))
    priority = _fields(_show(capsys, "claude-sonnet-5", "--tier", "nosuch"))

    assert flex["entry"] == "openai/gpt-5.5, tier flex"
    assert (priority["entry"], priority["assumptions"]) == (
        "anthropic/claude-sonnet-5, tier standard",
        "tier_not_priced",
    )


def test_a_region_has_its_own_price(capsys: pytest.CaptureFixture[str]) -> None:
    Path("regions.toml").write_text(
        'schema = 1\nprice = [\n  { provider = "x", model = "m", region = "us", input = "2" },\n'
        '  { provider = "x", model = "m", input = "1" },\n]\n'
    )
    options = ("m", "--provider", "x", "--prices", "regions.toml")

    there, elsewhere = _show(capsys, *options, "--region", "us"), _show(capsys, *options)

    assert there.splitlines()[0].endswith(", region us")
    assert (_rates(there)["input"][0], _rates(elsewhere)["input"][0]) == ("2.00", "1.00")


def test_a_change_on_either_side_shows_what_changes(capsys: pytest.CaptureFixture[str]) -> None:
    Path("dated.toml").write_text(
        'schema = 1\nprice = [\n  { provider = "x", model = "m", input = "2", output = "8", until = 2026-12-01 },\n'
        '  { provider = "x", model = "m", input = "2", output = "9", from = 2026-12-01 },\n]\n'
    )
    options = ("m", "--provider", "x", "--prices", "dated.toml", "--at")

    now, later = (_fields(_show(capsys, *options, at)) for at in ("2026-11-20", "2027-01-01"))

    assert now["in force"] == "as far back as known, until 2026-12-01 00:00 UTC (then: output $9.00)"
    assert later["in force"] == "since 2026-12-01 00:00 UTC (before: output $8.00), no end is known"


def test_prices_by_time_of_day_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    out = _show(capsys, "deepseek-chat", "--at", "2025-06-01")

    assert "By time of day (UTC): from 00:00 input $0.135, output $0.55; from 00:30 input $0.27, output $1.10; " in out


def test_the_price_file_answers_first_and_the_list_is_still_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENTRAIL_PRICES", "good.toml")

    fields = _fields(_show(capsys, "claude-sonnet-5", "--at", "2026-11-20"))

    assert fields["price"].startswith("your price file, genai-prices ")
    assert ", good.toml " in fields["price"]
    assert fields["entry"] == "anthropic/claude-sonnet-5 x 0.85, tier standard"
    assert fields["list prices"].startswith("would say input $2.00, ")


def test_an_alias_is_the_price_files_answer(capsys: pytest.CaptureFixture[str]) -> None:
    fields = _fields(_show(capsys, "team-a-chat", "--provider", "azure", "--prices", "good.toml"))

    assert fields["price"].startswith("your price file, ")
    assert fields["entry"].startswith("openai/gpt-4o")
    assert fields["list prices"] == "would have no price: unknown_model"


def test_a_file_that_says_nothing_of_the_model_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert _fields(_show(capsys, "gpt-4o", "--prices", "good.toml"))["price file"] == "says nothing of it"


def test_an_own_server_has_no_price_and_a_line_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    out = _show(capsys, "my-model", "--server", "llm.internal", code=1)

    assert out.startswith("my-model of self_hosted at llm.internal, ")
    assert _fields(out)["no price"].startswith("self_hosted: llm.internal is no provider's host")
    assert out.splitlines()[-1] == (
        '  { server = "llm.internal", model = "my-model", input = "", output = "" },  # USD per million tokens'
    )


def test_the_server_decides_the_provider(capsys: pytest.CaptureFixture[str]) -> None:
    out = _show(capsys, "llama-3.3-70b-versatile", "--server", "api.groq.com")

    assert _fields(out)["entry"].startswith("groq/llama-3.3-70b-versatile")


def test_a_model_that_nobody_can_be_guessed_for_asks_for_its_provider(capsys: pytest.CaptureFixture[str]) -> None:
    out = _show(capsys, "nobodys-model", code=1)

    assert _fields(out)["no price"].startswith("unknown_provider: ")
    assert out.splitlines()[-1] == "Say who serves it with --provider, or at which host it is called with --server."


def test_json_has_every_digit(capsys: pytest.CaptureFixture[str]) -> None:
    out = _show(capsys, "claude-opus-4-5", "--json", "--prices", "good.toml", "--at", "2026-11-20")

    assert out.count("\n") == 1
    found = json.loads(out, parse_float=Decimal)
    # 6.25 for writing to the cache (anthropic.com/pricing, November 2025), times 0.85.
    assert found["bands"][0]["cache_write"] == Decimal("5.3125")
    assert (found["status"], found["provider"], found["provider_is_guess"]) == ("priced", "anthropic", True)
    assert found["since"]["at"] == "2026-10-01T00:00:00+00:00"
    assert found["until"]["at"] == "2026-12-24T10:15:00+00:00"
    assert [(each["list"], each["status"]) for each in found["lists"]] == [
        ("user", "priced"),
        ("overlay", None),
        ("genai-prices", "priced"),
    ]


def test_json_of_an_unpriced_model_has_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(_show(capsys, "gpt-nope", "--json", code=1))

    assert (found["status"], found["since"], found["until"]) == ("unknown_model", None, None)
    assert found["price_file_line"].startswith('{ provider = "openai", model = "gpt-nope", ')


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["show", "m", "--at", "soon"], "--at is 'soon': expected a time, or a span of time before now: 15m"),
        (["show", "m", "--prices", "none.toml"], "none.toml: the file cannot be read: No such file or directory"),
        (["show", "m", "--prices", "bad.toml"], "`tokentrail prices check bad.toml` shows the lines"),
        (["check"], "there is no price file to check: name one, or set TOKENTRAIL_PRICES"),
        (["check", "none.toml"], "none.toml cannot be read: No such file or directory"),
        (["check", "."], ". cannot be read: Is a directory"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_says_why(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", *options]) == 1

    captured = capsys.readouterr()
    assert captured.err.startswith("tokentrail prices: ")
    assert message in captured.err
    assert captured.out == ""


def test_a_subcommand_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["prices"])

    assert caught.value.code == 2
    assert "show | check" in capsys.readouterr().err


def test_a_file_without_errors_is_shown_as_it_was_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "check", "good.toml"]) == 0

    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line[:1] == "│"]
    assert rows == [
        ["3", "*.internal", "-", "llama-3*", "-", "-", "-", "-", "input 0.05, output 0.05"],
        ["4", "-", "ollama", "*", "-", "-", "-", "-", "free"],
        ["5", "-", "azure.ai.openai", "team-a-chat", "-", "-", "-", "-", "as azure.ai.openai/gpt-4o-2024-08-06"],
        ["6", "-", "anthropic", "*", "-", "-", "2026-10-01 00:00", "2026-12-24 10:15", "0.85 times what follows"],
        ["7", "-", "-", "ft", "flex", "eu", "-", "-", "input 3.00, each request 1.00"],
        ["", "", "", "", "", "", "", "", "above 9: input 6.00, each request 1.00"],
    ]
    assert out.splitlines()[-1].startswith("good.toml: 5 entries, no errors. ")


@pytest.mark.parametrize("width", [80, 149])
def test_a_narrow_terminal_shows_all_of_an_entry(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))

    assert main(["prices", "check", "good.toml"]) == 0

    out = capsys.readouterr().out
    assert "…" not in out
    assert "\N{REPLACEMENT CHARACTER}" not in out
    for text in ("*.internal", "azure.ai.openai", "ft", "2026-12-24 10:15", "0.85 times"):
        assert text in out


def test_an_empty_file_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.toml").write_text("schema = 1\n")

    assert main(["prices", "check", "empty.toml"]) == 0
    assert capsys.readouterr().out.startswith("empty.toml: 0 entries, no errors.")


def test_each_error_is_shown_with_its_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENTRAIL_PRICES", "bad.toml")

    assert main(["prices", "check"]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        """bad.toml, line 3: input is the number 2.5: write it in quotes, input = "2.5", to keep its digits""",
        """      3 |   { provider = "openai", model = "a", input = 2.5 },""",
        """bad.toml, line 4: 'modle' is not known here; did you mean 'model'?""",
        """      4 |     { provider = "openai", modle = "b", input = "1" },""",
        """bad.toml, line 5: input is '': expected an amount such as "2.50\"""",
        """      5 |   { provider = "openai", model = "c", input = "", output = "" },""",
        "tokentrail prices: 3 errors; a backend or application goes on with the table it had before",
    ]


def test_errors_as_json_are_objects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "check", "bad.toml", "--json"]) == 1

    captured = capsys.readouterr()
    found = [json.loads(line) for line in captured.out.splitlines()]
    assert [(each["file"], each["line"]) for each in found] == [("bad.toml", 3), ("bad.toml", 4), ("bad.toml", 5)]
    assert found[0]["source"] == '  { provider = "openai", model = "a", input = 2.5 },'
    assert captured.err == ""


def test_entries_as_json_are_objects_with_every_digit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "check", "good.toml", "--json"]) == 0

    entries = [json.loads(line, parse_float=Decimal) for line in capsys.readouterr().out.splitlines()]
    assert [entry["line"] for entry in entries] == [3, 4, 5, 6, 7]
    assert entries[0]["bands"][0]["output"] == Decimal("0.05")
    assert entries[2]["alias"] == "azure.ai.openai/gpt-4o-2024-08-06"
    assert (entries[3]["multiplier"], entries[3]["from"]) == (Decimal("0.85"), "2026-10-01T00:00:00+00:00")
    assert [band["above"] for band in entries[4]["bands"]] == [None, 9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"schema = 1\nprice = [\n  { model = \x1b }\n]\n", "line 3: "),
        (b'schema = 1\nprice = [\n  { model = "m",\n input = "1" },\n]\n', "an entry in braces stays on one line"),
        (b"schema = 1\n\xff\n", "line 2: the file is not in UTF-8"),
        (b"price = []\n", "schema is missing"),
        (b"x" * (1024 * 1024 + 1), "at most 1048576 are read"),
    ],
    ids=["syntax", "line break", "encoding", "schema", "size"],
)
def test_no_content_of_a_file_is_too_strange_to_be_told(
    content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("strange.toml").write_bytes(content)

    assert main(["prices", "check", "strange.toml"]) == 1

    err = capsys.readouterr().err
    assert message in err
    assert "\x1b" not in err
    assert err.splitlines()[-1].startswith("tokentrail prices: 1 error;")
