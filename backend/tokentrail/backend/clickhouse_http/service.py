"""So many statements at once, in threads of their own, each with an answer, whatever ends it.

Others wait for a while, on the event loop and not in a thread, and are then told to come back.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tokentrail.backend.access.caller import Caller
from tokentrail.backend.clickhouse_http import answers
from tokentrail.backend.clickhouse_http.answers import Response
from tokentrail.backend.clickhouse_http.errors import (
    LIMITS,
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
from tokentrail.backend.store.chdb_sql import ChdbSql
from tokentrail.backend.store.errors import StoreError
from tokentrail.semconv.metrics import SqlOutcome

_MAX_WAITING: Final = 64
_QUERY_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII)

_log = logging.getLogger(__name__)


class SqlService:
    """Answers statements. For one event loop. `on_answered` is told each outcome."""

    def __init__(self, sql: ChdbSql, limits: SqlLimits, on_answered: Callable[[SqlOutcome], None]):
        self.limits = limits
        self._statements = Statements(sql, limits)
        self._on_answered = on_answered
        self._threads = ThreadPoolExecutor(limits.max_queries, thread_name_prefix="sql")
        self._free = asyncio.Semaphore(limits.max_queries)
        self._waiting = 0

    async def answer(self, arguments: Arguments, body: bytes, caller: Caller, accept_encoding: str) -> Response:
        """The answer to a request; an error is one, too."""
        query_id = arguments.values.get("query_id", "")
        query_id = query_id if _QUERY_ID.fullmatch(query_id) else str(uuid.uuid4())
        try:
            response = await self._answer(arguments, body, caller, accept_encoding, query_id)
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

    def close(self) -> None:
        """End after what is running has ended. Blocks for as long as a statement may run."""
        self._threads.shutdown(wait=True, cancel_futures=True)

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

        def run() -> Response:
            result = self._statements.run(question, Scope(caller.project))
            return answers.compressed(answers.answer(result.body, result.format, query_id), accept_encoding)

        await self._turn()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)
        finally:
            self._free.release()

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


def _outcome(error: SqlError) -> SqlOutcome:
    if error.code in LIMITS or error.code == TOO_MANY_QUERIES:
        return SqlOutcome.LIMITED
    if isinstance(error, RefusedError):
        return SqlOutcome.REFUSED
    return SqlOutcome.INVALID if error.status < 500 else SqlOutcome.FAILED
