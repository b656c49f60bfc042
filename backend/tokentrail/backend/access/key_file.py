"""The file of keys, TOML:

    schema = 1
    [[key]]
    name = "checkout"                 unique; letters, digits, `.`, `_`, `-`
    role = "ingest"                   or "read", "admin"
    project = "shop"                  or "*", all of them: for "read" and "admin"
    id = "3f0c5a9d8e21"               unique
    sha256 = "..."                    of the key, which is nowhere
    created = 2026-11-21T10:00:00Z

Reading is pure. Writing replaces the file whole, readable by its owner alone, so that a backend that reads it at that
moment sees the one or the other. Comments are not kept.
"""

import fcntl
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from tokentrail.backend.access.caller import EVERY_PROJECT, Role
from tokentrail.backend.access.errors import KeyFileError
from tokentrail.backend.access.key import HASH_PATTERN, ID_PATTERN, Key

SCHEMA: Final = 1
MAX_BYTES: Final = 1024 * 1024
"""About 4,000 keys."""
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""Names of keys and of projects."""

_NAME_WORDS: Final = "1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
_FIELDS: Final = frozenset({"name", "role", "project", "id", "sha256", "created"})
_OTHERS_MAY_WRITE: Final = 0o002
_HEADER: Final = (
    "# Keys of a Tokentrail backend, by `tokentrail keys`. Only hashes are in here: a lost key cannot be found again.\n"
)


def read_keys(content: bytes, file: str) -> tuple[Key, ...]:
    """The keys in `content`, in its order; `file` is its name, for errors. Raises `KeyFileError`."""
    if len(content) > MAX_BYTES:
        raise KeyFileError(f"{file} has {len(content)} bytes, more than {MAX_BYTES}")
    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise KeyFileError(f"{file} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise KeyFileError(f"{file} is not valid TOML: {error}") from None
    if document.get("schema") != SCHEMA:
        raise KeyFileError(f"{file} has no line `schema = {SCHEMA}`: it is no file of keys, or of another version")
    entries = document.get("key", [])
    if document.keys() - {"schema", "key"} or not isinstance(entries, list):
        raise KeyFileError(f"{file} has other things than `schema` and `[[key]]`")
    keys = tuple(_key(entry, f"{file}, key {number}") for number, entry in enumerate(entries, 1))
    _check_unique(keys, file)
    return keys


def load_keys(path: Path) -> tuple[Key, ...]:
    """The keys in the file. Raises `KeyFileError`, also for a file that others than its owner and group may write."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS_MAY_WRITE:
                raise KeyFileError(f"{path} may be written by everybody, who could give themselves keys: chmod 600 it")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    return read_keys(content, str(path))


def add_key(path: Path, key: Key) -> None:
    """Add `key` to the file, which is made where there is none. Raises `KeyFileError`."""
    with _alone(path):
        keys = (*(load_keys(path) if path.exists() else ()), key)
        _check(key, str(path))
        _check_unique(keys, str(path))
        _write(path, keys)


def remove_key(path: Path, name_or_id: str) -> Key:
    """Take a key out of the file; which. Raises `KeyFileError`."""
    with _alone(path):
        keys = load_keys(path)
        found = [key for key in keys if name_or_id in (key.name, key.id)]
        if len(found) != 1:
            many = "several keys have" if found else "no key has"
            raise KeyFileError(f"{many} the name or id {name_or_id[:100]!r} in {path}")
        _write(path, [key for key in keys if key is not found[0]])
        return found[0]


def check_name(what: str, name: str, *, every: bool = False) -> None:
    """Raise `KeyFileError` for what is no name of a key or project; with `every`, `*` is one."""
    if not (every and name == EVERY_PROJECT) and not NAME_PATTERN.fullmatch(name):
        raise KeyFileError(f"{what} is {name[:100]!r}: expected {_NAME_WORDS}{f', or {EVERY_PROJECT}' * every}")


def _key(entry: object, place: str) -> Key:
    if not isinstance(entry, Mapping):
        raise KeyFileError(f"{place} is no table")
    if entry.keys() != _FIELDS:
        odd = ", ".join(sorted(entry.keys() ^ _FIELDS))
        raise KeyFileError(f"{place} has not exactly the fields {', '.join(sorted(_FIELDS))}: see {odd[:200]}")
    texts = {name: entry[name] for name in _FIELDS - {"created"}}
    if wrong := [name for name, value in texts.items() if not isinstance(value, str)]:
        raise KeyFileError(f"{place}: {min(wrong)} is no text")
    created = entry["created"]
    if not isinstance(created, datetime) or created.tzinfo is None:
        raise KeyFileError(f"{place}: created is no time with a time zone")
    # What is in these two is not repeated: someone may have put the key itself there.
    if not ID_PATTERN.fullmatch(texts["id"]) or not HASH_PATTERN.fullmatch(texts["sha256"]):
        raise KeyFileError(f"{place}: id is to be 12 and sha256 64 lower-case hex digits")
    if texts["role"] not in tuple(Role):
        raise KeyFileError(f"{place}: role is to be one of {', '.join(Role)}")
    key = Key(texts["id"], texts["name"], Role(texts["role"]), texts["project"], texts["sha256"], created)
    _check(key, place)
    return key


def _check(key: Key, place: str) -> None:
    check_name(f"{place}: name", key.name)
    check_name(f"{place}: project", key.project, every=True)
    if key.role is Role.INGEST and key.project == EVERY_PROJECT:
        raise KeyFileError(f"{place}: a key for sending needs one project, what it sends can be in no more")


def _check_unique(keys: Sequence[Key], file: str) -> None:
    for what in ("name", "id"):
        value, count = Counter(getattr(key, what) for key in keys).most_common(1)[0] if keys else ("", 0)
        if count > 1:
            raise KeyFileError(f"{file} has two keys with the {what} {value!r}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While inside, no other command changes a file in the same directory."""
    try:
        directory = os.open(path.absolute().parent, os.O_RDONLY)
    except OSError as error:
        raise KeyFileError(f"{path.parent} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _write(path: Path, keys: Sequence[Key]) -> None:
    target = path.resolve()  # a link stays one
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(_text(keys).encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
        _sync(target.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from None


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(keys: Sequence[Key]) -> str:
    """Every value is of characters that TOML takes as they are."""
    return f"{_HEADER}schema = {SCHEMA}\n" + "".join(
        f'\n[[key]]\nname = "{key.name}"\nrole = "{key.role}"\nproject = "{key.project}"\n'
        f'id = "{key.id}"\nsha256 = "{key.sha256}"\ncreated = {key.created.isoformat(timespec="seconds")}\n'
        for key in keys
    )
