"""The backend put together. Only this module names concrete classes.

One process: an event loop with both receivers, two threads that decode, one that commits, and threads for queries.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Final, Protocol

import uvicorn

from tokentrail.backend.access.caller import Caller
from tokentrail.backend.access.errors import KeyFileError, TlsError
from tokentrail.backend.access.gate import Gate
from tokentrail.backend.access.keyring import Keyring
from tokentrail.backend.access.tls import Tls
from tokentrail.backend.alerts.definition import AlertFileError
from tokentrail.backend.alerts.file import AlertFile
from tokentrail.backend.alerts.runner import AlertRunner
from tokentrail.backend.clickhouse_http.endpoint import SqlEndpoint
from tokentrail.backend.clickhouse_http.service import SqlService
from tokentrail.backend.config import ALERTS, KEYS, PRICES, Address, Config, is_loopback
from tokentrail.backend.correction import Correction
from tokentrail.backend.ingest.journal import Journal
from tokentrail.backend.ingest.pipeline import Limits, Pipeline
from tokentrail.backend.ingest.refused import Refused
from tokentrail.backend.metrics.alerts import AlertMetrics
from tokentrail.backend.metrics.registry import Metrics
from tokentrail.backend.query.api import Api, Response
from tokentrail.backend.receiver.connection import Connection
from tokentrail.backend.receiver.intake import Intake
from tokentrail.backend.receiver.otlp_grpc import GrpcReceiver, ListenError
from tokentrail.backend.receiver.otlp_http import HttpApp, Pages
from tokentrail.backend.store._base import Store
from tokentrail.backend.store.chdb import ChdbStore
from tokentrail.backend.store.chdb_sql import ChdbSql
from tokentrail.backend.store.clickhouse_server import ServerStore
from tokentrail.backend.store.errors import StoreError
from tokentrail.backend.upkeep import Upkeep
from tokentrail.semconv import pricing

_log = logging.getLogger(__name__)

_KEEP_ALIVE_S: Final = 75
"""Longer than the intervals at which exporters send, so that they find their connection open."""
_BACKLOG: Final = 1024
_TICK_S: Final = 1.0
"""Between two looks of the HTTP server at its clock, for the `date` of answers."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StartError(Exception):
    """The backend cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running backend listens; ports are the real ones."""

    http: Address
    grpc: Address


class Ready(Protocol):
    """Called once, when the backend listens and can store."""

    def __call__(self, endpoints: Endpoints, /) -> None:
        """Announce `endpoints`."""


def use_prices(config: Config) -> None:
    """Have the price file of `config` in force, if there is one. Raises `StartError` for one with errors.

    Later changes with errors leave the prices of before in force; at the start there are none, and calls would be
    stored with prices that their owner knows to be wrong.
    """
    try:
        pricing.use_price_file(config.prices)
    except pricing.PriceFileError as error:
        raise StartError(
            f"the price file {config.prices} has errors: {error}; mend it, or start without {PRICES}"
        ) from error


def open_alerts(config: Config) -> AlertFile | None:
    """The alerts of `config`, `None` where there are to be none. Raises `StartError` for a file with errors."""
    if not config.has_alerts:
        return None
    try:
        return AlertFile(config.alerts)
    except AlertFileError as error:
        if config.alerts is None:
            _log.info("no alerts are evaluated: %s", error)
            return None
        raise StartError(f"the alerts have errors: {error}; mend them, or start without {ALERTS}") from error


@dataclass(frozen=True, slots=True)
class Access:
    """What `config` says about who may come here."""

    keyring: Keyring | None
    tls: Tls | None


def open_access(config: Config) -> Access:
    """The keys and the certificates. Raises `StartError` where they cannot be used."""
    try:
        keyring = None if config.keys is None else Keyring(config.keys)
        tls = None if config.tls is None else Tls(config.tls)
    except KeyFileError as error:
        raise StartError(f"the keys cannot be used: {error}; mend them, or start without {KEYS}") from error
    except TlsError as error:
        raise StartError(f"TLS cannot be used: {error}") from error
    for address in (config.http, config.grpc):
        if tls is None and not is_loopback(address.host):
            _log.warning(
                "%s speaks no TLS: keys and content can be read on the way, unless a proxy sees to it", address
            )
    return Access(keyring, tls)


