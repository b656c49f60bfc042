"""The options that say which calls: the filters of the API, by the same names."""

import argparse
from typing import Final

from tokentrail.backend.cli import ask
from tokentrail.backend.query.filter import PROPERTY, STATUSES

_FILTERS: Final = {
    "since": "from this time on: 15m, 2h, 7d, 2026-11-20, 2026-11-20T18:00:00Z",
    "until": "before this time",
    "user": "of this user",
    "session": "of this session",
    "session-path": "at this session path and below it",
    "model": "that asked for or were answered by this model",
    "provider": "of this provider",
    "operation": "of this operation, such as chat or embeddings",
    "service": "of this service",
    "environment": "of this environment",
    "project": "of this project, with a key for all of them",
    "trace-id": "of this trace",
}


def add_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the filters, in a group of their own, which is returned."""
    group = parser.add_argument_group("which calls")
    for name, meaning in _FILTERS.items():
        group.add_argument(f"--{name}", metavar=name.rpartition("-")[2].upper(), help=meaning)
    group.add_argument("--status", choices=STATUSES, help="that succeeded, or that failed")
    group.add_argument(
        "--property", metavar="KEY=VALUE", action="append", default=[], help="with this property; may be repeated"
    )
    return group


def params(args: argparse.Namespace) -> dict[str, str]:
    """The filters in `args` as parameters of the API. Raises `ask.AskError` for a property that is no pair."""
    named = {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in (*_FILTERS, "status")}
    chosen = {name: value for name, value in named.items() if value is not None}
    for pair in args.property:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise ask.AskError(f"--property is {pair!r}: expected KEY=VALUE")
        chosen[f"{PROPERTY}{key}"] = value
    return chosen
