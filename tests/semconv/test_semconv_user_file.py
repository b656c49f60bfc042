"""The user's price file while the process runs: named, changed, broken, mended, removed."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tokentrail.semconv.cost import Call, Cost, price
from tokentrail.semconv.pricing import PriceFileError, price_file_status, use_price_file
from tokentrail.semconv.pricing.tables import user_file
from tokentrail.semconv.usage import Usage

LIST_PRICE = Decimal("0.25")
"""USD of 100,000 tokens into gpt-4o: 2.50 USD per million (OpenAI's price page, October 2024)."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a price file may be; it is looked at as often as a price is asked for."""
    monkeypatch.setattr(user_file, "CHECK_S", 0.0)
    yield tmp_path / "prices.toml"
    use_price_file(None)


def write(path: Path, usd_per_million: str) -> None:
    text = f'schema = 1\nprice = [ {{ provider = "openai", model = "gpt-4o", input = {usd_per_million} }} ]\n'
    swap = path.with_suffix(".new")
    swap.write_text(text)
    swap.replace(path)


def cost() -> Decimal:
    result = price(Call("openai", ("gpt-4o",), Usage(input_tokens=100_000), 1_770_000_000 * 10**9, "api.openai.com"))
    assert isinstance(result, Cost), result
    return result.total_usd


def test_the_users_price_goes_before_the_list_from_the_moment_it_is_named(path: Path) -> None:
    before = cost()
    write(path, '"1"')

    use_price_file(path)

    assert (before, cost()) == (LIST_PRICE, Decimal("0.1"))


def test_a_changed_file_is_in_force_at_the_next_call(path: Path) -> None:
    write(path, '"1"')
    use_price_file(path)
    first = cost()

    write(path, '"3"')

    assert (first, cost()) == (Decimal("0.1"), Decimal("0.3"))


def test_a_file_with_an_error_leaves_the_old_prices_and_says_where(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, '"1"')
    use_price_file(path)
    in_force = price_file_status().version

    write(path, "2.5")
    for _ in range(3):
        assert cost() == Decimal("0.1")

    status = price_file_status()
    assert (status.version, status.entries) == (in_force, 1)
    assert "prices.toml, line 2: input is the number 2.5" in status.error
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1  # once for each version, not for each call
    assert "line 2" in errors[0].getMessage()


def test_a_mended_file_is_in_force_again(path: Path) -> None:
    write(path, "2.5")
    with pytest.raises(PriceFileError, match="line 2"):
        use_price_file(path)
    without = cost()

    write(path, '"2"')

    assert (without, cost(), price_file_status().error) == (LIST_PRICE, Decimal("0.2"), "")


def test_a_file_that_goes_away_leaves_its_prices(path: Path) -> None:
    write(path, '"1"')
    use_price_file(path)

    path.unlink()

    assert cost() == Decimal("0.1")
    assert "cannot be read" in price_file_status().error


def test_a_file_that_is_not_there_yet_is_waited_for(path: Path) -> None:
    with pytest.raises(PriceFileError, match="cannot be read: No such file"):
        use_price_file(path)

    write(path, '"1"')

    assert cost() == Decimal("0.1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_an_error(path: Path) -> None:
    write(path, '"1"')
    path.chmod(0)

    with pytest.raises(PriceFileError, match="Permission denied"):
        use_price_file(path)


def test_without_the_file_the_list_answers_again(path: Path) -> None:
    write(path, '"1"')
    use_price_file(path)
    cost()

    use_price_file(None)

    assert cost() == LIST_PRICE
    assert price_file_status().path is None


def test_between_two_looks_nothing_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_file, "CHECK_S", 3600.0)
    write(path, '"1"')
    use_price_file(path)
    looks: list[Path] = []
    monkeypatch.setattr(user_file, "file_state", looks.append)

    for _ in range(100):
        cost()

    assert looks == []


def test_changes_under_load_never_leave_an_old_price_behind(path: Path) -> None:
    """A call that is being priced while the file changes must not put the old card into the memory of the new table."""
    write(path, '"1"')
    use_price_file(path)
    done = threading.Event()
    wrong: list[Decimal] = []

    def ask() -> None:
        while not done.is_set():
            if cost() not in {Decimal("0.1"), Decimal("0.2")}:
                wrong.append(cost())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    final: list[Decimal] = []
    for number in range(40):
        write(path, '"2"' if number % 2 else '"1"')
        deadline = time.monotonic() + 10
        expected = Decimal("0.2") if number % 2 else Decimal("0.1")
        while (last := cost()) != expected and time.monotonic() < deadline:
            time.sleep(0.001)
        final.append(last)
    done.set()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert final == [Decimal("0.1"), Decimal("0.2")] * 20
