"""Where the time goes: the profiler over the calling thread and over the threads that work in the background."""

import cProfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Final

_WARM_UP: Final = 20
_ROWS: Final = 40
_OURS: Final = ("tokentrail", "opentelemetry")
"""Folders of the code whose functions are listed; what they call elsewhere is in their cumulative time."""

_Times = dict[CodeType | str, tuple[int, float, float]]
"""Calls, seconds in the function itself, seconds with what it called."""


def profiled(call: Callable[[], object], calls: int, flush: Callable[[], None]) -> dict[str, object]:
    """Make `calls` calls under the profiler; a table as text by thread.

    Only threads that start under the profiler are seen, so this is asked of a fresh worker. The profiler makes small
    functions look dearer than they are.
    """
    profiles = {"main": cProfile.Profile()}

    def begin(*_: object) -> None:
        profile = cProfile.Profile()
        profiles[threading.current_thread().name] = profile
        profile.enable()

    threading.setprofile(begin)
    _make(call, _WARM_UP, profiles["main"], flush)
    before = {name: _times(profile) for name, profile in profiles.items()}
    _make(call, calls, profiles["main"], flush)
    threading.setprofile(None)
    return {name: _table(_times(profile), before.get(name, {}), calls) for name, profile in profiles.items()}


def _make(call: Callable[[], object], calls: int, main: cProfile.Profile, flush: Callable[[], None]) -> None:
    main.enable()
    for _ in range(calls):
        call()
    main.disable()
    flush()


def _times(profile: cProfile.Profile) -> _Times:
    # The profiler of a thread that runs on is read, not stopped.
    return {entry.code: (entry.callcount, entry.inlinetime, entry.totaltime) for entry in profile.getstats()}


def _table(after: _Times, before: _Times, calls: int) -> str:
    spent = []
    for code, (count, own, whole) in after.items():
        earlier = before.get(code, (0, 0.0, 0.0))
        if isinstance(code, CodeType) and any(part in Path(code.co_filename).parts for part in _OURS):
            spent.append((own - earlier[1], whole - earlier[2], count - earlier[0], code))
    spent.sort(key=lambda each: each[0], reverse=True)
    lines = ["   own us  with callees  calls, each a call of the application"]
    for own, whole, count, code in spent[:_ROWS]:
        place = f"{Path(code.co_filename).name}:{code.co_firstlineno} {code.co_qualname}"
        lines.append(f"{own / calls * 1e6:9.1f}  {whole / calls * 1e6:12.1f}  {count / calls:5.1f}  {place}")
    lines.append(f"{sum(each[0] for each in spent) / calls * 1e6:9.1f}  in all of them")
    return "\n".join(lines)
