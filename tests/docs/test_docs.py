"""What the documents say exists, and what exists is in them."""

import re
from pathlib import Path

import pytest

from tokentrail.backend import config as backend_config
from tokentrail.backend.cli import COMMANDS
from tokentrail.backend.dialects import DIALECTS
from tokentrail.backend.query.filter import COLUMNS, FILTERS
from tokentrail.backend.store.rows import ROW_COLUMNS, column_name
from tokentrail.instrumentation import config as instrumentation_config
from tokentrail.instrumentation.config import Config
from tokentrail.semconv import cost, metrics
from tokentrail.semconv.genai import StreamExit

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
DATA = (ROOT / "docs" / "data.md").read_text()
README = (ROOT / "README.md").read_text()


def _variables(text: str) -> set[str]:
    return set(re.findall(r"\bTOKENTRAIL_[A-Z_]+", text))


def _sources(folder: str) -> str:
    # The demo's own two are handed from it to its example application, and nobody sets them.
    files = (path for path in (ROOT / folder).rglob("*.py") if "demo" not in path.parts)
    return "\n".join(path.read_text() for path in files)


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    assert _variables(SETTINGS) == _variables(_sources("instrumentation") + _sources("backend"))


def test_the_documented_defaults_of_the_backend_are_those_of_the_code() -> None:
    for name, default in backend_config.DEFAULTS.items():
        row = next(line for line in SETTINGS.splitlines() if line.startswith(f"| `{name}`"))
        mebibytes = f"{int(default) // 2**20} MiB" if default.isdigit() else default
        assert f" {default} |" in row.replace("`", "") or f" {mebibytes} |" in row, row


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (instrumentation_config.MAX_BODY_BYTES, Config().max_body_bytes),
        (instrumentation_config.MAX_PART_BYTES, Config().max_part_bytes),
        (instrumentation_config.MAX_CONTENT_BYTES, Config().max_content_bytes),
    ],
)
def test_the_documented_sizes_of_the_instrumentation_are_those_of_the_code(name: str, value: int) -> None:
    row = next(line for line in SETTINGS.splitlines() if line.startswith(f"| `{name}`"))
    number, unit = row.split("|")[2].split()

    assert int(number) * {"KiB": 2**10, "MiB": 2**20}[unit] == value


def test_every_metric_is_documented() -> None:
    written = set(re.findall(r"`(tokentrail_[a-z_]+)`", DATA))
    # `tokentrail_a_total`, `_b_total` stands for two of the same family.
    endings = set(re.findall(r"`(_[a-z_]+)`", DATA))
    names = {value for value in vars(metrics).values() if isinstance(value, str) and value.startswith("tokentrail_")}

    assert written <= names
    assert [name for name in names - written if not any(name.endswith(ending) for ending in endings)] == []


def test_every_dialect_is_documented() -> None:
    text = (ROOT / "docs" / "dialects.md").read_text()

    assert [dialect.name for dialect in DIALECTS if f"`{dialect.name}`" not in text] == []


def test_every_reason_and_way_a_stream_ends_is_documented() -> None:
    exits = [value for name, value in vars(StreamExit).items() if name.isupper()]

    assert [word for word in (*cost.Reason, *exits, *cost.COMPONENTS) if word not in DATA] == []


def test_every_filter_of_the_api_is_documented() -> None:
    assert [name for name in (*FILTERS, *COLUMNS) if f"`{name}`" not in DATA] == []


def test_every_column_named_in_the_documents_exists() -> None:
    columns = {column.name for column in ROW_COLUMNS}
    table = DATA[DATA.index("| column |") : DATA.index("With the backend stopped")].strip()
    named = {name for line in table.splitlines() for name in re.findall(r"`([A-Z]\w+)`", line.split("|")[1])}

    assert column_name("time_ns") in columns
    assert len(named) > 30
    assert named - columns == set()


def test_the_readme_names_every_command_and_only_files_that_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README + DATA) if "://" not in link]

    assert [each.name for each in COMMANDS if f"tokentrail {each.name}" not in README + "tokentrail demo"] == []
    assert [link for link in links if not (ROOT / link).exists() and not (ROOT / "docs" / link).exists()] == []
    assert "make demo" in README
    assert "make test" in README
