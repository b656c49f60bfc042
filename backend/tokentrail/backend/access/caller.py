"""Who asks, and what they may do. Every path into the data takes a `Caller`, every statement is bounded by it.

role     may
ingest   send (`/v1/...` and OTLP/gRPC)
read     read (`/api`, GET; `/clickhouse`; with project `*` also `/metrics`)
admin    both, and change what is stored
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

EVERY_PROJECT: Final = "*"
"""Project of a key that is for all of them."""
DEFAULT_PROJECT: Final = "default"
"""Project of what was sent without a key, or with one that names no other. Stored as empty text, so that it is also the
project of all that was stored before there were projects."""


class Role(StrEnum):
    """What a key is for."""

    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"


class Right(StrEnum):
    """What a request does."""

    INGEST = "send"
    READ = "read"
    METRICS = "read the metrics, which are of all projects"
    CHANGE = "change what is stored"


_RIGHTS: Final[Mapping[Role, frozenset[Right]]] = {
    Role.INGEST: frozenset({Right.INGEST}),
    Role.READ: frozenset({Right.READ, Right.METRICS}),
    Role.ADMIN: frozenset(Right),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    """Of the key, for people; empty without one."""
    role: Role
    project: str | None
    """The one project that they see, as it is stored (`stored_project`); `None` for all of them."""

    @property
    def own_project(self) -> str:
        """The project of what they send, as it is stored."""
        return self.project or ""

    def may(self, right: Right) -> bool:
        """Whether the role, and for metrics the project, is enough."""
        if right is Right.METRICS and self.project is not None:
            return False
        return right in _RIGHTS[self.role]


ANYONE: Final = Caller("", Role.ADMIN, None)
"""Whoever reaches a backend without keys, or the files of the store: they may do all there is."""


def stored_project(name: str) -> str | None:
    """The project `name` as rows have it; `None` for all of them."""
    if name == EVERY_PROJECT:
        return None
    return "" if name == DEFAULT_PROJECT else name


class InProject(Protocol):
    """What belongs to a project: spans, rows, and whatever else a request brings."""

    @property
    def project(self) -> str:
        """As it is stored."""


def put_into_project(items: Iterable[InProject], project: str) -> None:
    """Have `items` belong to `project`. They are changed in place: only for what was decoded a moment ago.

    Every record of a request is in the project of its key, which no decoder and no dialect has to know. Copies
    (`dataclasses.replace`) would cost a tenth of the time that a call takes from socket to store.
    """
    if not project:
        return  # as they are
    for item in items:
        object.__setattr__(item, "project", project)
