"""`tokentrail` with a store that fails and a clock that jumps, as a file says: `python faulty_backend.py serve ...`.

The product knows nothing of it: the methods of the store and the clock of Python are wrapped before it starts. The file
that FAULTS_FILE names is read at every call: {"store": "unavailable", "insert_s": 0.5, "clock_s": -3600}, all optional;
a method in place of `store` fails alone.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FAULTS_FILE = "FAULTS_FILE"
"""The variable with the path of the file."""
PROGRAM = (str(Path(__file__)),)
"""For `BackendProcess.program`."""


def set_faults(path: Path, **faults: object) -> None:
    """Have the faults at `path` be these, from the next call on."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(faults))
    new.replace(path)


def _faults() -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(Path(os.environ[FAULTS_FILE]).read_text())
    except FileNotFoundError:
        return {}
    return found


def _shift_clock() -> None:
    """Before the product is imported: some of it keeps the function."""
    real_ns = time.time_ns

    def time_ns() -> int:
        return real_ns() + int(_faults().get("clock_s", 0) * 1e9)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def _break_store() -> None:
    from tokentrail.backend.store.chdb import ChdbStore
    from tokentrail.backend.store.errors import StoreError, StoreUnavailable

    kinds: Mapping[str, Callable[[], Exception]] = {
        "unavailable": lambda: StoreUnavailable("it is away, as the test says"),
        "refused": lambda: StoreError("it does not like it, as the test says"),
    }

    def breaking(method: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> object:
            faults = _faults()
            if method.__name__ == "insert":
                time.sleep(faults.get("insert_s", 0))
            if kind := faults.get("store") or faults.get(method.__name__):
                raise kinds[kind]()
            result = method(*arguments, **named)
            if faults.get("answer") == "lost":
                raise kinds["unavailable"]()
            return result

        return call

    for name in ("insert", "insert_parts", "find_spans", "find_rows", "save_snapshot", "query"):
        setattr(ChdbStore, name, breaking(getattr(ChdbStore, name)))


if __name__ == "__main__":
    _shift_clock()
    _break_store()
    from tokentrail.backend.__main__ import main

    sys.exit(main())
