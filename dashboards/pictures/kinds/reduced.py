"""Single values from frames, for panels that show numbers rather than courses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pictures.frame import NUMBER, TEXT, TIME, Column, Frame
from pictures.kinds._base import Scene
from pictures.look import Look

_MOST_ROWS: Final = 25
"""As many as Grafana shows of them."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """A value and how it is shown."""

    value: object
    look: Look


_CALCS: Final[Mapping[str, Callable[[list[float]], float]]] = {
    "lastNotNull": lambda values: values[-1],
    "last": lambda values: values[-1],
    "firstNotNull": lambda values: values[0],
    "first": lambda values: values[0],
    "sum": sum,
    "max": max,
    "min": min,
    "mean": lambda values: sum(values) / len(values),
    "count": len,
}


def calculated(column: Column, calc: str) -> float | None:
    """One number for a column; None where it has none. Raises `KeyError` for a calculation that is not known."""
    values = [value for value in column.numbers() if value is not None]
    return _CALCS[calc](values) if values else None


def reduced(scene: Scene) -> list[Reduced]:
    """The values of a panel: of each row where the panel says `values`, else one of each field.

    None of them where there are no rows; a field without a number is among them, with None.
    """
    options = scene.options.get("reduceOptions") or {}
    calc = (options.get("calcs") or ["lastNotNull"])[0]
    found: list[Reduced] = []
    for number, frame in enumerate(scene.frames):
        if not frame.rows:
            continue
        if options.get("values"):
            found += _by_row(scene, frame, number, len(found))
            continue
        for column in _shown(frame, str(options.get("fields") or "")):
            look = scene.look(column, len(found), number)
            found.append(Reduced(_last(column) if column.kind != NUMBER else calculated(column, calc), look))
    return found


def _shown(frame: Frame, fields: str) -> list[Column]:
    if not fields:
        return frame.of_kind(NUMBER)
    if fields == "/.*/":
        return [column for column in frame.columns if column.kind != TIME]
    wanted = fields.strip("/").removeprefix("^").removesuffix("$")
    return [column for column in frame.columns if column.name == wanted]


def _last(column: Column) -> object:
    return next((value for value in reversed(column.values) if value is not None), None)


def _by_row(scene: Scene, frame: Frame, number: int, first: int) -> list[Reduced]:
    numbers, texts = frame.of_kind(NUMBER), frame.of_kind(TEXT)
    found: list[Reduced] = []
    for row in range(min(frame.rows, _MOST_ROWS)):
        for column in numbers:
            look = scene.look(column, first + len(found), number)
            if texts:
                name = str(texts[0].values[row])
                look = replace(look, name=name if len(numbers) == 1 else f"{name} {look.name}")
            found.append(Reduced(column.values[row], look))
    return found
