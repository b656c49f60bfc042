"""Where commands get their answers: from a running backend over HTTP, or from the store on disk when none runs."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import OpenerDirector, ProxyHandler, build_opener

from tokentrail.backend import config as settings
from tokentrail.backend.query.api import Api
from tokentrail.backend.store import StoreError
from tokentrail.backend.store.chdb import ChdbStore, path_of

DEFAULT_ENDPOINT: Final = f"http://{settings.DEFAULTS[settings.HTTP_ADDRESS]}"
DEFAULT_STORE: Final = settings.DEFAULTS[settings.STORE]
TIMEOUT_S: Final = 70.0
"""A little more than the store allows a query."""


class AskError(Exception):
    """There is no answer; the message says why and what to do."""


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
        help="read this store directly, without a backend "
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
    if where.endpoint is None:
        return _from_store(where.store or DEFAULT_STORE, path, params)
    try:
        return _over_http(where.endpoint, path, params)
    except _NothingThereError:
        if where.store is None:
            raise
    try:
        answer = _from_store(where.store, path, params)
    except AskError as error:
        raise AskError(f"No backend runs at {where.endpoint}, and the store cannot be read: {error}") from error
    print(f"No backend runs at {where.endpoint}: read {where.store} directly.", file=sys.stderr)  # noqa: T201
    return answer


def _over_http(endpoint: str, path: str, params: Mapping[str, str]) -> str:
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise AskError(f"The endpoint {endpoint!r} is no address: expected something like {DEFAULT_ENDPOINT}")
    address = f"{endpoint.rstrip('/')}{path}?{urlencode(params)}"
    try:
        with _opener(url.hostname).open(address, timeout=TIMEOUT_S) as response:
            body: bytes = response.read()
            return body.decode()
    except HTTPError as error:
        with error:
            raise AskError(_refusal(endpoint, error.code, error.read())) from error
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise _NothingThereError(
            f"No backend answers at {endpoint} ({reason}). Start one with `tokentrail serve`, or name another with "
            "--endpoint or TOKENTRAIL_ENDPOINT."
        ) from error


def _opener(host: str) -> OpenerDirector:
    """An opener that goes to this machine directly, whatever proxy the environment names."""
    return build_opener(ProxyHandler({})) if settings.is_loopback(host) else build_opener()


def _refusal(endpoint: str, status: int, body: bytes) -> str:
    try:
        return explain(json.loads(body))
    except (ValueError, LookupError, TypeError):
        return f"{endpoint} answered {status}: is that a Tokentrail backend?"


def explain(error: Mapping[str, object]) -> str:
    """The words for an error of the API. Raises `LookupError` for an object that is none."""
    message, allowed = str(error["error"]), error.get("allowed")
    if isinstance(allowed, list) and "expected" not in message:
        return f"{message}: expected one of {', '.join(map(str, allowed))}"
    return message


def _from_store(store: str, path: str, params: Mapping[str, str]) -> str:
    directory = _directory(store)
    if not directory.is_dir():
        raise AskError(
            f"There is no store at {directory}. Start the backend with `tokentrail serve`, try `tokentrail demo`, or "
            "name another with --store or TOKENTRAIL_STORE."
        )
    opened = ChdbStore(directory)
    try:
        opened.migrate()
        response = Api(opened).handle(path, params)
    except StoreError as error:
        raise AskError(str(error)) from error
    finally:
        opened.close()
    if response.status != 200:
        raise AskError(explain(json.loads(response.body)))
    return response.body.decode()


def _directory(store: str) -> Path:
    if "://" not in store:
        return Path(store)
    if store.startswith("clickhouse://"):
        raise AskError("A ClickHouse server cannot be read directly: ask the backend that uses it, with --endpoint.")
    try:
        return path_of(store)
    except ValueError as error:
        raise AskError(str(error)) from error
