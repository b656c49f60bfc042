import asyncio
import contextvars
import gc
import random
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.tags import where
from tokentrail.instrumentation import properties, session, threads, user
from tokentrail.instrumentation.context import NO_TAGS, Tags, current_tags

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


scoped = session("s", path="a")


# Tasks and threads ----------------------------------------------------------------------------------------------


def test_tasks_and_threads_started_inside_a_scope_are_inside_it() -> None:
    async def work() -> tuple[str, str]:
        await asyncio.sleep(0)
        return where()

    async def main() -> list[tuple[str, str]]:
        with scoped:
            task = asyncio.create_task(work())
            places = [await work(), *await asyncio.gather(work(), work()), await asyncio.to_thread(where)]
        return [*places, await task]

    assert asyncio.run(main()) == [("s", "/a")] * 5


def test_what_a_task_sets_stays_in_it() -> None:
    async def work() -> None:
        with session(path="inner"):
            await asyncio.sleep(0)
            assert where() == ("s", "/a/inner")

    async def main() -> None:
        with scoped:
            await asyncio.gather(work(), work(), asyncio.to_thread(asyncio.run, work()))
            assert where() == ("s", "/a")

    asyncio.run(main())


def test_many_tasks_may_share_one_scope() -> None:
    async def work(number: int) -> None:
        source = random.Random(number)
        for _ in range(20):
            with scoped, user(str(number)):
                await asyncio.sleep(source.random() / 1_000)
                assert current_tags() == Tags(user=str(number), session_id="s", session_path="/a")
            assert current_tags() is NO_TAGS

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(50)))

    asyncio.run(main())


def test_many_threads_may_share_one_scope() -> None:
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait(10)
        for _ in range(300):
            with scoped, user(str(number)):
                assert current_tags() == Tags(user=str(number), session_id="s", session_path="/a")

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, number) for number in range(8)]:
            future.result()


def test_a_thread_has_the_scopes_that_are_passed_to_it() -> None:
    threads.uninstall()  # it would have them all
    with scoped, ThreadPoolExecutor(1) as pool:
        assert pool.submit(where).result() == ("", "")
        assert pool.submit(contextvars.copy_context().run, where).result() == ("s", "/a")


def test_a_scope_entered_in_one_task_and_left_in_another_is_silent() -> None:
    async def main() -> None:
        scope = user("u")

        async def enter() -> None:
            scope.__enter__()

        async def leave() -> None:
            scope.__exit__(None, None, None)

        await asyncio.create_task(enter())
        await asyncio.create_task(leave())

    asyncio.run(main())


def test_an_asynchronous_generator_with_a_scope_closed_by_the_loop_is_silent() -> None:
    async def work() -> AsyncIterator[int]:
        with session("s"):
            yield 1
            yield 2

    async def main() -> None:
        async for _ in work():
            break
        gc.collect()
        await asyncio.sleep(0.01)

    asyncio.run(main())


# Memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["with", "decorator", "generator", "out of order"])
def test_20_000_scopes_leave_nothing_behind(use: str) -> None:
    @scoped
    def function() -> None:
        current_tags()

    @scoped
    def generator() -> Iterator[int]:
        yield 1
        yield 2

    def once() -> None:
        if use == "with":
            with session("s", path="a"), properties(x=1):
                pass
        elif use == "decorator":
            function()
        elif use == "generator":
            next(generator())
        else:
            outer, inner = user("u"), session("s")
            outer.__enter__()
            inner.__enter__()
            outer.__exit__(None, None, None)
            inner.__exit__(None, None, None)

    _repeat(once, 200)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        _repeat(once, 20_000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    # One object for each would be more than a megabyte.
    assert grown < 50_000


def _repeat(once: Callable[[], None], times: int) -> None:
    for _ in range(times):
        once()
