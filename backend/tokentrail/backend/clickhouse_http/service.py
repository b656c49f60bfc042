"""So many statements at once, in threads of their own, each with an answer, whatever ends it.

Others wait for a while, on the event loop and not in a thread, and are then told to come back. A statement whose client
has left is ended, and so are all when the backend stops; its thread is free again when the engine has let go of it.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from tokentrail.backend.access.caller import Caller
from tokentrail.backend.clickhouse_http import answers
from tokentrail.backend.clickhouse_http.answers import Response
from tokentrail.backend.clickhouse_http.errors import (
    ABORTED,
    LIMITS,
    QUERY_WAS_CANCELLED,
    SYNTAX_ERROR,
    TOO_MANY_QUERIES,
    UNKNOWN_EXCEPTION,
    RefusedError,
    SqlError,
)
from tokentrail.backend.clickhouse_http.gate import Scope
from tokentrail.backend.clickhouse_http.limits import SqlLimits
from tokentrail.backend.clickhouse_http.parameters import Arguments
from tokentrail.backend.clickhouse_http.statement import Statements
from tokentrail.backend.store.chdb_sql import Cancellation, ChdbSql, RawError
from tokentrail.backend.store.errors import StoreError
from tokentrail.semconv.metrics import SqlOutcome

_MAX_WAITING: Final = 64
_CANCEL_AGAIN_S: Final = 0.2
"""Between two times that a statement is ended, as long as it goes on."""
_QUERY_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII)

_log = logging.getLogger(__name__)


class SqlService:
    """Answers statements. For one event loop. `on_answered` is told each outcome."""

    def __init__(self, sql: ChdbSql, limits: SqlLimits, on_answered: Callable[[SqlOutcome], None]):
        self.limits = limits
        self._sql, self._statements = sql, Statements(sql, limits)
        self._on_answered = on_answered
        self._threads = ThreadPoolExecutor(limits.max_queries, thread_name_prefix="sql")
        self._free = asyncio.Semaphore(limits.max_queries)
        self._waiting = 0
        self._working: set[asyncio.Task[Response]] = set()
        self._is_stopping = False

    async def answer(
        self,
        arguments: Arguments,
        body: bytes,
        caller: Caller,
        accept_encoding: str,
        gone: Callable[[], Awaitable[None]],
    ) -> Response:
        """The answer to a request; an error is one, too. `gone` ends when nobody waits for it any more."""
        query_id = arguments.values.get("query_id", "")
        query_id = query_id if _QUERY_ID.fullmatch(query_id) else str(uuid.uuid4())
        try:
            work = self._answer(arguments, body, caller, accept_encoding, query_id)
            response = await self._unless_gone(work, gone)
        except SqlError as error:
            self._on_answered(_outcome(error))
            return answers.failure(error, query_id)
        except StoreError as error:
            self._on_answered(SqlOutcome.FAILED)
            return answers.failure(SqlError(UNKNOWN_EXCEPTION, str(error)), query_id)
        except Exception as error:  # noqa: BLE001  # every failure has an answer, and none ends the connection
            # Without the error's own words: there may be something of a row in them.
            _log.error("a statement failed in a way that is not known: %s", type(error).__name__)
            self._on_answered(SqlOutcome.FAILED)
            return answers.failure(SqlError(UNKNOWN_EXCEPTION, "the backend failed"), query_id)
        self._on_answered(SqlOutcome.OK)
        return response

    def stop(self) -> None:
        """End what runs and what waits, and refuse what comes. On the event loop."""
        self._is_stopping = True
        for work in self._working:
            _end(work)

    def close(self) -> None:
        """End after what is running has ended: soon after `stop`. Blocks."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _unless_gone(
        self, working: Coroutine[Any, Any, Response], gone: Callable[[], Awaitable[None]]
    ) -> Response:
        """What `working` gives; it is ended when its client leaves, or the backend stops. Raises `SqlError`."""
        work = asyncio.create_task(working)
        leaving = asyncio.ensure_future(gone())
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        if self._is_stopping:
            _end(work)
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            _end(work)
        await asyncio.wait({work})
        if not work.cancelled():
            return work.result()
        if self._is_stopping:
            raise SqlError(ABORTED, "the backend is stopping: try again later")
        raise SqlError(QUERY_WAS_CANCELLED, "the client has left")

    async def _answer(
        self, arguments: Arguments, body: bytes, caller: Caller, accept_encoding: str, query_id: str
    ) -> Response:
        question = arguments.question(body)
        length = len(question.sql.encode()) + sum(map(len, arguments.values.values()))
        if length > self.limits.max_length_bytes:
            raise RefusedError(
                f"the statement and its parameters have {length} bytes, more than {self.limits.max_length_bytes} "
                "(TOKENTRAIL_SQL_MAX_LENGTH_BYTES)",
                SYNTAX_ERROR,
            )

        cancellation = Cancellation()

        def run() -> Response:
            result = self._statements.run(question, Scope(caller.project), cancellation)
            return answers.compressed(answers.answer(result.body, result.format, query_id), accept_encoding)

        await self._turn()
        running = asyncio.get_running_loop().run_in_executor(self._threads, run)
        running.add_done_callback(self._let_go)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            while not running.done():
                await self._cancel(cancellation)
                await asyncio.wait({running}, timeout=_CANCEL_AGAIN_S)
            raise

    def _let_go(self, running: asyncio.Future[Response]) -> None:
        self._free.release()
        if not running.cancelled():
            running.exception()  # seen: else asyncio writes into the log what nobody waits for

    async def _cancel(self, cancellation: Cancellation) -> None:
        try:
            await asyncio.to_thread(self._sql.cancel, cancellation)
        except (RawError, StoreError) as error:
            _log.warning("a statement that nobody waits for could not be ended: %s", error)

    async def _turn(self) -> None:
        """Wait for a free thread. Raises `SqlError`."""
        if self._waiting >= _MAX_WAITING:
            raise SqlError(TOO_MANY_QUERIES, f"{_MAX_WAITING} statements wait already: try again later")
        self._waiting += 1
        try:
            async with asyncio.timeout(self.limits.wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise SqlError(
                TOO_MANY_QUERIES,
                f"{self.limits.max_queries} statements are running (TOKENTRAIL_SQL_MAX_QUERIES), and none ended within "
                f"{self.limits.wait_s:g} s: try again later",
            ) from None
        finally:
            self._waiting -= 1


def _end(work: asyncio.Task[Response]) -> None:
    """Have it end, once: a second time would keep it from waiting for the engine."""
    if not work.cancelling():
        work.cancel()


def _outcome(error: SqlError) -> SqlOutcome:
    if error.code in (QUERY_WAS_CANCELLED, ABORTED):
        return SqlOutcome.CANCELLED
    if error.code in LIMITS or error.code == TOO_MANY_QUERIES:
        return SqlOutcome.LIMITED
    if isinstance(error, RefusedError):
        return SqlOutcome.REFUSED
    return SqlOutcome.INVALID if error.status < 500 else SqlOutcome.FAILED
