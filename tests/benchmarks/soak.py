"""Whether memory grows over many calls: plain, streamed and failed ones through a transport inside the process.

Without the SDK, which would take most of the time: the HTTP client library is called as the SDK calls it.
"""

import gc
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from benchmarks.cases import HOST, case

_SAMPLES: Final = 10
_ERROR: Final = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}


def run(library: ModuleType, calls: int, traced: bool, flush: Callable[[], None]) -> dict[str, object]:
    """Make `calls` calls and look at the process ten times, evenly spaced, after a tenth as many to warm up."""
    client, url = _client(library), f"https://{HOST}/v1/chat/completions"
    bodies = [_body("plain"), _body("stream_50")]
    step = max(calls // _SAMPLES, 1)
    _make(client, url, bodies, 0, step)
    if traced:
        tracemalloc.start()
    samples = [_sample(flush, 0)]
    start = time.perf_counter()
    for index in range(_SAMPLES):
        _make(client, url, bodies, index * step, step)
        samples.append(_sample(flush, (index + 1) * step))
    return {"samples": samples, "seconds": time.perf_counter() - start, "made": (_SAMPLES + 1) * step}


def _make(client: Any, url: str, bodies: list[bytes], first: int, count: int) -> None:
    for index in range(first, first + count):
        # Each call has its own key and its own user, as different users' calls have.
        headers = {"authorization": f"Bearer sk-{index}", "content-type": "application/json"}
        headers["Helicone-User-Id"] = f"user-{index}"
        if index % 10 == 9:
            headers["x-fail"] = "yes"
        body = bodies[index % 2]
        with client.stream("POST", url, content=body, headers=headers) as response:
            for _ in response.iter_raw():
                pass


def _sample(flush: Callable[[], None], calls: int) -> dict[str, int]:
    flush()
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0
    return {"calls": calls, "rss_bytes": _resident(), "objects": len(gc.get_objects()), "traced_bytes": traced}


def _resident() -> int:
    """Bytes of memory in use; 0 where the system does not say so in `/proc`."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0
    return int(status.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _body(name: str) -> bytes:
    return json.dumps(case(name).arguments()).encode()


def _client(library: ModuleType) -> Any:
    plain, streamed = _answer("plain"), _answer("stream_50")
    failed = [json.dumps(_ERROR).encode()]

    class Pieces(library.SyncByteStream):  # type: ignore[name-defined, misc]  # the base is known at run time only
        def __init__(self, pieces: list[bytes]) -> None:
            self._pieces = pieces

        def __iter__(self) -> Any:
            yield from self._pieces

    def answer(request: Any) -> Any:
        status, kind, pieces = 200, "application/json", plain
        if "x-fail" in request.headers:
            status, pieces = 429, failed
        elif b'"stream": true' in request.content:
            kind, pieces = "text/event-stream", streamed
        return library.Response(status, headers={"content-type": kind, "retry-after": "1"}, stream=Pieces(pieces))

    return library.Client(transport=library.MockTransport(answer))


def _answer(name: str) -> list[bytes]:
    """The body of the case's response, in its events."""
    head, *pieces = case(name).response()
    if not pieces:
        return [head.partition(b"\r\n\r\n")[2]]
    return [piece.partition(b"\r\n")[2].removesuffix(b"\r\n") for piece in pieces[:-1]]
