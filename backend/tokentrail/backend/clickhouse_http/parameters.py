"""What a request asks, read from its query string, headers and body.

    POST /clickhouse/?default_format=Native&client_protocol_version=54460&max_execution_time=35     body: the statement
    GET  /clickhouse/?query=SELECT%201&user=grafana&password=<key>
    POST /clickhouse/?query=SELECT%20*&param_name=value                                              body: its rest

Parameters that mean nothing here are ignored, as clients send some with every request. Those of a setting that may be
set (`settings`) are applied. Source: https://clickhouse.com/docs/interfaces/http (November 2026).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from tokentrail.backend.clickhouse_http.errors import (
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    SYNTAX_ERROR,
    UNKNOWN_DATABASE,
    RefusedError,
)

MAX_PARAMETERS: Final = 200

_KEY: Final = b"x-clickhouse-key"
_MAX_REVISION: Final = 1_000_000
_PARAMETER: Final = "param_"
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Question:
    """One statement, and how it is to be answered."""

    sql: str
    default_format: str = ""
    """Of the answer, where the statement names none; empty for ClickHouse's default, TabSeparated."""
    revision: int = 0
    """Of the protocol, for Native."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Of the statement (`{name:Type}`), in the escaping of TSV."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Everything else."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """A query string, read."""

    values: Mapping[str, str] = field(repr=False)

    @property
    def query(self) -> str:
        """The statement in it, or its beginning; may be empty."""
        return self.values.get("query", "")

    @property
    def password(self) -> str:
        """The key in it; may be empty."""
        return self.values.get("password", "")

    def question(self, body: bytes) -> Question:
        """What is asked with `body`. Raises `RefusedError`."""
        values = self.values
        _require_plain(values)
        return Question(
            sql=_statement(self.query, body),
            default_format=values.get("default_format", ""),
            revision=_revision(values.get("client_protocol_version", "0")),
            parameters=_parameters(values),
            settings={
                name: value
                for name, value in values.items()
                if name not in _OWN and not name.startswith(_PARAMETER) and value
            },
        )


_OWN: Final = frozenset(
    {
        *("query", "database", "default_format", "client_protocol_version", "user", "password", "query_id"),
        *("session_id", "session_check", "session_timeout", "quota_key", "compress", "decompress"),
        *("enable_http_compression", "wait_end_of_query", "buffer_size"),
    }
)


def read_arguments(query_string: bytes) -> Arguments:
    """The arguments in a query string; of several with the same name the last one counts. Raises `RefusedError`."""
    try:
        pairs = parse_qsl(
            query_string.decode("ascii", "replace"),
            keep_blank_values=True,
            errors="replace",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError:
        raise RefusedError(f"the URL has more than {MAX_PARAMETERS} parameters", BAD_ARGUMENTS) from None
    return Arguments(dict(pairs))


def read_credentials(headers: Sequence[tuple[bytes, bytes]], arguments: Arguments) -> list[bytes]:
    """The key of a request as values of an Authorization header, for the gate; empty where there is none.

    `X-ClickHouse-Key` goes before Authorization, and that before the query string. User names mean nothing: who asks is
    told by the key.
    """
    keys = [b"Bearer " + value for name, value in headers if name == _KEY and value]
    if keys:
        return keys
    authorization = [value for name, value in headers if name == b"authorization"]
    if authorization or not arguments.password:
        return authorization
    return [b"Bearer " + arguments.password.encode("latin-1", "replace")]


def _parameters(values: Mapping[str, str]) -> Mapping[str, str]:
    parameters = {name.removeprefix(_PARAMETER): value for name, value in values.items() if name.startswith(_PARAMETER)}
    if any(not _NAME.fullmatch(name) for name in parameters):
        raise RefusedError("names of parameters have letters, digits and underscores", BAD_ARGUMENTS)
    return parameters


def _statement(query: str, body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise RefusedError("the statement is not UTF-8", SYNTAX_ERROR) from None
    sql = f"{query}\n{text}" if query.strip() and text.strip() else query or text
    if not sql.strip():
        raise RefusedError("Empty query", SYNTAX_ERROR)
    if "\0" in sql:
        raise RefusedError("the statement has a NUL character", SYNTAX_ERROR)
    return sql


def _require_plain(values: Mapping[str, str]) -> None:
    if (database := values.get("database", "")) not in ("", "default"):
        raise RefusedError(
            f"Database {database[:60]} does not exist here: the one with the data is called default, and of others "
            "tables are named in full (system.tables)",
            UNKNOWN_DATABASE,
        )
    for name in ("compress", "decompress"):
        if values.get(name, "0") not in ("", "0", "false"):
            raise RefusedError(
                f"{name}=1 (ClickHouse's own compression) is not supported: send Accept-Encoding: gzip", NOT_IMPLEMENTED
            )


def _revision(value: str) -> int:
    if not (value.isascii() and value.isdigit()) or int(value[:9]) > _MAX_REVISION:
        raise RefusedError("client_protocol_version is no number", BAD_ARGUMENTS)
    return int(value)
