"""`python -m stack.access DIRECTORY`: the first keys and passwords of the containers, each made where it is used.

    DIRECTORY/keys/keys.toml             the backend's file of keys: hashes
    DIRECTORY/applications               key that sends
    DIRECTORY/prometheus                 key that reads, for every project
    DIRECTORY/grafana                    key that reads, for every project: password of the data source
    DIRECTORY/grafana_admin              password of Grafana's `admin`
    DIRECTORY/store_password[.sha256]    of the user `tokentrail` of ClickHouse
    DIRECTORY/reader_password[.sha256]   of the user `tokentrail_reader` of ClickHouse

Each file can be read by the user of its container and nobody else. What is there already stays, so that it can run
before every start. A key whose file was deleted is revoked and made anew; a password whose file was deleted is made
anew, and holds from the next start of its server (Grafana keeps the first one in its database).
"""

import argparse
import hashlib
import os
import secrets
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tokentrail.backend.access.caller import DEFAULT_PROJECT, EVERY_PROJECT, Role
from tokentrail.backend.access.errors import KeyFileError
from tokentrail.backend.access.key import new_key
from tokentrail.backend.access.key_file import add_key, load_keys, remove_key

_PASSWORD_BYTES: Final = 32
_SECRET_MODE: Final = 0o400
_ROOT: Final = 0


@dataclass(frozen=True, slots=True)
class Users:
    """The numbers of the users that the containers run as."""

    backend: int
    prometheus: int
    grafana: int
    root: int = _ROOT
    """Who the entry point of ClickHouse runs as."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing; 0, or 1 with a message."""
    parser = argparse.ArgumentParser(prog="python -m stack.access", description="Make the first keys and passwords.")
    parser.add_argument("directory", type=Path, help="where they are kept, a volume of the containers")
    for name in ("backend", "prometheus", "grafana"):
        parser.add_argument(f"--{name}", type=int, required=True, metavar="UID", help="user of its container")
    args = parser.parse_args(arguments)
    try:
        made = make(args.directory, Users(args.backend, args.prometheus, args.grafana))
    except (OSError, KeyFileError) as error:
        sys.stderr.write(f"stack.access: {error}\n")
        return 1
    sys.stdout.write(f"Made: {', '.join(made)}\n" if made else "Everything is there already.\n")
    return 0


def make(directory: Path, users: Users) -> list[str]:
    """Make what is missing in `directory`; the names of the files that were made. Raises `OSError`, `KeyFileError`."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    keys = directory / "keys"
    # A directory of the backend's own: `tokentrail keys` replaces the file in it.
    keys.mkdir(mode=0o700, exist_ok=True)
    os.chown(keys, users.backend, -1)
    wanted = (
        ("applications", Role.INGEST, DEFAULT_PROJECT, users.backend),
        ("prometheus", Role.READ, EVERY_PROJECT, users.prometheus),
        ("grafana", Role.READ, EVERY_PROJECT, users.grafana),
    )
    file = keys / "keys.toml"
    made = [name for name, role, project, uid in wanted if _make_key(file, directory / name, role, project, uid)]
    os.chown(file, users.backend, -1)
    for name, uid in (("store_password", users.backend), ("reader_password", users.grafana)):
        made += [name] if _make_password(directory / name, uid) else []
        digest = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        _write(directory / f"{name}.sha256", digest, users.root)
    made += ["grafana_admin"] if _make_password(directory / "grafana_admin", users.grafana) else []
    return made


def _make_key(file: Path, path: Path, role: Role, project: str, uid: int) -> bool:
    """Make the key that is named as `path` is, unless there is one; whether there was none."""
    if path.exists() and file.exists() and any(key.name == path.name for key in load_keys(file)):
        return False
    with suppress(KeyFileError):  # nobody has it any more
        remove_key(file, path.name)
    key, text = new_key(path.name, role, project, datetime.now(UTC))
    add_key(file, key)
    _write(path, text, uid)
    return True


def _make_password(path: Path, uid: int) -> bool:
    if path.exists():
        return False
    _write(path, secrets.token_urlsafe(_PASSWORD_BYTES), uid)
    return True


def _write(path: Path, secret: str, uid: int) -> None:
    """A file with nothing but `secret` in it, whole or not at all, and never readable by others."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET_MODE)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
    os.chown(temporary, uid, -1)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
