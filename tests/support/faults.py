"""Making any function of ours raise, wherever it is referred to from, and finding out which functions a scene calls.

A function is broken by giving it another code object: names imported elsewhere, bound methods and properties all lead
to the same function.
"""

import importlib
import inspect
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

_CALL = "raise from here"


class InjectedError(Exception):
    """What is raised in our code."""


@dataclass(slots=True)
class Fault:
    """A broken function."""

    calls: int = 0


@dataclass(frozen=True, slots=True)
class Ours:
    """The functions of some packages."""

    modules: Mapping[str, ModuleType]
    functions: Mapping[str, Mapping[str, FunctionType]] = field(default_factory=dict)
    """By module and qualified name. Functions inside functions are not among them."""


def modules_of(*packages: str) -> dict[str, ModuleType]:
    """Every module of `packages`, which may be modules themselves, by its name."""
    found: dict[str, ModuleType] = {}
    for name in packages:
        package = found[name] = importlib.import_module(name)
        for info in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{name}."):
            found[info.name] = importlib.import_module(info.name)
    return found


def functions_of(module: ModuleType) -> dict[str, FunctionType]:
    """The functions and methods written in `module`, by qualified name."""
    found: dict[str, FunctionType] = {}
    for holder in (module, *(value for value in vars(module).values() if inspect.isclass(value))):
        for value in vars(holder).values():
            for function in _functions_in(value):
                if function.__code__.co_filename == module.__file__ and "<" not in function.__qualname__:
                    found[function.__qualname__] = function
    return found


def _functions_in(value: object) -> Iterator[FunctionType]:
    if isinstance(value, property):
        value = value.fget
    value = inspect.unwrap(value) if callable(value) else value
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, FunctionType):
        yield value


@contextmanager
def broken(function: FunctionType) -> Iterator[Fault]:
    """Have `function` raise whenever it is called, in the block."""
    fault, code = Fault(), function.__code__

    def raise_it() -> None:
        fault.calls += 1
        raise InjectedError(f"in {function.__qualname__}")

    function.__code__ = _calling(raise_it, len(code.co_freevars))
    try:
        yield fault
    finally:
        function.__code__ = code


def _calling(act: Callable[[], None], free_variables: int) -> CodeType:
    """Code that takes any arguments and calls `act`, for a function that closes over so many variables."""
    names = [f"free_{number}" for number in range(free_variables)]
    lines = ["def outer():", *(f"    {name} = None" for name in names), "    def fail(*args, **kwargs):"]
    lines += [f"        {name}" for name in names]
    lines += [f"        act = {_CALL!r}", "        return act()", "    return fail"]
    made: dict[str, Any] = {}
    exec("\n".join(lines), made)
    code: CodeType = made["outer"]().__code__
    return code.replace(co_consts=tuple(act if constant == _CALL else constant for constant in code.co_consts))


@contextmanager
def called(functions: Mapping[CodeType, str]) -> Iterator[set[str]]:
    """The names of those of `functions`, by their code, that are called in the block, in any thread it starts."""
    names: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (name := functions.get(frame.f_code)) is not None:
            names.add(name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield names
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
