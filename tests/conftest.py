"""What all tests share: a heap that is quick to search."""

import gc
from collections.abc import Generator

import pytest


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
