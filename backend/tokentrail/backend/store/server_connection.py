"""One connection to a ClickHouse server. The only door to clickhouse-driver.

What the driver (0.2.11) does for us: the native protocol with compression and TLS, a look whether the connection still
lives before each statement, the next host when one does not answer, and a new connection after every failure. What it
does not do as we need it, and is done here on the parts it is made of: blocks go out as the bytes that `native.py`
wrote (its own columns would cost another pass over all values, and need Python objects to begin with), and answers come
back as the text that the embedded store gives as well, so that both stores have the same values to the last digit.
"""

import logging
import re
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tokentrail.backend.store import values
from tokentrail.backend.store.codes import name_of, store_error
from tokentrail.backend.store.errors import StoreError, StoreUnavailable
from tokentrail.backend.store.rows import Block
from tokentrail.backend.store.server_address import ServerAddress

if TYPE_CHECKING:
    from clickhouse_driver import Client

_MIN_REVISION: Final = 54_464
"""Of the server's protocol: ClickHouse 23.6 has it, and parameters and time zones of a session with it."""
_MARK: Final = b"\0"
"""Before the values of each column: no custom serialization (protocol revision 54454 and later)."""
_TEXT_SETTINGS: Final[Mapping[str, object]] = {
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_decimals": 0,
    "output_format_json_quote_denormals": 0,
    "output_format_json_escape_forward_slashes": 0,
    "date_time_output_format": "simple",
}
"""As the engine has them by default; older servers and users' profiles may differ."""
_SETTINGS: Final = re.compile(r"\bSETTINGS\s+\w+ = [\w.]+(?:, \w+ = [\w.]+)*\s*\Z")
_SESSION: Final[Mapping[str, object]] = {"session_timezone": "UTC"}
_CLIENT: Final[Mapping[str, object]] = {"server_side_params": True}
"""Settings of the driver itself: values go beside the statement, never into its text."""


class TransportError(StoreUnavailable):
    """The connection broke or could not be made: whether the server did the work is unknown."""


class ServerConnection:
    """A connection, made when first needed. Not thread-safe. `settings` go with each of its statements."""

    def __init__(
        self, address: ServerAddress, settings: Mapping[str, object], *, timeout_s: float | None = None
    ) -> None:
        self._address = address
        self._settings = {**_SESSION, **_TEXT_SETTINGS, **settings}
        self._timeout_s = timeout_s or address.timeout_s
        self._client: Client | None = None

    def run(self, what: str, sql: str, parameters: Mapping[str, object] | None = None, prefix: str = "") -> None:
        """Run a statement that answers nothing of interest. `what` says in errors what could not be done.

        Its id begins with `prefix`, where there is one.
        """
        with _translated(what):
            self._execute(sql, parameters, prefix)

    def rows(
        self, what: str, sql: str, parameters: Mapping[str, object] | None = None, prefix: str = ""
    ) -> list[dict[str, object]]:
        """The rows of a statement; `what` and `prefix` as above. Raises `StoreError`.

        A SELECT is run inside another that makes text of each row, in the types that DESCRIBE tells: the driver's own
        values lose the nanoseconds of times. Other statements answer with texts and small numbers only.
        """
        with _translated(what):
            if not _is_select(sql):
                found, columns = self._execute(sql, parameters, prefix)
                return [dict(zip((name for name, _ in columns), row, strict=True)) for row in found]
            select, settings = _split_settings(sql)
            described, _ = self._execute(f"DESCRIBE TABLE ({select}\n)", parameters, prefix)
            names, types = [str(row[0]) for row in described], [str(row[1]) for row in described]
            # Two SELECTs of this package, put together; values come as parameters.
            texts = f"SELECT formatRowNoNewline('JSONCompactEachRow', *) FROM ({select}\n) {settings}"  # noqa: S608
            lines, _ = self._execute(texts, parameters, prefix)
            return values.decode_rows(names, types, (str(line) for (line,) in lines))

    def insert(self, block: Block, settings: Mapping[str, object], query_id: str) -> None:
        """Insert `block` into its table. What is in it is in no error. Raises `StoreError`, `TransportError`."""
        columns = ", ".join(f"`{name}`" for name in block.columns)
        sql = f"INSERT INTO {block.table} ({columns}) VALUES"
        with _translated(f"could not insert into {block.table}", with_message=False):
            client = self._open()
            with client.disconnect_on_error(sql, {**self._settings, **settings}):
                client.connection.send_query(sql, query_id=query_id)
                client.connection.send_external_tables(None)
                _receive_until_data(client)
                _send_block(client, "", block)
                client.connection.send_external_tables(None)  # an empty block: the end of the data
                _receive_until_end(client)

    def find(
        self, what: str, sql: str, parameters: Mapping[str, object], table: str, keys: Block
    ) -> list[tuple[object, ...]]:
        """The rows of `sql`, texts and small numbers only, which reads `keys` as the table `table`."""
        with _translated(what):
            client = self._open()
            with client.disconnect_on_error(sql, self._settings):
                client.connection.send_query(sql, params=_encoded(parameters))
                _send_block(client, table, keys)
                client.connection.send_external_tables(None)
                found: list[tuple[object, ...]] = client.receive_result()
                return found

    def close(self) -> None:
        """End the connection. It is made again when used again."""
        if self._client is not None:
            self._client.disconnect()
            self._client = None

    def _execute(
        self, sql: str, parameters: Mapping[str, object] | None, prefix: str
    ) -> tuple[list[Any], list[tuple[str, str]]]:
        client = self._open()
        query_id = f"{prefix}{uuid.uuid4()}" if prefix else None
        found, columns = client.execute(
            sql, _encoded(parameters or {}), with_column_types=True, query_id=query_id, settings=dict(self._settings)
        )
        return found, columns

    def _open(self) -> "Client":
        if self._client is None:
            client = _client(self._address, self._timeout_s)
            try:
                client.connection.connect()
                _refuse_old_server(client)
            except BaseException:
                client.disconnect()  # a server that refuses leaves the driver with an open socket
                raise
            self._client = client
        return self._client


