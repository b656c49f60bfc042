"""Bodies on their way in: bounded in time and all together in bytes; who is silent gives way. Without sockets."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from tokentrail.backend.ingest.errors import NotNow, QueueFull, Stopping
from tokentrail.backend.receiver import intake as module
from tokentrail.backend.receiver.answer import RequestTimeoutError
from tokentrail.backend.receiver.intake import Intake

Pieces = Callable[[], Awaitable[MutableMapping[str, Any]]]
MAX_BODY = 1000


def body_of(*sizes: int, then: str = "ends") -> Pieces:
    """A body in pieces; after the last it `ends`, or stays silent for ever."""
    pieces = list(sizes)

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0)
        if not pieces:
            await asyncio.Event().wait()
        size = pieces.pop(0)
        return {"type": "http.request", "body": bytes(size), "more_body": bool(pieces) or then != "ends"}

    return receive


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.05)


def test_a_body_that_comes_is_read_and_leaves_nothing_behind() -> None:
    async def run() -> None:
        intake = Intake(100, 5)

        assert await intake.read(body_of(30, 40, 5), 75, MAX_BODY) == bytes(75)
        assert intake.size_bytes == 0

    asyncio.run(run())


def test_a_body_that_stops_is_waited_for_until_the_timeout() -> None:
    async def run() -> None:
        intake = Intake(100, 0.05)

        with pytest.raises(RequestTimeoutError, match=r"not complete after 0\.05 s"):
            await intake.read(body_of(30, then="is silent"), 75, MAX_BODY)
        assert intake.size_bytes == 0

    asyncio.run(run())


def test_who_is_silent_gives_way_and_who_still_sends_does_not() -> None:
    async def run() -> None:
        intake = Intake(100, 5)
        silent = asyncio.create_task(intake.read(body_of(60, then="is silent"), None, MAX_BODY))
        await asyncio.sleep(0.1)
        sending = asyncio.create_task(intake.read(body_of(30, then="is silent"), None, MAX_BODY))
        await asyncio.sleep(0.01)

        assert await intake.read(body_of(50), None, MAX_BODY) == bytes(50)

        with pytest.raises(QueueFull):
            await silent
        assert not sending.done()
        assert intake.size_bytes == 30
        sending.cancel()

    asyncio.run(run())


def test_where_all_are_sending_who_wants_more_is_to_come_back() -> None:
    async def run() -> None:
        intake = Intake(100, 5)
        first = asyncio.create_task(intake.read(body_of(60, then="is silent"), None, MAX_BODY))
        await asyncio.sleep(0.01)

        with pytest.raises(QueueFull):
            await intake.read(body_of(50), None, MAX_BODY)

        assert not first.done()
        assert intake.size_bytes == 60
        first.cancel()

    asyncio.run(run())


def test_a_body_alone_may_be_larger_than_all_together() -> None:
    async def run() -> None:
        assert len(await Intake(100, 5).read(body_of(300), None, MAX_BODY)) == 300

    asyncio.run(run())


def test_at_a_shutdown_no_body_is_waited_for() -> None:
    async def run() -> None:
        intake = Intake(100, 5)
        waiting = asyncio.create_task(intake.read(body_of(60, then="is silent"), None, MAX_BODY))
        await asyncio.sleep(0.01)

        intake.close()

        for late in (waiting, intake.read(body_of(1, then="is silent"), None, MAX_BODY)):
            with pytest.raises(NotNow) as told:
                await late
            assert isinstance(told.value, Stopping)

    asyncio.run(run())
