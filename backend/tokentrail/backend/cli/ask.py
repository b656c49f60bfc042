"""Where commands get their answers: from a running backend over HTTP, or from the store on disk when none runs."""

import argparse
import json
import os
import re
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from tokentrail.backend import config as settings
from tokentrail.backend.access.caller import ANYONE
from tokentrail.backend.query.api import Api
from tokentrail.backend.store import Store, StoreError
from tokentrail.backend.store.chdb import ChdbStore, path_of
from tokentrail.backend.store.clickhouse_server import ServerStore
from tokentrail.backend.store.server_address import ServerAddress

DEFAULT_ENDPOINT: Final = f"http://{settings.DEFAULTS[settings.HTTP_ADDRESS]}"
DEFAULT_STORE: Final = settings.DEFAULTS[settings.STORE]
TIMEOUT_S: Final = 70.0
"""A little more than the store allows a query."""
CHANGE_TIMEOUT_S: Final = 900.0
"""For what rewrites data: a window of `/api/reprice` takes seconds, and minutes where months are very large."""
API_KEY: Final = "TOKENTRAIL_API_KEY"
"""A key of the backend that is asked, with the role `read`, or `admin` for changes."""
CLIENT_CERT: Final = "TOKENTRAIL_CLIENT_CERT"
CLIENT_KEY: Final = "TOKENTRAIL_CLIENT_KEY"
"""Certificate and key, PEM, for a backend that asks its clients for them. Its own certificate is checked against the
authorities of the system, or those in `SSL_CERT_FILE`."""
_PRINTABLE: Final = re.compile(r"[!-~]+", re.ASCII)
_CONFLICT: Final = 409
_UNAUTHENTICATED: Final = 401
_FORBIDDEN: Final = 403
_MAX_WORDS: Final = 500


class AskError(Exception):
    """There is no answer; the message says why and what to do."""


class NotAsItWasError(AskError):
    """What was to be changed is not as it was when it was shown; nothing was changed."""


