import asyncio
import logging
from collections.abc import Iterator

import pytest

from tokentrail.instrumentation import guard
from tokentrail.instrumentation.guard import protect


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_seen", set())
    monkeypatch.setattr(guard, "strict", False)


@pytest.fixture
def _broken_filter() -> Iterator[None]:
    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter of the application")

    guard.logger.addFilter(refuse)
    yield
    guard.logger.removeFilter(refuse)


def test_what_goes_well_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with protect("working"):
        result = 1

    assert result == 1
    assert caplog.records == []


@pytest.mark.parametrize("kind", [ValueError, RecursionError, MemoryError, OSError, StopIteration, AssertionError])
def test_an_exception_ends_here_and_is_logged_with_its_place(
    kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    with protect("reading a response"):
        raise kind("broken")

    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "reading a response" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is kind


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_is_the_application_s_passes(kind: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(kind), protect("working"):
        raise kind

    assert caplog.records == []


def test_under_test_everything_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "strict", True)

    with pytest.raises(ValueError, match="broken"), protect("working"):
        raise ValueError("broken")


def test_a_failure_is_logged_once_for_each_place_and_kind(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        for place in ("a", "b"):
            for kind in (ValueError, KeyError):
                with protect(place):
                    raise kind("broken")

    assert len(caplog.records) == 4


def test_kinds_remembered_have_a_limit_and_past_it_nothing_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "_MAX_SEEN", 5)

    for number in range(10):
        with protect(f"place {number}"):
            raise ValueError("broken")

    assert len(caplog.records) == 5
    assert len(guard._seen) == 5


@pytest.mark.usefixtures("_broken_filter")
def test_a_log_filter_that_raises_does_not_reach_the_application() -> None:
    with protect("working"):
        raise ValueError("broken")


def test_one_guard_may_stand_inside_another(caplog: pytest.LogCaptureFixture) -> None:
    reached = False

    with protect("outer"):
        with protect("inner"):
            raise ValueError("broken")
        reached = True

    assert reached
    assert len(caplog.records) == 1
