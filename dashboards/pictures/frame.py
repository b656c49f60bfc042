"""Answers to queries as Grafana holds them: frames of named columns.

    Frame([Column("time", TIME, (1795000000000, ...)), Column("usd", NUMBER, (0.5, ...), {"model": "gpt-4o"})])

Times are milliseconds since the epoch; a value that is not there is None.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

TIME: Final = "time"
NUMBER: Final = "number"
TEXT: Final = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a frame."""

    name: str
    kind: str
    values: Sequence[object]
    labels: Mapping[str, str] = field(default_factory=dict)
    legend: str = ""
    """What the data source would have it called."""

    def number(self, row: int) -> float | None:
        """The number in a row, if there is one."""
        value = self.values[row]
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def numbers(self) -> list[float | None]:
        """All of them."""
        return [self.number(row) for row in range(len(self.values))]


@dataclass(frozen=True, slots=True)
class Frame:
    """Columns of the same length."""

    columns: Sequence[Column]

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.columns[0].values) if self.columns else 0

    def of_kind(self, kind: str) -> list[Column]:
        """Columns of one kind, in their order."""
        return [column for column in self.columns if column.kind == kind]

    def named(self, name: str) -> Column | None:
        """The column with a name, in whatever case."""
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)


Answers = Mapping[tuple[int, str], Sequence[Frame]]
"""By the id of the panel and the reference of the query in it."""


def widened(frame: Frame) -> Frame:
    """A column of times, columns of numbers, and for each combination of texts a column of its own, as the ClickHouse
    plugin makes of rows for panels over time (`data.LongToWide` of grafana-plugin-sdk-go)."""
    times, texts, numbers = (frame.of_kind(kind) for kind in (TIME, TEXT, NUMBER))
    if not times or not texts:
        return frame
    moments = sorted({value for value in times[0].values if isinstance(value, int | float)})
    place = {moment: index for index, moment in enumerate(moments)}
    wide: dict[tuple[tuple[str, str], ...], list[list[object]]] = {}
    for row, moment in enumerate(times[0].values):
        if not isinstance(moment, int | float):
            continue
        key = tuple((text.name, str(text.values[row])) for text in texts)
        cells = wide.setdefault(key, [[None] * len(moments) for _ in numbers])
        for cell, number in zip(cells, numbers, strict=True):
            cell[place[moment]] = number.values[row]
    columns = [
        Column(number.name, NUMBER, tuple(cell), dict(key))
        for number_index, number in enumerate(numbers)
        for key in sorted(wide)
        for cell in [wide[key][number_index]]
    ]
    return Frame([Column(times[0].name, TIME, tuple(moments)), *columns])


def display_name(column: Column, frames: Iterable[Frame]) -> str:
    """What a field is called where nobody says: its name, and what tells it from its siblings
    (`calculateFieldDisplayName` of `@grafana/data`)."""
    if column.legend:
        return column.legend
    if not column.labels:
        return column.name
    keys = {key for frame in frames for each in frame.columns for key in each.labels}
    if len(keys) == 1:
        told = column.labels.get(next(iter(keys)), "")
    else:
        told = "{" + ", ".join(f'{key}="{value}"' for key, value in sorted(column.labels.items())) + "}"
    return " ".join(part for part in (column.name, told) if part and part != "Value")


def filled_in(template: str, column: Column, name: str) -> str:
    """A display name with its variables put in."""
    named = template.replace("${__field.name}", column.name).replace("${__series.name}", name)
    named = named.replace("${__field.displayName}", name)
    return re.sub(
        r"\$\{__field\.labels(?:\.(\w+)|\[\"?(\w+)\"?\])\}",
        lambda found: column.labels.get(found[1] or found[2], ""),
        named,
    )
