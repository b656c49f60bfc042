"""Migrations as such, without a database."""

from pathlib import Path

import pytest

from tokentrail.backend.store.errors import StoreError
from tokentrail.backend.store.migrate import Migration, load, migrate

ONE = Migration(1, "one", ("CREATE a", "CREATE b"))
TWO = Migration(2, "two", ("CREATE c",))


class Ledger:
    """A database that remembers statements, and fails at one of them."""

    def __init__(self, applied: dict[int, str], fails_at: str = "") -> None:
        self.applied = applied
        self.fails_at = fails_at
        self.statements: list[str] = []

    def execute(self, sql: str) -> None:
        if sql == self.fails_at:
            raise OSError(sql)
        self.statements.append(sql)

    def query(self, sql: str) -> list[dict[str, object]]:
        return [{"Version": version, "Name": name} for version, name in self.applied.items()]

    @property
    def changes(self) -> list[str]:
        return [sql for sql in self.statements if "schema_migrations" not in sql]


def test_all_statements_of_new_migrations_run_in_order() -> None:
    ledger = Ledger({})

    migrate(ledger.execute, ledger.query, (ONE, TWO))

    assert ledger.changes == ["CREATE a", "CREATE b", "CREATE c"]


def test_applied_migrations_are_left_alone() -> None:
    ledger = Ledger({1: "one"})

    migrate(ledger.execute, ledger.query, (ONE, TWO))

    assert ledger.changes == ["CREATE c"]


def test_a_migration_is_remembered_after_its_last_statement_only() -> None:
    ledger = Ledger({}, fails_at="CREATE b")

    with pytest.raises(OSError, match="CREATE b"):
        migrate(ledger.execute, ledger.query, (ONE,))

    assert ledger.changes == ["CREATE a"]
    assert not any(sql.startswith("INSERT") for sql in ledger.statements)


def test_a_newer_database_is_refused_before_anything_changes() -> None:
    ledger = Ledger({1: "one", 2: "two", 3: "three"})

    with pytest.raises(StoreError, match=r"newer Tokentrail.*3 \(three\).*up to 2.*Upgrade"):
        migrate(ledger.execute, ledger.query, (ONE, TWO))

    assert ledger.changes == []


def test_statements_end_at_a_semicolon_at_the_end_of_a_line(tmp_path: Path) -> None:
    (tmp_path / "0001_first_step.sql").write_text(
        "-- why; because\nSELECT ';',\n    1;\n\n-- more\nSELECT 2;  \nSELECT 3\n"
    )

    (migration,) = load(tmp_path)

    assert migration == Migration(1, "first_step", ("SELECT ';',\n    1", "SELECT 2", "SELECT 3"))


@pytest.mark.parametrize("name", ["0002_gap.sql", "1_short.sql", "0001 spaces.sql", "0001_quote'.sql"])
def test_files_must_be_numbered_without_gap_and_plainly_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1;")

    with pytest.raises(ValueError, match=r"numbered|named"):
        load(tmp_path)
