"""Settings of the backend, read once from flags and environment; a flag wins over its variable.

TOKENTRAIL_STORE             chdb:///./tokentrail-data    where the data is
TOKENTRAIL_STORE_PASSWORD_FILE                            file with the password of a ClickHouse server
TOKENTRAIL_INSTANCE          <host name>:<HTTP port>      this backend among those that share a ClickHouse server
TOKENTRAIL_HTTP_ADDRESS      127.0.0.1:4318               OTLP/HTTP, metrics, API
TOKENTRAIL_GRPC_ADDRESS      127.0.0.1:4317               OTLP/gRPC
TOKENTRAIL_KEYS                                           the file of keys; without it only this machine's own addresses
TOKENTRAIL_TLS_CERT                                       certificate of both ports, PEM; without it they speak no TLS
TOKENTRAIL_TLS_KEY                                        its key
TOKENTRAIL_TLS_CLIENT_CA                                  authorities that every client needs a certificate of
TOKENTRAIL_PRICES                                         a price file that goes before the list prices
TOKENTRAIL_ALERTS                                         alerts beside the shipped ones; `off` for none at all
TOKENTRAIL_MAX_BODY_BYTES    67108864                     one export request, on the wire and decompressed
TOKENTRAIL_MAX_REQUEST_SPANS 100000                       spans, log records or points of one export request
TOKENTRAIL_MAX_QUEUE_SPANS   200000                       spans that wait to be stored
TOKENTRAIL_MAX_QUEUE_BYTES   268435456                    bytes of decompressed requests that wait to be stored
TOKENTRAIL_JOURNAL           <store>/journal              write-ahead log; `off` acknowledges after the insert instead,
                                                          as is the default with a ClickHouse server
TOKENTRAIL_MAX_JOURNAL_BYTES 1073741824                   bytes of it
TOKENTRAIL_REQUEST_TIMEOUT_S 60                           seconds that a request may take to arrive
TOKENTRAIL_RETENTION_CONTENT_DAYS 14                      days that what people wrote is kept; 0 for ever
TOKENTRAIL_RETENTION_TRACES_DAYS  14                      days that spans and log records are kept as they were sent
TOKENTRAIL_RETENTION_ROWS_DAYS    90                      days that calls are kept
TOKENTRAIL_RETENTION_ROLLUPS_DAYS 400                     days that their hourly sums are kept
TOKENTRAIL_EVENT_WAIT_S      60                           seconds before a call that only an event told is counted
TOKENTRAIL_SQL_MAX_TIME_S    60                           seconds that a statement at /clickhouse may run
TOKENTRAIL_SQL_MAX_MEMORY_BYTES 1073741824                memory of one
TOKENTRAIL_SQL_MAX_RESULT_ROWS 1000000                    rows of its result
TOKENTRAIL_SQL_MAX_RESULT_BYTES 67108864                  bytes of its result
TOKENTRAIL_SQL_MAX_LENGTH_BYTES 262144                    bytes of its text
TOKENTRAIL_SQL_MAX_QUERIES   4                            statements that run at once
TOKENTRAIL_SHUTDOWN_S        20                           seconds that requests in progress get at shutdown
"""

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tokentrail.backend.access.tls import TlsFiles
from tokentrail.backend.clickhouse_http.limits import SqlLimits
from tokentrail.backend.store.chdb import path_of
from tokentrail.backend.store.retention import Retention
from tokentrail.backend.store.server_address import SCHEME, ServerAddress, address_of

