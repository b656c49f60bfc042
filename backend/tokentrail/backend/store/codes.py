"""ClickHouse's error codes as ours: what may pass, what whoever runs the server can mend, and what stays wrong.

Codes and names: ClickHouse, src/Common/ErrorCodes.cpp, as the engine 26.9 knows them.
"""

from collections.abc import Mapping
from typing import Final

from tokentrail.backend.store.errors import StoreError, StoreUnavailable

RETRYABLE: Final[Mapping[int, str]] = {
    32: "ATTEMPT_TO_READ_AFTER_EOF",  # the connection ended
    74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",  # also a full disk, when the write itself meets it
    76: "CANNOT_OPEN_FILE",  # too many open files
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    173: "CANNOT_ALLOCATE_MEMORY",
    198: "DNS_ERROR",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",  # also while a replica has no Keeper
    243: "NOT_ENOUGH_SPACE",
    244: "UNEXPECTED_ZOOKEEPER_ERROR",
    252: "TOO_MANY_PARTS",  # merges are behind
    279: "ALL_CONNECTION_TRIES_FAILED",  # no replica of a shard answers
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    289: "REPLICA_IS_NOT_IN_QUORUM",
    319: "UNKNOWN_STATUS_OF_INSERT",
    341: "UNFINISHED",  # a change of rows that a replica could not make, or that is down
    369: "ALL_REPLICAS_ARE_STALE",
    394: "QUERY_WAS_CANCELLED",
    415: "ALL_REPLICAS_LOST",
    425: "SYSTEM_ERROR",
    439: "CANNOT_SCHEDULE_TASK",
    473: "DEADLOCK_AVOIDED",
    517: "CANNOT_ASSIGN_ALTER",  # another one is on its way
    733: "TABLE_IS_BEING_RESTARTED",
    745: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
    1001: "STD_EXCEPTION",  # file system errors arrive as it
    1002: "UNKNOWN_EXCEPTION",
}
"""Codes, with their names, after which trying again later may help."""

MENDABLE: Final[Mapping[int, str]] = {
    81: "UNKNOWN_DATABASE",
    192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD",
    194: "REQUIRED_PASSWORD",
    195: "IP_ADDRESS_NOT_ALLOWED",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
}
"""Codes that tell of the server's set-up and not of the data, which is not to be given up for them."""

_OTHER_NAMES: Final[Mapping[int, str]] = {
    395: "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
    457: "BAD_QUERY_PARAMETER",
    469: "VIOLATED_CONSTRAINT",
    701: "CLUSTER_DOESNT_EXIST",
}
"""Of codes that a server tells without a name and that the driver does not know."""
_MAX_MESSAGE: Final = 500


def name_of(code: int) -> str:
    """The name of a code, empty for one that is not known here."""
    return RETRYABLE.get(code) or MENDABLE.get(code) or _OTHER_NAMES.get(code, "")


def store_error(what: str, code: int | None, name: str, message: str = "") -> StoreError:
    """The error for ClickHouse's `code`: `what` says what the store could not do, `message` is ClickHouse's own."""
    text = f"The store {what}: {name}" + (f" (ClickHouse code {code})" if code is not None else "")
    if message:
        text += f": {message[:_MAX_MESSAGE]}"
    error: StoreError
    if code in RETRYABLE:
        error = StoreUnavailable(f"{text}. Trying again later may help.")
    elif code in MENDABLE:
        error = StoreUnavailable(f"{text}. Check TOKENTRAIL_STORE and the server's users and databases.")
    else:
        error = StoreError(text)
    error.code = code
    return error
