"""What values become before they reach a table."""

import re
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest

from support.calls import call
from tokentrail.backend import attribute_text
from tokentrail.backend.row import Row
from tokentrail.backend.span import Value
from tokentrail.backend.store import migrate, native, rows


def test_every_field_of_a_row_has_its_column_in_the_same_order() -> None:
    expected = ["Timestamp", *(re.sub(r"(?:^|_)(.)", lambda m: m[1].upper(), f.name) for f in fields(Row)[1:])]
    contents = ["InputMessages", "OutputMessages", "System", "Tools"]

    names = [column.name for column in rows.ROW_COLUMNS]

    assert names == [name for name in expected if name not in contents]
    assert [column.name for column in rows.CONTENT_COLUMNS] == ["Timestamp", "TraceId", "SpanId", *contents, "Project"]


def test_columns_have_the_names_and_order_of_the_migrations() -> None:
    statements = [each for migration in migrate.load() for each in migration.statements if "llm_requests\n" in each]
    found = re.findall(r"^    (\w+) (?!idx_)[A-Z]\w+", statements[0], re.MULTILINE)
    declared = [name for name in found if name not in ("INDEX", "ADD")]
    for statement in statements[1:]:
        for name, before in re.findall(r"ADD COLUMN IF NOT EXISTS (\w+) .* AFTER (\w+)", statement):
            declared.insert(declared.index(before) + 1, name)
        for name in re.findall(r"DROP COLUMN IF EXISTS (\w+)", statement):
            declared.remove(name)
    declared.insert(declared.index("Project"), "Source")  # 0006 puts it at the end

    names = [column.name for column in rows.ROW_COLUMNS]

    assert names == declared


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (-7, "-7"),
        (2**63, "9223372036854775808"),
        (1.0, "1"),
        (0.1, "0.1"),
        (-0.0, "-0"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Inf"),
        (b"\x00\xff", "AP8="),
        (("a", 1, 2.0, 2.5, True, None), '["a",1,2,2.5,true,null]'),
        ((float("inf"), b"hi"), '["+Inf","aGk="]'),
        ({"b": 1, "a": {"é": ("<x>",)}}, '{"a":{"é":["<x>"]},"b":1}'),
        ((), "[]"),
    ],
)
def test_attribute_values_become_text_as_the_collectors_exporter_writes_them(value: Value, text: str) -> None:
    assert attribute_text.text(value) == text


@pytest.mark.parametrize(
    ("number", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**32, "8080808010")]
)
def test_lengths_are_written_in_seven_bit_groups(number: int, encoded: str) -> None:
    assert attribute_text.varint(number).hex() == encoded


def test_a_cost_is_written_as_picodollars() -> None:
    encoded = native.decimal(12).encode([Decimal("0.000255"), Decimal(-1)])

    assert encoded == (255_000_000).to_bytes(8, "little") + (-(10**12)).to_bytes(8, "little", signed=True)


def test_a_block_names_each_column_of_its_table() -> None:
    block = rows.encode_rows([call()])

    assert block.table == "llm_requests"
    assert block.columns[:2] == ("Timestamp", "TraceId")
    assert b"\x0fDurationNs"[1:] in b"".join(block.data.pieces())


def test_migrations_ship_beside_the_module() -> None:
    assert [each.version for each in migrate.load()] == list(range(1, len(migrate.load()) + 1))
    assert (Path(migrate.__file__).parent / "migrations" / "0001_traces.sql").is_file()
