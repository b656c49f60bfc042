"""Where a ClickHouse server or cluster is, read from a URL.

    clickhouse://user:password@host:9000,host2:9000/database?cluster=name&secure=true&compression=lz4

Everything but the host may be left out: user `default` without a password, port 9000 (9440 with `secure`), database
`default`. Characters with a meaning in a URL are written as `%40` and the like. The first host that answers is used.

cluster            name of a cluster of the server's configuration: tables are replicated and distributed over it
secure             true for TLS
verify             false for TLS without a look at the server's certificate (default true)
ca_certs           file of the authorities to trust, `certfile` and `keyfile` of our own certificate (mTLS)
server_hostname    the name in the server's certificate, where it is not the host
compression        lz4 (default), lz4hc, zstd (with the package zstd), or none
connect_timeout    seconds to connect to one host (default 5)
timeout            seconds to wait for the next byte of an answer or the next room for ours (default 75)
insert_quorum      replicas that have an insert before it is acknowledged: `auto` (most of them) or a number (default 1)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEME: Final = "clickhouse"
EXAMPLE: Final = "clickhouse://user:password@host:9000/database"
_PORT, _SECURE_PORT = 9000, 9440
_COMPRESSIONS: Final = ("lz4", "lz4hc", "zstd", "none")
_TRUE: Final = ("true", "1", "yes")
_FALSE: Final = ("false", "0", "no")
_OPTIONS: Final = (
    *("cluster", "secure", "verify", "ca_certs", "certfile", "keyfile", "server_hostname", "compression"),
    *("connect_timeout", "timeout", "insert_quorum"),
)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server or a cluster and how to talk to it. Its text has no password in it."""

    hosts: tuple[tuple[str, int], ...]
    """Host and port, in the order in which they are tried."""
    database: str = "default"
    user: str = "default"
    password: str = field(default="", repr=False)
    cluster: str = ""
    """Empty for a single server."""
    secure: bool = False
    verify: bool = True
    ca_certs: str = ""
    certfile: str = ""
    keyfile: str = ""
    server_hostname: str = ""
    compression: str = "lz4"
    """Empty for none."""
    connect_timeout_s: float = 5.0
    timeout_s: float = 75.0
    insert_quorum: str = ""

    def __str__(self) -> str:
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        cluster = f"?cluster={self.cluster}" if self.cluster else ""
        return f"{SCHEME}://{self.user}@{hosts}/{self.database}{cluster}"


def address_of(url: str, password: str | None = None) -> ServerAddress:
    """What `url` says; `password` stands in for one in the URL. Raises `ValueError`, which repeats no secret."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"this is no URL; expected one such as {EXAMPLE}") from error
    login, _, place = parts.netloc.rpartition("@")
    user, colon, secret = login.partition(":")
    if parts.scheme != SCHEME or not place or parts.fragment or parts.path.count("/") > 1:
        raise ValueError(f"expected a URL such as {EXAMPLE}; write %23, %2F, %3F and %40 for #, /, ? and @")
    if colon and secret and password is not None:
        raise ValueError("there is a password in the URL and one in a file: leave one of them out")
    options = _options(parts.query)
    secure = _switch(options, "secure", default=False)
    return ServerAddress(
        hosts=tuple(_host(each, _SECURE_PORT if secure else _PORT) for each in place.split(",")),
        database=unquote(parts.path.removeprefix("/")) or "default",
        user=unquote(user) or "default",
        password=unquote(secret) if password is None else password,
        cluster=_cluster(options.get("cluster", "")),
        secure=secure,
        verify=_switch(options, "verify", default=True),
        **{name: options.get(name, "") for name in ("ca_certs", "certfile", "keyfile", "server_hostname")},
        compression=_one_of("compression", options.get("compression", "lz4"), _COMPRESSIONS).replace("none", ""),
        connect_timeout_s=_seconds(options, "connect_timeout", 5.0),
        timeout_s=_seconds(options, "timeout", 75.0),
        insert_quorum=_quorum(options.get("insert_quorum", "")),
    )


def _options(query: str) -> Mapping[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ValueError(f"unknown option {unknown[0][:40]!r}: expected one of {', '.join(_OPTIONS)}")
    return options


def _host(text: str, default_port: int) -> tuple[str, int]:
    """`host`, `host:port`, `[v6]` or `[v6]:port`."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f"{text[:80]!r} is no host:port")
    return host, int(port) if port else default_port


def _cluster(name: str) -> str:
    # It becomes part of statements.
    if name and not all(character.isalnum() or character in "_-." for character in name):
        raise ValueError(f"{name[:40]!r} is no name of a cluster: expected letters, digits, '_', '-' and '.'")
    return name


def _one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    if value.lower() not in allowed:
        raise ValueError(f"{name} is {value[:40]!r}; expected one of {', '.join(allowed)}")
    return value.lower()


def _switch(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = options.get(name, "true" if default else "false")
    return _one_of(name, value, (*_TRUE, *_FALSE)) in _TRUE


def _seconds(options: Mapping[str, str], name: str, default: float) -> float:
    text = options.get(name)
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise ValueError(f"{name} is {text[:40]!r}; expected seconds, more than 0 and up to 3600")
    return seconds


def _quorum(text: str) -> str:
    if text and text != "auto" and not (text.isascii() and text.isdigit()):
        raise ValueError(f"insert_quorum is {text[:40]!r}; expected auto or a number of replicas")
    return text