def open_store(config: Config) -> Store:
    """The store, migrated. Raises `StartError`."""
    store: Store = (
        ServerStore(config.server, config.instance, config.retention)
        if config.server
        else ChdbStore(config.store_path, config.retention)
    )
    try:
        store.migrate()
    except StoreError as error:
        store.close()
        raise StartError(f"the store at {config.server or config.store_path} cannot be used: {error}") from error
    return store


async def serve(
    config: Config, store: Store, on_ready: Ready, stop: asyncio.Event | None = None, access: Access | None = None
) -> None:
    """Serve until `stop` is set or SIGINT or SIGTERM arrives; then finish what was begun and close the store.

    Every request that was acknowledged is durable before that, so nothing here can lose one. `access` is what
    `open_access` made of `config`, where it was called before. Raises `StartError`.
    """
    backend = _Backend(config, store, access or open_access(config))
    stop = stop or asyncio.Event()
    # The signals stay caught until the end: a second Ctrl-C must not cut the shutdown off.
    with _signals_set(stop):
        try:
            on_ready(await backend.start())
            await backend.until(stop)
        finally:
            await backend.stop()


class _Backend:
    def __init__(self, config: Config, store: Store, access: Access):
        metrics = Metrics(version("tokentrail"))
        own = metrics.own
        self._config, self._store = config, store
        if config.prices is not None:
            own.watch_price_file(_is_price_file_in_force, lambda: pricing.price_file_status().loaded_at_s)
        if access.keyring is not None:
            own.watch_keys_file(access.keyring.is_current, access.keyring.loaded_at_s)
        if access.tls is not None:
            own.watch_tls_files(access.tls.is_current, access.tls.loaded_at_s)
        gate = Gate(access.keyring, own.refused)
        self._ready = False
        limits = Limits(config.max_queue_spans, config.max_queue_bytes, config.max_request_spans)
        journal = refused = None
        if config.journal is not None:
            journal = Journal(config.journal, config.max_journal_bytes)
            refused = Refused(config.journal / "refused")
        shared = config.server is not None
        self._pipeline = Pipeline(
            *(store, metrics.calls, own, limits, journal, refused),
            shared_store=shared,
            event_wait_s=config.event_wait_s,
        )
        alerts = open_alerts(config)
        self._alerts = None if alerts is None else AlertRunner(store, alerts)
        self._metrics = metrics
        metrics.before_news = self._pipeline.save_counters
        self._api = Api(
            store,
            on_corrected=self._count_corrected,
            alerts=lambda: () if alerts is None else alerts.alerts.definitions,
        )
        if self._alerts is not None:
            metrics.watch_alerts(AlertMetrics(self._alerts.standings, self._alerts.file))
        pages = Pages(self._expose, self._not_ready, self._answer, partial(self._answer, change=True))
        self._intake = Intake(config.max_queue_bytes, config.request_timeout_s)
        self._sql = SqlService(ChdbSql(store), config.sql, own.sql_answered) if isinstance(store, ChdbStore) else None
        sql = SqlEndpoint(gate, self._sql)
        http = HttpApp(self._pipeline, own, gate, pages, config.max_body_bytes, self._intake, sql)
        self._http = _http_server(http, config, access.tls)
        self._grpc = GrpcReceiver(
            self._pipeline, own, gate, config.max_body_bytes, config.request_timeout_s, access.tls
        )
        self._upkeep = Upkeep(store)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> Endpoints:
        try:
            await asyncio.to_thread(self._pipeline.start)
        except StoreError as error:
            raise StartError(f"the backend cannot start: {error}") from error
        listening = _listen(self._config.http)
        http = Address(self._config.http.host, listening.getsockname()[1])
        try:
            grpc_port = await self._grpc.start(self._config.grpc.host, self._config.grpc.port)
        except ListenError as error:
            listening.close()
            raise StartError(_taken("OTLP/gRPC", self._config.grpc, "--grpc")) from error
        self._serving = asyncio.create_task(self._http.serve(sockets=[listening]))
        await self._http.listening.wait()
        if self._alerts is not None:
            self._alerts.start()
        self._upkeep.start()
        self._ready = True
        return Endpoints(http, Address(self._config.grpc.host, grpc_port))

    async def until(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set, or when the HTTP server ends by itself, which it should not."""
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopping, *([self._serving] if self._serving else [])}, return_when="FIRST_COMPLETED")
        finally:
            stopping.cancel()

    async def stop(self) -> None:
        """Both receivers take nothing new and finish what is in progress; then the queue, then the store."""
        self._ready = False
        self._http.leave()
        self._intake.close()
        if self._sql is not None:
            self._sql.stop()
        receivers = [self._grpc.stop(self._config.shutdown_s)]
        results = await asyncio.gather(*receivers, *([self._serving] if self._serving else []), return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException):
                _log.error("a receiver did not stop cleanly", exc_info=error)
        if self._alerts is not None:
            await asyncio.to_thread(self._alerts.close)
        self._upkeep.stop()
        if self._sql is not None:
            await asyncio.to_thread(self._sql.close)
        await asyncio.to_thread(self._pipeline.close)
        await asyncio.to_thread(self._store.close)

    def _expose(self, accept: str, scraper: str) -> tuple[bytes, str]:
        self._pipeline.settle()
        return self._metrics.expose(accept, scraper)

    def _count_corrected(self, corrections: Sequence[Correction]) -> None:
        self._metrics.calls.corrected(corrections)
        self._pipeline.save_counters()  # no row tells them

    def _answer(self, path: str, parameters: Mapping[str, str], caller: Caller, *, change: bool = False) -> Response:
        self._pipeline.settle()
        return self._api.handle(path, parameters, caller, change=change)

    def _not_ready(self) -> str | None:
        if not self._ready:
            return "starting or stopping"
        try:
            self._store.query("SELECT 1")
        except StoreError as error:
            return f"the store does not answer: {error}"
        return None


def _is_price_file_in_force() -> bool:
    pricing.refresh_price_file()  # no call may have asked for a price since it changed
    return not pricing.price_file_status().error


class _HttpServer(uvicorn.Server):
    """Leaves signals alone, because one place decides about both receivers; says when it listens.

    While nothing happens it wakes up once a second; uvicorn's own loop does ten times, to see whether it is to end.
    """

    def __init__(self, config: uvicorn.Config):
        super().__init__(config)
        self.listening = asyncio.Event()
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Take nothing new, and return when what is in progress has ended."""
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._leaving.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _http_server(app: HttpApp, settings: Config, tls: Tls | None) -> _HttpServer:
    class BoundConnection(Connection):
        timeout_s = settings.request_timeout_s

    # Who sends anything else than HTTP does not get to write into the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=BoundConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.shutdown_s) or 1,
    )
    if tls is not None:
        config.load()  # would make a context of its own later
        config.ssl = tls.context()
    return _HttpServer(config)


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    # For connections of a backend that just stopped; it does not share the port with one that runs.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise StartError(_taken("HTTP", address, "--http")) from error
    listening.setblocking(False)
    return listening


def _taken(what: str, address: Address, flag: str) -> str:
    return (
        f"cannot listen for {what} on {address}: another program uses it, perhaps another tokentrail; "
        f"stop that one or choose another address with {flag}"
    )


@contextlib.contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    """While inside, SIGINT and SIGTERM set `stop`. In other threads than the main one signals stay as they are."""
    loop = asyncio.get_running_loop()
    added = []
    for number in _SIGNALS:
        # Not in the main thread (tests), or a platform without it.
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, stop.set)
            added.append(number)
    try:
        yield
    finally:
        for number in added:
            loop.remove_signal_handler(number)


def new_event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """The factory of the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
