"""`tokentrail keys`: make, list and revoke the keys of a backend.

tokentrail keys create NAME --role ROLE [--project P] [--file PATH] [--json]
tokentrail keys list [--file PATH] [--json]
tokentrail keys revoke NAME_OR_ID [--file PATH]

A running backend follows within seconds.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tokentrail.backend.access.caller import DEFAULT_PROJECT, EVERY_PROJECT, Role
from tokentrail.backend.access.errors import KeyFileError
from tokentrail.backend.access.key import Key, new_key
from tokentrail.backend.access.key_file import add_key, load_keys, remove_key
from tokentrail.backend.config import KEYS

NAME: Final = "keys"
HELP: Final = "make, list and revoke the keys of a backend"

_COLUMNS: Final = ("name", "role", "project", "id", "created")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `create`, `list` and `revoke`."""
    commands = parser.add_subparsers(dest="action", metavar="<action>", required=True)
    create = commands.add_parser("create", help="make a key, show it once", description="Make a key, show it once.")
    create.add_argument("name", metavar="NAME", help="for people: who has it")
    create.add_argument("--role", required=True, choices=tuple(Role), help="what it is for: sending, reading, or all")
    create.add_argument(
        "--project",
        default=DEFAULT_PROJECT,
        help=f"whose data it sends and sees; {EVERY_PROJECT} sees all (default {DEFAULT_PROJECT})",
    )
    create.add_argument("--json", action="store_true", help="print one JSON object")
    listing = commands.add_parser("list", help="the keys there are", description="The keys there are.")
    listing.add_argument("--json", action="store_true", help="print one JSON object a line")
    revoke = commands.add_parser("revoke", help="take a key out", description="Take a key out.")
    revoke.add_argument("name", metavar="NAME", help="its name or id")
    for command in (create, listing, revoke):
        command.add_argument("--file", metavar="PATH", help=f"the file of keys (default: {KEYS})")


def run(args: argparse.Namespace) -> int:
    """Do what `args` say; 0, or 1 with a message."""
    try:
        path = _path(args.file)
        if args.action == "create":
            _create(path, args)
        elif args.action == "list":
            _list(load_keys(path), as_json=args.json)
        else:
            removed = remove_key(path, args.name)
            _say(f"The key {removed.name} ({removed.id}) is revoked: a running backend refuses it within seconds.")
    except KeyFileError as error:
        _say(f"tokentrail keys: {error}")
        return 1
    return 0


def _path(file: str | None) -> Path:
    name = file or os.environ.get(KEYS)
    if not name:
        raise KeyFileError(f"which file? Name it with --file, or in {KEYS}, where the backend looks for it")
    return Path(name).expanduser()


def _create(path: Path, args: argparse.Namespace) -> None:
    key, text = new_key(args.name, Role(args.role), args.project, datetime.now(UTC))
    add_key(path, key)
    if args.json:
        print(json.dumps({**_shown(key), "key": text}))  # noqa: T201
        return
    _say(f"A key for {key.project}, role {key.role}, in {path}. It is shown this once:")
    print(text)  # noqa: T201


def _list(keys: Sequence[Key], *, as_json: bool) -> None:
    rows = [_shown(key) for key in keys]
    if as_json:
        for row in rows:
            print(json.dumps(row))  # noqa: T201
        return
    table = [dict(zip(_COLUMNS, _COLUMNS, strict=True)), *rows]
    widths = {name: max(len(row[name]) for row in table) for name in _COLUMNS}
    for row in table:
        print("  ".join(row[name].ljust(widths[name]) for name in _COLUMNS).rstrip())  # noqa: T201


def _shown(key: Key) -> dict[str, str]:
    return {
        "name": key.name,
        "role": str(key.role),
        "project": key.project,
        "id": key.id,
        "created": key.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