class _NothingThereError(AskError):
    """Nothing listens at the endpoint."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask: the endpoint first, then the store; either may be left out, not both."""

    endpoint: str | None
    store: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--endpoint` and `--store`."""
    group = parser.add_argument_group("where to ask")
    group.add_argument(
        "--endpoint",
        metavar="URL",
        help=f"address of a running backend (default: TOKENTRAIL_ENDPOINT, or {DEFAULT_ENDPOINT})",
    )
    group.add_argument(
        "--store",
        metavar="PATH",
        help="read this store directly, without a backend: a directory, or the URL of a ClickHouse server "
        f"(default when none runs: TOKENTRAIL_STORE, or {DEFAULT_STORE})",
    )


def place(endpoint: str | None, store: str | None, environment: Mapping[str, str] = os.environ) -> Place:
    """Where the options and the environment point.

    Who names an endpoint gets its answer or none, who names a store gets the answer of that store; only the default
    endpoint falls back on the store on this machine.
    """
    named = endpoint or (None if store else environment.get("TOKENTRAIL_ENDPOINT"))
    if named or store:
        return Place(named, store)
    return Place(DEFAULT_ENDPOINT, environment.get(settings.STORE) or DEFAULT_STORE)


def ask(where: Place, path: str, params: Mapping[str, str]) -> str:
    """The answer of the API: newline-delimited JSON. Raises `AskError`."""
    with Asked(where) as asked:
        return asked.ask(path, params)


class Asked:
    """One place for several questions; a context manager. A store that is read directly is opened once.

    `on_open` is called before a store is opened, for what a backend would do at its start.
    """

    def __init__(self, where: Place, on_open: Callable[[], None] = lambda: None) -> None:
        self._where, self._on_open = where, on_open
        self._store: Store | None = None
        self._has_answered = False

    def __enter__(self) -> "Asked":
        """Nothing is asked yet."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close what was opened."""
        if self._store is not None:
            self._store.close()

    def ask(self, path: str, params: Mapping[str, str], *, change: bool = False) -> str:
        """The answer of the API, which may `change` what is stored. Raises `AskError`."""
        where = self._where
        if self._store is not None or where.endpoint is None:
            return self._from_store(where.store or DEFAULT_STORE, path, params, change=change)
        try:
            answer = _over_http(where.endpoint, path, params, change=change)
        except _NothingThereError:
            if where.store is None or self._has_answered:
                raise
        else:
            self._has_answered = True
            return answer
        try:
            answer = self._from_store(where.store, path, params, change=change)
        except AskError as error:
            raise AskError(f"No backend runs at {where.endpoint}, and the store cannot be read: {error}") from error
        store = _server(where.store) or where.store
        print(f"No backend runs at {where.endpoint}: read {store} directly.", file=sys.stderr)  # noqa: T201
        return answer

    def _from_store(self, store: str, path: str, params: Mapping[str, str], *, change: bool) -> str:
        if self._store is None:
            server = _server(store)
            self._store = self._open_server(server) if server else self._open(_directory(store))
        response = Api(self._store).handle(path, params, ANYONE, change=change)
        if response.status != 200:
            raise _refused(response.status, explain(json.loads(response.body)))
        return response.body.decode()

    def _open(self, directory: Path) -> ChdbStore:
        if not directory.is_dir():
            raise AskError(
                f"There is no store at {directory}. Start the backend with `tokentrail serve`, try `tokentrail demo`, "
                "or name another with --store or TOKENTRAIL_STORE."
            )
        self._on_open()
        opened = ChdbStore(directory)
        try:
            opened.migrate()
        except StoreError as error:
            opened.close()
            raise AskError(str(error)) from error
        return opened

    def _open_server(self, server: ServerAddress) -> ServerStore:
        """Backends make and change its tables; a command takes them as they are."""
        self._on_open()
        opened = ServerStore(server, f"{socket.gethostname()}:{os.getpid()}")
        try:
            opened.query("SELECT Version FROM schema_migrations LIMIT 1")
        except StoreError as error:
            opened.close()
            raise AskError(f"{server} cannot be read: {error}") from error
        return opened


def _over_http(endpoint: str, path: str, params: Mapping[str, str], *, change: bool) -> str:
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise AskError(f"The endpoint {endpoint!r} is no address: expected something like {DEFAULT_ENDPOINT}")
    request = Request(f"{endpoint.rstrip('/')}{path}?{urlencode(params)}", method="POST" if change else "GET")  # noqa: S310 - checked above
    if change:
        request.add_header("Tokentrail-Confirm", path.rpartition("/")[2])
    if key := _api_key():
        request.add_unredirected_header("Authorization", f"Bearer {key}")  # for this address and no other
    try:
        with _opener(url.scheme, url.hostname).open(
            request, timeout=CHANGE_TIMEOUT_S if change else TIMEOUT_S
        ) as response:
            body: bytes = response.read()
            return body.decode()
    except HTTPError as error:
        with error:
            raise _refused(error.code, _refusal(endpoint, error.code, error.read())) from error
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLError):
            raise AskError(_tls_failure(endpoint, reason)) from error
        raise _NothingThereError(
            f"No backend answers at {endpoint} ({reason}). Start one with `tokentrail serve`, or name another with "
            "--endpoint or TOKENTRAIL_ENDPOINT."
        ) from error


def _refused(status: int, message: str) -> AskError:
    return NotAsItWasError(message) if status == _CONFLICT else AskError(message)


def _api_key() -> str:
    key = os.environ.get(API_KEY, "").strip()
    if key and not _PRINTABLE.fullmatch(key):  # the HTTP library would repeat it in its error
        raise AskError(f"{API_KEY} is no key: keys look like tt_<id>_<secret>")
    return key


def _opener(scheme: str, host: str) -> OpenerDirector:
    """An opener that goes to this machine directly, whatever proxy the environment names."""
    handlers = [HTTPSHandler(context=_tls_context())] if scheme == "https" else []
    return build_opener(*handlers, ProxyHandler({})) if settings.is_loopback(host) else build_opener(*handlers)


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()  # which knows SSL_CERT_FILE
    if certificate := os.environ.get(CLIENT_CERT):
        try:
            # Not a password that would be asked for in the middle of a pipe.
            context.load_cert_chain(certificate, os.environ.get(CLIENT_KEY) or None, password=lambda: "")
        except OSError as error:
            raise AskError(f"{CLIENT_CERT} and {CLIENT_KEY} cannot be used: {error.strerror or error}") from error
    return context


def _tls_failure(endpoint: str, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {endpoint} is not trusted: {error.verify_message}. "
            "Name the file with the certificate of its authority in SSL_CERT_FILE."
        )
    return f"No TLS with {endpoint}: {error.reason or error}. Does it want a client's certificate ({CLIENT_CERT})?"


def _refusal(endpoint: str, status: int, body: bytes) -> str:
    try:
        return explain(json.loads(body)) + (f"; set {API_KEY}" if status == _UNAUTHENTICATED else "")
    except (ValueError, LookupError, TypeError):
        if status == _FORBIDDEN:
            return f"{endpoint} refused: {body[:_MAX_WORDS].decode('utf-8', 'replace').strip()}"
        return f"{endpoint} answered {status}: is that a Tokentrail backend?"


def explain(error: Mapping[str, object]) -> str:
    """The words for an error of the API. Raises `LookupError` for an object that is none."""
    message, allowed = str(error["error"]), error.get("allowed")
    if isinstance(allowed, list) and "expected" not in message:
        return f"{message}: expected one of {', '.join(map(str, allowed))}"
    return message


def _server(store: str) -> ServerAddress | None:
    try:
        return settings.server_of(store, os.environ.get(settings.STORE_PASSWORD_FILE, ""))
    except settings.ConfigError as error:
        raise AskError(str(error)) from error


def _directory(store: str) -> Path:
    if "://" not in store:
        return Path(store)
    try:
        return path_of(store)
    except ValueError as error:
        raise AskError(str(error)) from error