STORE: Final = "TOKENTRAIL_STORE"
STORE_PASSWORD_FILE: Final = "TOKENTRAIL_STORE_PASSWORD_FILE"  # noqa: S105 - the name of a variable
INSTANCE: Final = "TOKENTRAIL_INSTANCE"
HTTP_ADDRESS: Final = "TOKENTRAIL_HTTP_ADDRESS"
GRPC_ADDRESS: Final = "TOKENTRAIL_GRPC_ADDRESS"
KEYS: Final = "TOKENTRAIL_KEYS"
TLS_CERT: Final = "TOKENTRAIL_TLS_CERT"
TLS_KEY: Final = "TOKENTRAIL_TLS_KEY"
TLS_CLIENT_CA: Final = "TOKENTRAIL_TLS_CLIENT_CA"
PRICES: Final = "TOKENTRAIL_PRICES"
ALERTS: Final = "TOKENTRAIL_ALERTS"
MAX_BODY_BYTES: Final = "TOKENTRAIL_MAX_BODY_BYTES"
MAX_REQUEST_SPANS: Final = "TOKENTRAIL_MAX_REQUEST_SPANS"
MAX_QUEUE_SPANS: Final = "TOKENTRAIL_MAX_QUEUE_SPANS"
MAX_QUEUE_BYTES: Final = "TOKENTRAIL_MAX_QUEUE_BYTES"
JOURNAL: Final = "TOKENTRAIL_JOURNAL"
MAX_JOURNAL_BYTES: Final = "TOKENTRAIL_MAX_JOURNAL_BYTES"
REQUEST_TIMEOUT_S: Final = "TOKENTRAIL_REQUEST_TIMEOUT_S"
RETENTION_CONTENT_DAYS: Final = "TOKENTRAIL_RETENTION_CONTENT_DAYS"
RETENTION_TRACES_DAYS: Final = "TOKENTRAIL_RETENTION_TRACES_DAYS"
RETENTION_ROWS_DAYS: Final = "TOKENTRAIL_RETENTION_ROWS_DAYS"
RETENTION_ROLLUPS_DAYS: Final = "TOKENTRAIL_RETENTION_ROLLUPS_DAYS"
EVENT_WAIT_S: Final = "TOKENTRAIL_EVENT_WAIT_S"
SQL_MAX_TIME_S: Final = "TOKENTRAIL_SQL_MAX_TIME_S"
SQL_MAX_MEMORY_BYTES: Final = "TOKENTRAIL_SQL_MAX_MEMORY_BYTES"
SQL_MAX_RESULT_ROWS: Final = "TOKENTRAIL_SQL_MAX_RESULT_ROWS"
SQL_MAX_RESULT_BYTES: Final = "TOKENTRAIL_SQL_MAX_RESULT_BYTES"
SQL_MAX_LENGTH_BYTES: Final = "TOKENTRAIL_SQL_MAX_LENGTH_BYTES"
SQL_MAX_QUERIES: Final = "TOKENTRAIL_SQL_MAX_QUERIES"
SHUTDOWN_S: Final = "TOKENTRAIL_SHUTDOWN_S"

DEFAULTS: Final[Mapping[str, str]] = {
    STORE: "chdb:///./tokentrail-data",
    STORE_PASSWORD_FILE: "",
    INSTANCE: "",
    HTTP_ADDRESS: "127.0.0.1:4318",
    GRPC_ADDRESS: "127.0.0.1:4317",
    KEYS: "",
    TLS_CERT: "",
    TLS_KEY: "",
    TLS_CLIENT_CA: "",
    PRICES: "",
    ALERTS: "",
    MAX_BODY_BYTES: str(64 * 1024 * 1024),
    MAX_REQUEST_SPANS: "100000",
    MAX_QUEUE_SPANS: "200000",
    MAX_QUEUE_BYTES: str(256 * 1024 * 1024),
    JOURNAL: "",
    MAX_JOURNAL_BYTES: str(1024 * 1024 * 1024),
    REQUEST_TIMEOUT_S: "60",
    RETENTION_CONTENT_DAYS: "14",
    RETENTION_TRACES_DAYS: "14",
    RETENTION_ROWS_DAYS: "90",
    RETENTION_ROLLUPS_DAYS: "400",
    EVENT_WAIT_S: "60",
    SQL_MAX_TIME_S: "60",
    SQL_MAX_MEMORY_BYTES: str(1024 * 1024 * 1024),
    SQL_MAX_RESULT_ROWS: "1000000",
    SQL_MAX_RESULT_BYTES: str(64 * 1024 * 1024),
    SQL_MAX_LENGTH_BYTES: str(256 * 1024),
    SQL_MAX_QUERIES: "4",
    SHUTDOWN_S: "20",
}

_OFF: Final = "off"
_MAX_PORT: Final = 65535
_INSTANCE_NAME: Final = re.compile(r"[\w.:-]{1,100}", re.ASCII)
_MAX_BODY_LIMIT: Final = 2**31 - 1
"""gRPC takes its message limit as an int32."""


