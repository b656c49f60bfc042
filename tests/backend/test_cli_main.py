"""The command line as such."""

import importlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tokentrail.backend.__main__ import MISSING_EXTRA, main
from tokentrail.backend.cli import COMMANDS


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"tokentrail {version('tokentrail')}\n"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert all(command.name in out and command.help in out for command in COMMANDS)


def test_without_a_command_the_help_is_shown_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "requests" in capsys.readouterr().out


def test_an_unknown_command_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["request"])

    assert caught.value.code == 2
    assert "requests" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_module_tells_the_name_and_help_that_it_is_listed_with(command: Any) -> None:
    module = importlib.import_module(command.module)

    assert command.name == module.NAME
    assert command.help == module.HELP
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_help_loads_neither_the_engine_nor_other_libraries_of_the_extra() -> None:
    code = """
import sys
from tokentrail.backend.__main__ import main
for line in (["--help"], ["requests", "--help"]):
    try:
        main(line)
    except SystemExit:
        pass
print(sorted({"chdb", "rich", "grpc", "uvicorn", "prometheus_client"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stderr == "[]\n"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _without(monkeypatch, "uvicorn.config", "uvicorn")

    assert main(["requests"]) == 2
    assert capsys.readouterr().err == f"{MISSING_EXTRA}\n"


def test_another_missing_module_is_not_blamed_on_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "ours", "ours")

    with pytest.raises(ModuleNotFoundError):
        main(["requests"])


def _without(monkeypatch: pytest.MonkeyPatch, module: str, missing: str) -> None:
    """Make loading a command fail for want of `module`."""

    def load(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=module)

    monkeypatch.setattr(importlib, "import_module", load)


def test_ctrl_c_ends_a_command_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(name: str) -> ModuleType:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)

    assert main(["requests"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    code = """
import os, sys
from tokentrail.backend import __main__ as cli
class Chatty:
    add_arguments = staticmethod(lambda parser: None)
    @staticmethod
    def run(args):
        for _ in range(100000):
            sys.stdout.write("line\\n")
        return 0
cli._load = lambda command: Chatty
sys.exit(cli.main(["requests"]))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        errors = child.stderr.read()

    assert (child.returncode, errors) == (0, b"")
