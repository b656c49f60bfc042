"""How a field is shown: what the dashboard says of all fields of a panel, and of this one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pictures import palette, unit
from pictures.frame import TIME, Column, Frame, display_name, filled_in

_COLORED_BY_SERIES: Final = ("timeseries", "piechart", "barchart")
_USUAL_STEPS: Final = ({"value": None, "color": "green"}, {"value": 80, "color": "red"})
"""What Grafana takes where a dashboard names no thresholds."""


@dataclass(frozen=True, slots=True)
class Look:
    """A field as it is shown."""

    name: str
    settings: Mapping[str, Any]
    """By the id that overrides have: `unit`, `decimals`, `custom.width` ..."""
    index: int
    is_time: bool = False

    @property
    def unit(self) -> str:
        """Of its numbers."""
        return self.settings.get("unit") or ""

    @property
    def decimals(self) -> int | None:
        """How many, if the dashboard says."""
        return self.settings.get("decimals")

    @property
    def hidden(self) -> bool:
        """Whether it is not shown in tables."""
        return bool(self.settings.get("custom.hidden"))

    @property
    def linked(self) -> bool:
        """Whether a click on it leads somewhere."""
        return bool(self.settings.get("links"))

    def custom(self, name: str, default: Any = None) -> Any:
        """A setting of the kind of panel."""
        value = self.settings.get(f"custom.{name}")
        return default if value is None else value

    def text(self, value: object) -> str:
        """A value in words."""
        mapped = self._mapped(value)
        if mapped is not None and mapped.get("text"):
            return str(mapped["text"])
        if value is None:
            return str(self.settings.get("noValue") or "")
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int | float):
            of_time = self.is_time and self.unit not in unit.TIMES
            return unit.moment(value) if of_time else unit.show(value, self.unit, self.decimals)
        return str(value)

    def color(self, value: object = None) -> str:
        """The colour of a value, or of the series."""
        mapped = self._mapped(value)
        if mapped is not None and mapped.get("color"):
            return palette.named(str(mapped["color"]))
        color = self.settings.get("color") or {}
        mode = color.get("mode", "palette-classic")
        if mode == "fixed" or mode == "shades":
            return palette.named(color.get("fixedColor", "text"))
        if mode == "thresholds":
            return self.threshold_color(value)
        return palette.series(self.index)

    def threshold_color(self, value: object) -> str:
        """The colour of the step that a value is on."""
        chosen = "text"
        for step in self.steps:
            at = step.get("value")
            if at is None or (isinstance(value, int | float) and value >= at):
                chosen = str(step["color"])
        return palette.named(chosen)

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """Thresholds: from `value` upwards `color`; the first has no value."""
        steps: Sequence[Mapping[str, Any]] = (self.settings.get("thresholds") or {}).get("steps") or _USUAL_STEPS
        return steps

    def _mapped(self, value: object) -> Mapping[str, Any] | None:
        for mapping in self.settings.get("mappings") or ():
            options = mapping.get("options") or {}
            kind = mapping.get("type")
            if kind == "value":
                key = f"{value:g}" if isinstance(value, float) else str(value)
                if value is not None and key in options:
                    return dict(options[key])
            elif kind == "range" and isinstance(value, int | float):
                low, high = options.get("from"), options.get("to")
                if (low is None or value >= low) and (high is None or value <= high):
                    return dict(options.get("result") or {})
            elif kind == "special" and value is None and str(options.get("match")).startswith("null"):
                return dict(options.get("result") or {})
        return None


def look(panel: Mapping[str, Any], column: Column, index: int, frames: Sequence[Frame], ref_id: str = "") -> Look:
    """How `column`, the n-th series or field among `frames`, is shown in a panel."""
    config = panel.get("fieldConfig") or {}
    settings = _flat(config.get("defaults") or {})
    if "color" not in settings:
        by_series = panel["type"] in _COLORED_BY_SERIES
        settings["color"] = {"mode": "palette-classic" if by_series else "thresholds"}
    name = display_name(column, frames)
    for override in config.get("overrides") or ():
        if _matches(override["matcher"], column, name, ref_id):
            settings |= {each["id"]: each.get("value") for each in override["properties"]}
    template = settings.get("displayName")
    shown = filled_in(template, column, name) if template else name
    return Look(shown, settings, index, column.kind == TIME)


def _flat(defaults: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in defaults.items() if name != "custom" and value is not None}
    return settings | {f"custom.{name}": value for name, value in (defaults.get("custom") or {}).items()}


def _matches(matcher: Mapping[str, Any], column: Column, name: str, ref_id: str) -> bool:
    kind, options = matcher["id"], matcher.get("options")
    if kind == "byName":
        return options in (column.name, name)
    if kind == "byRegexp":
        pattern = str(options)
        if pattern.startswith("/") and pattern.rfind("/") > 0:
            pattern = pattern[1 : pattern.rfind("/")]
        return bool(re.search(pattern, name))
    if kind == "byType":
        return {"number": "number", "string": "text", "time": "time"}.get(str(options)) == column.kind
    if kind == "byFrameRefID":
        return bool(options == ref_id)
    raise ValueError(f"unknown matcher {kind}")
