import asyncio
import gc
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

import pytest

from support.tags import where
from tokentrail.instrumentation import session, user
from tokentrail.instrumentation.context import NO_TAGS, Tags, current_tags

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


scoped = session("s", path="a")


def test_a_decorated_function_runs_inside_the_scope_and_stays_itself() -> None:
    @scoped
    @user("u")
    def work(value: int, *, more: int = 0) -> tuple[int, Tags]:
        """What it does."""
        return value + more, current_tags()

    result, tags = work(1, more=2)

    assert (result, tags) == (3, Tags(user="u", session_id="s", session_path="/a"))
    assert (work.__name__, work.__doc__) == ("work", "What it does.")
    assert list(inspect.signature(work).parameters) == ["value", "more"]


def test_a_decorated_method_works() -> None:
    class Service:
        @scoped
        def where(self) -> tuple[str, str]:
            return where()

    assert Service().where() == ("s", "/a")


def test_a_decorated_function_that_raises_leaves_the_scope() -> None:
    @scoped
    def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        work()


def test_a_decorated_function_may_call_itself() -> None:
    @session(path="a")
    def work(depth: int) -> str:
        return work(depth - 1) if depth else current_tags().session_path

    assert work(3) == "/a/a/a/a"


def test_a_decorated_coroutine_function_runs_inside_the_scope() -> None:
    @scoped
    async def work(value: int) -> tuple[int, tuple[str, str]]:
        await asyncio.sleep(0)
        return value, where()

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(work(5)) == (5, ("s", "/a"))


def test_a_decorated_generator_runs_inside_the_scope_and_its_consumer_outside() -> None:
    @scoped
    def work() -> Generator[tuple[str, str], str, str]:
        received = yield where()
        yield (received, current_tags().session_path)
        return "end"

    generator = work()

    assert inspect.isgeneratorfunction(work)
    assert next(generator) == ("s", "/a")
    assert current_tags() is NO_TAGS
    assert generator.send("sent") == ("sent", "/a")
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "end"


def test_an_exception_thrown_into_a_decorated_generator_arrives_inside_the_scope() -> None:
    seen = []

    @scoped
    def work() -> Generator[int, None, None]:
        try:
            yield 1
        except KeyError:
            seen.append(where())
            yield 2
        finally:
            seen.append(where())

    generator = work()
    next(generator)

    assert generator.throw(KeyError("x")) == 2
    with pytest.raises(ZeroDivisionError):
        generator.throw(ZeroDivisionError())
    assert seen == [("s", "/a"), ("s", "/a")]


@pytest.mark.parametrize("ending", ["close", "drop"])
def test_a_decorated_generator_that_is_abandoned_cleans_up_inside_the_scope(ending: str) -> None:
    seen = []

    @scoped
    def work() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            seen.append(where())

    generator = work()
    next(generator)
    if ending == "close":
        generator.close()
    del generator
    gc.collect()

    assert seen == [("s", "/a")]


def test_a_decorated_generator_that_is_never_started_runs_nothing() -> None:
    started = []

    @scoped
    def work() -> Generator[int, None, None]:
        started.append(where())
        yield 1

    work().close()

    assert started == []


def test_decorated_generators_may_be_read_in_turns() -> None:
    def work() -> Iterator[str]:
        for _ in range(3):
            yield current_tags().user

    turns = list(zip(user("a")(work)(), user("b")(work)(), work(), strict=True))

    assert turns == [("a", "b", "")] * 3


def test_a_decorated_asynchronous_generator_runs_inside_the_scope_and_its_consumer_outside() -> None:
    seen = []

    @scoped
    async def work() -> AsyncGenerator[Any, Any]:
        try:
            received = yield where()
            await asyncio.sleep(0)
            yield (received, current_tags().session_path)
        except KeyError:
            yield "caught", where()
        finally:
            await asyncio.sleep(0)
            seen.append(where())

    async def consume() -> None:
        generator = work()
        assert await anext(generator) == ("s", "/a")
        assert current_tags() is NO_TAGS
        assert await generator.asend("sent") == ("sent", "/a")
        assert await generator.athrow(KeyError("x")) == ("caught", ("s", "/a"))
        with pytest.raises(StopAsyncIteration):
            await anext(generator)

    assert inspect.isasyncgenfunction(work)
    asyncio.run(consume())
    assert seen == [("s", "/a")]


@pytest.mark.parametrize("ending", ["aclose", "break", "leave to the loop"])
def test_a_decorated_asynchronous_generator_that_is_left_cleans_up_inside_the_scope(ending: str) -> None:
    seen = []

    @scoped
    async def work() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            seen.append(where())

    async def consume() -> None:
        generator = work()
        async for _ in generator:
            break
        if ending == "aclose":
            await generator.aclose()
        if ending != "leave to the loop":
            del generator
            gc.collect()
            await asyncio.sleep(0.01)

    asyncio.run(consume())
    gc.collect()

    assert seen == [("s", "/a")]


def test_a_decorated_asynchronous_generator_may_be_read_by_several_tasks() -> None:
    @scoped
    async def work() -> AsyncGenerator[tuple[str, str], None]:
        while True:
            await asyncio.sleep(0)
            yield where()

    async def anext_of(generator: AsyncIterator[tuple[str, str]]) -> tuple[str, str]:
        return await anext(generator)

    async def consume_in_tasks() -> list[tuple[str, str]]:
        generator = work()
        places = [await asyncio.create_task(anext_of(generator)) for _ in range(3)]
        await generator.aclose()
        return places

    assert asyncio.run(consume_in_tasks()) == [("s", "/a")] * 3


def test_cancelling_a_decorated_coroutine_leaves_the_scope() -> None:
    seen = []

    @scoped
    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            seen.append(where())

    async def cancel() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert current_tags() is NO_TAGS

    asyncio.run(cancel())
    assert seen == [("s", "/a")]
