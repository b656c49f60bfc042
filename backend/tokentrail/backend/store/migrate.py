"""Schema migrations: numbered SQL files, each applied once, in order, and remembered in `schema_migrations`.

A file may be applied again after a crash in the middle of it, so every statement in it must bear that
(`IF NOT EXISTS`). Statements end with a semicolon at the end of a line.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tokentrail.backend.store.errors import StoreError

Query: TypeAlias = Callable[[str], Sequence[Mapping[str, object]]]
"""Answers one SELECT."""

_DIRECTORY: Final = Path(__file__).parent / "migrations"
_NAME: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    Version UInt32,
    Name String,
    AppliedAt DateTime64(3) DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY Version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    statements: tuple[str, ...]


def load(directory: Path = _DIRECTORY) -> tuple[Migration, ...]:
    """The migrations in `directory`, by version. Raises `ValueError` for a gap or a file with a malformed name."""
    migrations = tuple(_read(path) for path in sorted(directory.glob("*.sql")))
    if [each.version for each in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError(f"migrations in {directory} are not numbered 0001, 0002, ... without a gap")
    return migrations


def pending(query: Query, migrations: Sequence[Migration]) -> list[Migration]:
    """What `schema_migrations`, which is there, does not list yet.

    Raises `StoreError` when the tables are newer than `migrations`; errors of `query` pass through.
    """
    applied = {row["Version"]: row["Name"] for row in query("SELECT Version, Name FROM schema_migrations")}
    known = {migration.version for migration in migrations}
    if newer := [f"{version} ({name})" for version, name in sorted(applied.items(), key=str) if version not in known]:
        raise StoreError(
            f"The store was written by a newer Tokentrail: its schema has version {', '.join(newer)}, this one knows "
            f"up to {max(known, default=0)}. Upgrade Tokentrail, or point TOKENTRAIL_STORE at another store."
        )
    return [migration for migration in migrations if migration.version not in applied]


def migrate(execute: Callable[[str], object], query: Query, migrations: Sequence[Migration]) -> None:
    """Apply what is `pending`, and remember it. One at a time: a migration may throw away what it fills anew.

    `execute` runs one statement, `query` a SELECT. Raises as `pending` does, before anything but the empty table
    `schema_migrations` is made; errors of the two callables pass through.
    """
    execute(_LEDGER)
    for migration in pending(query, migrations):
        for statement in migration.statements:
            execute(statement)
        # The name is of a file that ships with the product: letters, digits and underscores (`_NAME`).
        entry = f"({migration.version}, '{migration.name}')"
        execute("INSERT INTO schema_migrations (Version, Name) VALUES " + entry)  # noqa: S608


def _read(path: Path) -> Migration:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} is not named like 0001_what_it_does.sql")
    lines = (line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("--"))
    statements = (statement.strip() for statement in re.split(r";\s*(?:\n|\Z)", "\n".join(lines)))
    return Migration(int(match[1]), match[2], tuple(filter(None, statements)))