_MAX_DAYS: Final = 10_000
"""ClickHouse's times end in 2106; later than that, all would have expired."""
_MAX_SQL_TIME_S: Final = 3600
_MAX_SQL_LENGTH: Final = 16 * 1024 * 1024
_MAX_SQL_QUERIES: Final = 100
"""Each is a thread."""
_MAX_TIMEOUT_S: Final = 86_400
"""gRPC takes its timeouts as an int32 of milliseconds."""


class ConfigError(Exception):
    """A setting that cannot be; the message names the variable, its value and what is expected."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; without keys on this machine only. Port 0 is any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of `tokentrail serve`."""

    store_path: Path
    """The directory of the embedded store; what it holds beside that is meant for it alone."""
    http: Address
    grpc: Address
    prices: Path | None
    max_body_bytes: int
    max_queue_spans: int
    max_queue_bytes: int
    shutdown_s: float
    max_request_spans: int = 100_000
    journal: Path | None = None
    """Where the write-ahead log is; `None` for none."""
    max_journal_bytes: int = 1024 * 1024 * 1024
    server: ServerAddress | None = None
    """The ClickHouse server that is the store in place of the embedded one."""
    instance: str = ""
    """This backend among those that share the server."""
    request_timeout_s: float = 60.0
    event_wait_s: float = 60.0
    keys: Path | None = None
    """The file of keys; `None` where everybody on this machine may do everything, and nobody else comes here."""
    tls: TlsFiles | None = None
    """`None` for connections in clear."""
    alerts: Path | None = None
    """The file of alerts; `None` for the shipped ones."""
    has_alerts: bool = True
    """Whether alerts are evaluated."""
    retention: Retention = field(default_factory=Retention)
    """How long what is stored is kept."""
    sql: SqlLimits = field(default_factory=SqlLimits)
    """How much a statement at `/clickhouse` may take."""


def read_config(environment: Mapping[str, str], flags: Mapping[str, str | None]) -> Config:
    """The settings, each from `flags` (by variable name; `None` for one not given), `environment` or `DEFAULTS`.

    A variable that is set but empty counts as not set. Raises `ConfigError`.
    """
    settings = {name: flags.get(name) or environment.get(name) or default for name, default in DEFAULTS.items()}
    server = server_of(settings[STORE], settings[STORE_PASSWORD_FILE])
    store_path = _store_path(DEFAULTS[STORE] if server else settings[STORE])
    keys = Path(settings[KEYS]).expanduser() if settings[KEYS] else None
    http = _address(HTTP_ADDRESS, settings[HTTP_ADDRESS], any_host=keys is not None)
    return Config(
        store_path=store_path,
        server=server,
        instance=_instance(settings[INSTANCE], http) if server else "",
        http=http,
        grpc=_address(GRPC_ADDRESS, settings[GRPC_ADDRESS], any_host=keys is not None),
        prices=Path(settings[PRICES]) if settings[PRICES] else None,
        alerts=None if settings[ALERTS] in ("", _OFF) else Path(settings[ALERTS]).expanduser(),
        has_alerts=settings[ALERTS] != _OFF,
        max_body_bytes=_positive(MAX_BODY_BYTES, settings[MAX_BODY_BYTES], _MAX_BODY_LIMIT),
        max_request_spans=_positive(MAX_REQUEST_SPANS, settings[MAX_REQUEST_SPANS]),
        max_queue_spans=_positive(MAX_QUEUE_SPANS, settings[MAX_QUEUE_SPANS]),
        max_queue_bytes=_positive(MAX_QUEUE_BYTES, settings[MAX_QUEUE_BYTES]),
        shutdown_s=float(_positive(SHUTDOWN_S, settings[SHUTDOWN_S])),
        journal=_journal(settings[JOURNAL], None if server else store_path / "journal"),
        max_journal_bytes=_positive(MAX_JOURNAL_BYTES, settings[MAX_JOURNAL_BYTES]),
        event_wait_s=float(_positive(EVENT_WAIT_S, settings[EVENT_WAIT_S])),
        request_timeout_s=float(_positive(REQUEST_TIMEOUT_S, settings[REQUEST_TIMEOUT_S], _MAX_TIMEOUT_S)),
        keys=keys,
        retention=_retention(settings),
        sql=_sql(settings),
        tls=_tls(*(settings[name] for name in (TLS_CERT, TLS_KEY, TLS_CLIENT_CA))),
    )


