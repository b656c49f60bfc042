"""A dashboard: sections of panels, laid out from left to right, and what every dashboard has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models.dashboard import (
    AnnotationContainer,
    Dashboard,
    DashboardCursorSync,
    DashboardDashboardTemplating,
    GridPos,
    Panel,
    RowPanel,
)

from boards import annotations, link, variables
from boards.panel import words

COLUMNS: Final = 24
"""Width of Grafana's grid."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A panel and its size in the grid."""

    panel: Panel
    width: int = 12
    height: int = 8


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading; without a title, at the top."""

    title: str
    panels: Sequence[Placed]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    sections: Sequence[Section]
    guide: str
    """Markdown: how to read it."""
    own: tuple[str, ...] = ()
    """Variables beside the shared ones (`variables.own`)."""
    filters: bool = True
    """Whether it is about calls, and has the shared filters."""
    time_from: str = "now-6h"
    annotated: bool = True
    tags: tuple[str, ...] = field(default=("tokentrail",))

    @property
    def file_name(self) -> str:
        """Of its JSON."""
        return f"{self.uid.removeprefix('tokentrail-')}.json"

    def build(self) -> Dashboard:
        """As Grafana takes it."""
        builder = (
            build.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags(list(self.tags))
            .timezone("browser")
            .time(self.time_from, "now")
            .refresh("1m")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .readonly()
        )
        dashboard = builder.build()
        dashboard.panels = _laid_out([*self.sections, self._guide()])
        chosen = [*variables.sources(), *(variables.shared() if self.filters else []), *variables.own(self.own)]
        dashboard.templating = DashboardDashboardTemplating(list_val=chosen)
        dashboard.links = [link.to_all_dashboards()]
        dashboard.annotations = AnnotationContainer(list_val=annotations.of_calls() if self.annotated else [])
        return dashboard

    def _guide(self) -> Section:
        return Section("How to read this", [Placed(words("", self.guide.strip()), COLUMNS, 8)], collapsed=True)


def _laid_out(sections: Sequence[Section]) -> list[Panel | RowPanel]:
    """Numbers and places. A panel that does not fit beside the one before begins a new line."""
    laid: list[Panel | RowPanel] = []
    number, top = 1, 0
    for section in sections:
        row: RowPanel | None = None
        if section.title:
            row = build.Row(section.title).id(number).collapsed(section.collapsed).build()
            row.grid_pos = GridPos(h=1, w=COLUMNS, x=0, y=top)
            laid.append(row)
            number, top = number + 1, top + 1
        panels, top = _placed(section.panels, number, top)
        number += len(panels)
        if row is not None and section.collapsed:
            row.panels = panels
        else:
            laid += panels
    return laid


def _placed(panels: Sequence[Placed], number: int, top: int) -> tuple[list[Panel], int]:
    done: list[Panel] = []
    left = line = 0
    for placed in panels:
        if left + placed.width > COLUMNS:
            left, top, line = 0, top + line, 0
        panel = placed.panel
        panel.id_val = number + len(done)
        panel.grid_pos = GridPos(h=placed.height, w=placed.width, x=left, y=top)
        left, line = left + placed.width, max(line, placed.height)
        done.append(panel)
    return done, top + line
