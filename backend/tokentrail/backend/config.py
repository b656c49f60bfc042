"""Settings of the backend, read once from flags and environment; a flag wins over its variable.

TOKENTRAIL_STORE             chdb:///./tokentrail-data    where the data is
TOKENTRAIL_HTTP_ADDRESS      127.0.0.1:4318               OTLP/HTTP, metrics, API
TOKENTRAIL_GRPC_ADDRESS      127.0.0.1:4317               OTLP/gRPC
TOKENTRAIL_PRICES                                         a price file that goes before the list prices
TOKENTRAIL_MAX_BODY_BYTES    67108864                     one export request, on the wire and decompressed
TOKENTRAIL_MAX_QUEUE_SPANS   200000                       spans that wait to be stored
TOKENTRAIL_MAX_QUEUE_BYTES   268435456                    bytes of decompressed requests that wait to be stored
TOKENTRAIL_JOURNAL           <store>/journal              write-ahead log; `off` acknowledges after the insert instead
TOKENTRAIL_MAX_JOURNAL_BYTES 1073741824                   bytes of it
TOKENTRAIL_SHUTDOWN_S        20                           seconds that requests in progress get at shutdown
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokentrail.backend.store.chdb import path_of

STORE: Final = "TOKENTRAIL_STORE"
HTTP_ADDRESS: Final = "TOKENTRAIL_HTTP_ADDRESS"
GRPC_ADDRESS: Final = "TOKENTRAIL_GRPC_ADDRESS"
PRICES: Final = "TOKENTRAIL_PRICES"
MAX_BODY_BYTES: Final = "TOKENTRAIL_MAX_BODY_BYTES"
MAX_QUEUE_SPANS: Final = "TOKENTRAIL_MAX_QUEUE_SPANS"
MAX_QUEUE_BYTES: Final = "TOKENTRAIL_MAX_QUEUE_BYTES"
JOURNAL: Final = "TOKENTRAIL_JOURNAL"
MAX_JOURNAL_BYTES: Final = "TOKENTRAIL_MAX_JOURNAL_BYTES"
SHUTDOWN_S: Final = "TOKENTRAIL_SHUTDOWN_S"

DEFAULTS: Final[Mapping[str, str]] = {
    STORE: "chdb:///./tokentrail-data",
    HTTP_ADDRESS: "127.0.0.1:4318",
    GRPC_ADDRESS: "127.0.0.1:4317",
    PRICES: "",
    MAX_BODY_BYTES: str(64 * 1024 * 1024),
    MAX_QUEUE_SPANS: "200000",
    MAX_QUEUE_BYTES: str(256 * 1024 * 1024),
    JOURNAL: "",
    MAX_JOURNAL_BYTES: str(1024 * 1024 * 1024),
    SHUTDOWN_S: "20",
}

_MAX_PORT: Final = 65535
_MAX_BODY_LIMIT: Final = 2**31 - 1
"""gRPC takes its message limit as an int32."""


class ConfigError(Exception):
    """A setting that cannot be; the message names the variable, its value and what is expected."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, always on this machine only. Port 0 is any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of `tokentrail serve`."""

    store_path: Path
    http: Address
    grpc: Address
    prices: Path | None
    max_body_bytes: int
    max_queue_spans: int
    max_queue_bytes: int
    shutdown_s: float
    journal: Path | None = None
    """Where the write-ahead log is; `None` for none."""
    max_journal_bytes: int = 1024 * 1024 * 1024


def read_config(environment: Mapping[str, str], flags: Mapping[str, str | None]) -> Config:
    """The settings, each from `flags` (by variable name; `None` for one not given), `environment` or `DEFAULTS`.

    A variable that is set but empty counts as not set. Raises `ConfigError`.
    """
    settings = {name: flags.get(name) or environment.get(name) or default for name, default in DEFAULTS.items()}
    store_path = _store_path(settings[STORE])
    return Config(
        store_path=store_path,
        http=_address(HTTP_ADDRESS, settings[HTTP_ADDRESS]),
        grpc=_address(GRPC_ADDRESS, settings[GRPC_ADDRESS]),
        prices=Path(settings[PRICES]) if settings[PRICES] else None,
        max_body_bytes=_positive(MAX_BODY_BYTES, settings[MAX_BODY_BYTES], _MAX_BODY_LIMIT),
        max_queue_spans=_positive(MAX_QUEUE_SPANS, settings[MAX_QUEUE_SPANS]),
        max_queue_bytes=_positive(MAX_QUEUE_BYTES, settings[MAX_QUEUE_BYTES]),
        shutdown_s=float(_positive(SHUTDOWN_S, settings[SHUTDOWN_S])),
        journal=_journal(settings[JOURNAL], store_path),
        max_journal_bytes=_positive(MAX_JOURNAL_BYTES, settings[MAX_JOURNAL_BYTES]),
    )


def _store_path(url: str) -> Path:
    scheme, separator, _ = url.partition("://")
    if separator and scheme == "clickhouse":
        # The URL carries a password: it is not repeated.
        raise ConfigError(
            f"{STORE} names a ClickHouse server, which comes in a later release; "
            f"use the embedded store for now, such as {DEFAULTS[STORE]}"
        )
    if scheme != "chdb":
        raise ConfigError(f"{STORE} has the scheme {scheme[:20]!r}; expected a URL such as {DEFAULTS[STORE]}")
    try:
        return path_of(url)
    except ValueError as error:
        raise ConfigError(f"{STORE}: {error}") from error


def _journal(value: str, store_path: Path) -> Path | None:
    if value.strip().lower() in ("off", "none", "false", "0"):
        return None
    return Path(value).expanduser() if value else store_path / "journal"


def _address(name: str, value: str) -> Address:
    host, _, port = value.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise ConfigError(f"{name} is {value!r}; expected host:port, such as {DEFAULTS[name]}")
    if not is_loopback(host):
        raise ConfigError(
            f"{name} is {value!r}; only this machine's own addresses (127.0.0.1, localhost, [::1]) can be used, "
            "because there are no keys yet and everybody in the network could read and write"
        )
    return Address(host, int(port))


def is_loopback(host: str) -> bool:
    """True for a host name or address that stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _positive(name: str, value: str, maximum: int | None = None) -> int:
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0
    if number < 1 or (maximum is not None and number > maximum):
        upper = "" if maximum is None else f" and at most {maximum}"
        raise ConfigError(f"{name} is {value[:40]!r}; expected a whole number of at least 1{upper}")
    return number