def _retention(settings: Mapping[str, str]) -> Retention:
    return Retention(
        content_days=_days(RETENTION_CONTENT_DAYS, settings[RETENTION_CONTENT_DAYS]),
        traces_days=_days(RETENTION_TRACES_DAYS, settings[RETENTION_TRACES_DAYS]),
        rows_days=_days(RETENTION_ROWS_DAYS, settings[RETENTION_ROWS_DAYS]),
        rollups_days=_days(RETENTION_ROLLUPS_DAYS, settings[RETENTION_ROLLUPS_DAYS]),
    )


def _sql(settings: Mapping[str, str]) -> SqlLimits:
    return SqlLimits(
        max_time_s=_positive(SQL_MAX_TIME_S, settings[SQL_MAX_TIME_S], _MAX_SQL_TIME_S),
        max_memory_bytes=_positive(SQL_MAX_MEMORY_BYTES, settings[SQL_MAX_MEMORY_BYTES]),
        max_result_rows=_positive(SQL_MAX_RESULT_ROWS, settings[SQL_MAX_RESULT_ROWS]),
        max_result_bytes=_positive(SQL_MAX_RESULT_BYTES, settings[SQL_MAX_RESULT_BYTES], _MAX_BODY_LIMIT),
        max_length_bytes=_positive(SQL_MAX_LENGTH_BYTES, settings[SQL_MAX_LENGTH_BYTES], _MAX_SQL_LENGTH),
        max_queries=_positive(SQL_MAX_QUERIES, settings[SQL_MAX_QUERIES], _MAX_SQL_QUERIES),
    )


def _days(name: str, value: str) -> int:
    """Days, 0 for ever: whoever wants nothing kept must not get everything by mistake, so only `0` itself says so."""
    return 0 if value == "0" else _positive(name, value, _MAX_DAYS)


def server_of(url: str, password_file: str = "") -> ServerAddress | None:
    """The ClickHouse server that `url` names, `None` for the URL of another store. Raises `ConfigError`.

    The URL may carry a password: no error repeats it.
    """
    if not url.startswith(f"{SCHEME}://"):
        return None
    try:
        password = Path(password_file).expanduser().read_text("utf-8").rstrip("\r\n") if password_file else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{STORE_PASSWORD_FILE} names {password_file}, which cannot be read: {error}") from error
    try:
        return address_of(url, password)
    except ValueError as error:
        raise ConfigError(f"{STORE}: {error}") from None


def _store_path(url: str) -> Path:
    scheme, _, _ = url.partition("://")
    if scheme != "chdb":
        raise ConfigError(f"{STORE} has the scheme {scheme[:20]!r}; expected a URL such as {DEFAULTS[STORE]}")
    try:
        return path_of(url)
    except ValueError as error:
        raise ConfigError(f"{STORE}: {error}") from error


def _journal(value: str, default: Path | None) -> Path | None:
    if value.strip().lower() in ("off", "none", "false", "0"):
        return None
    return Path(value).expanduser() if value else default


def _instance(name: str, http: Address) -> str:
    name = name or f"{socket.gethostname()}:{http.port}"
    if not _INSTANCE_NAME.fullmatch(name):
        raise ConfigError(f"{INSTANCE} is {name[:40]!r}; expected up to 100 letters, digits and ._:-")
    return name


def _tls(certificate: str, key: str, client_ca: str) -> TlsFiles | None:
    if not (certificate or key or client_ca):
        return None
    if not (certificate and key):
        raise ConfigError(f"{TLS_CERT} and {TLS_KEY} belong together: TLS needs the one and the other")
    return TlsFiles(Path(certificate), Path(key), Path(client_ca) if client_ca else None)


def _address(name: str, value: str, *, any_host: bool) -> Address:
    host, _, port = value.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise ConfigError(f"{name} is {value!r}; expected host:port, such as {DEFAULTS[name]}")
    if not any_host and not is_loopback(host):
        raise ConfigError(
            f"{name} is {value!r}; without keys only this machine's own addresses (127.0.0.1, localhost, [::1]) can be "
            "used, or everybody in the network could read and write: make a key (tokentrail keys create) and set "
            f"{KEYS}"
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
