"""The layout that one namespace over several folders depends on."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORTIONS = ("semconv", "instrumentation", "backend")


@pytest.mark.parametrize("portion", PORTIONS)
def test_a_namespace_folder_holds_only_its_portion(portion: str) -> None:
    """An `__init__.py` there would hide the other portions, in editable installations only."""
    found = {path.name for path in (ROOT / portion / "tokentrail").iterdir()} - {"__pycache__"}

    assert found == {portion}


@pytest.mark.parametrize("portion", PORTIONS)
def test_a_code_folder_holds_nothing_but_code(portion: str) -> None:
    found = {path.name for path in (ROOT / portion).iterdir()} - {"__pycache__", "README.md"}

    assert found == {"tokentrail"}


def test_every_folder_of_a_portion_is_a_package_or_data() -> None:
    for portion in PORTIONS:
        for folder in (ROOT / portion / "tokentrail" / portion).rglob("*"):
            if folder.is_dir() and folder.name != "__pycache__" and any(folder.glob("*.py")):
                assert (folder / "__init__.py").exists(), folder


def test_tests_are_no_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))