class _Text:
    """A value in the form in which the protocol carries parameters. Anything but a str passes the driver unchanged."""

    def __init__(self, value: object) -> None:
        self._text = values.parameter(value).replace("\\", "\\\\").replace("'", "\\'")

    def __str__(self) -> str:
        return self._text


def _encoded(parameters: Mapping[str, object]) -> dict[str, _Text]:
    return {name: _Text(value) for name, value in parameters.items()}


def _client(address: ServerAddress, timeout_s: float) -> "Client":
    import clickhouse_driver  # not before it is needed: most installations are embedded

    # It logs each failure with its stack; each of them becomes an error of ours that says the same.
    logging.getLogger("clickhouse_driver").setLevel(logging.ERROR)
    (host, port), *others = address.hosts
    options: dict[str, object] = {
        name: getattr(address, name)
        for name in ("ca_certs", "certfile", "keyfile", "server_hostname")
        if getattr(address, name)
    }
    return clickhouse_driver.Client(
        host,
        port,
        alt_hosts=",".join(f"[{name}]:{number}" if ":" in name else f"{name}:{number}" for name, number in others)
        or None,
        database=address.database,
        user=address.user,
        password=address.password,
        client_name="tokentrail",
        secure=address.secure,
        verify=address.verify,
        compression=address.compression or False,
        connect_timeout=address.connect_timeout_s,
        send_receive_timeout=timeout_s,
        sync_request_timeout=address.connect_timeout_s,
        tcp_keepalive=(30, 10, 3),
        settings=dict(_CLIENT),
        **options,
    )


def _refuse_old_server(client: "Client") -> None:
    connection = client.connection
    revision = connection.server_info.used_revision
    if revision < _MIN_REVISION:
        raise StoreError(
            f"The ClickHouse server at {connection.host}:{connection.port} speaks revision {revision} of the "
            f"protocol; {_MIN_REVISION} is the least (ClickHouse 23.6)."
        )


def _send_block(client: "Client", table: str, block: Block) -> None:
    """Send `block` as a data packet for `table`; empty for the table of an INSERT."""
    from clickhouse_driver.block import BlockInfo
    from clickhouse_driver.protocol import ClientPacketTypes
    from clickhouse_driver.varint import write_varint
    from clickhouse_driver.writer import write_binary_str

    connection = client.connection
    write_varint(ClientPacketTypes.DATA, connection.fout)
    write_binary_str(table, connection.fout)
    out = connection.block_out
    BlockInfo().write(out.fout)
    for piece in block.data.pieces(_MARK):
        out.fout.write(piece)
    out.finalize()


def _receive_until_data(client: "Client") -> None:
    """Take the packets before the data of an INSERT may be sent, the last of which has its columns."""
    from clickhouse_driver.protocol import ServerPacketTypes

    _receive_until(client, ServerPacketTypes.DATA)


def _receive_until_end(client: "Client") -> None:
    from clickhouse_driver.protocol import ServerPacketTypes

    _receive_until(client, ServerPacketTypes.END_OF_STREAM)


def _receive_until(client: "Client", last: int) -> None:
    """Take packets until one of the kind `last`; between them may be progress, logs, profile events and others."""
    while True:
        packet = client.connection.receive_packet()
        if packet.exception is not None:
            raise packet.exception
        if packet.type == last:
            return


def _is_select(sql: str) -> bool:
    lines = (line.strip() for line in sql.splitlines())
    first = next((line for line in lines if line and not line.startswith("--")), "")
    return first.lstrip("(").upper().startswith(("SELECT", "WITH"))


def _split_settings(sql: str) -> tuple[str, str]:
    """A SELECT and the settings at its end, which have no effect inside of another."""
    match = _SETTINGS.search(sql)
    return (sql[: match.start()], match[0]) if match else (sql, "")


@contextmanager
def _translated(what: str, *, with_message: bool = True) -> Iterator[None]:
    """The driver's errors as ours; `what` says what the store could not do."""
    from clickhouse_driver import errors

    try:
        yield
    except errors.ServerException as error:
        raise _of_server(what, error, with_message=with_message) from error
    except errors.PartiallyConsumedQueryError as error:
        raise TransportError(f"The store {what}: the connection was in use.") from error
    except errors.Error as error:
        raise TransportError(f"The store {what}: {_first_line(str(error.message or error))}.") from error
    except (OSError, EOFError, struct.error, UnicodeDecodeError) as error:
        # The last two come from an answer that is cut or garbled.
        reason = _first_line(str(error)) or type(error).__name__
        raise TransportError(f"The store {what}: the connection broke ({reason}).") from error


def _of_server(what: str, error: Any, *, with_message: bool) -> StoreError:
    from clickhouse_driver.errors import ErrorCodes

    message = str(error.message or "").partition("Stack trace:")[0].strip().rstrip(".")
    message = message.removeprefix("DB::Exception:").strip()
    known = (name for name, number in vars(ErrorCodes).items() if number == error.code)
    name = name_of(error.code) or next(known, "an error without a name")
    return store_error(what, error.code, name, message if with_message else "")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:200]
