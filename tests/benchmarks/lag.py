"""How late an event loop is while it serves streams: what else an application does there waits as long."""

import asyncio
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from benchmarks.cases import TRICKLE

_TICK_S: Final = 0.001


def measure(sdk: ModuleType, base_url: str, streams: int, flush: Callable[[], None]) -> dict[str, object]:
    """Read `streams` streams at once beside a ticker; its lateness in milliseconds, and what it all took."""
    start = time.process_time_ns()
    late = asyncio.run(_measure(sdk, base_url, streams))
    flush()
    late.sort()
    return {
        "ticks": len(late),
        "median_ms": late[len(late) // 2] * 1e3,
        "p99_ms": late[int(len(late) * 0.99)] * 1e3,
        "max_ms": late[-1] * 1e3,
        "total_ns": time.process_time_ns() - start,
    }


async def _measure(sdk: ModuleType, base_url: str, streams: int) -> list[float]:
    client: Any = sdk.AsyncOpenAI(api_key="sk-benchmark", base_url=base_url, max_retries=0)
    async with client:
        # Connections are opened, and first uses paid for, before the ticker starts.
        await asyncio.gather(*(_stream(client) for _ in range(streams)))
        late: list[float] = []
        ticker = asyncio.create_task(_tick(late))
        counts = await asyncio.gather(*(_stream(client) for _ in range(streams)))
        ticker.cancel()
    if set(counts) != {TRICKLE.chunks}:
        raise ValueError(f"streams of {sorted(set(counts))} chunks instead of {TRICKLE.chunks}")
    return late


async def _stream(client: Any) -> int:
    count = 0
    async for _ in await client.chat.completions.create(**TRICKLE.arguments()):
        count += 1
    return count


async def _tick(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + _TICK_S
        await asyncio.sleep(_TICK_S)
        late.append(time.perf_counter() - due)
