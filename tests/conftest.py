"""What all tests share: a heap that is quick to search, and an order in which the last files are short."""

import gc
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

_LONG: Final = ("e2e", "packaging", "owners", "frameworks", "fault", "benchmarks", "conformance")
"""Folders of tests that run whole applications: few, and long ones."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Have the collector of cycles leave alone what finding the tests made.

    There are 16,000 tests, and each of them stays, with the modules they are in, until the process ends. Many tests
    collect cycles to see what a dropped response does, and to go through all of that each time took longer than they.
    Nothing of a test is left out: none has run yet.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: two workers that take one file after another are done at about the same time."""
    tests = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(tests).parts[0] not in _LONG)
