"""`/api/alerts`: what each alert says, now or at another time. Parameters into an answer; knows no server."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from tokentrail.backend.access.caller import DEFAULT_PROJECT, Caller
from tokentrail.backend.alerts.definition import AlertFileError, Definition
from tokentrail.backend.alerts.evaluate import Evaluation, evaluate
from tokentrail.backend.alerts.read import read_alerts, shipped
from tokentrail.backend.alerts.rules import condition
from tokentrail.backend.query import filter as filters
from tokentrail.backend.query import moment
from tokentrail.backend.query.errors import QueryError
from tokentrail.backend.store._base import Store

PARAMETERS: Final = ("at", "name", "definitions")
MAX_DEFINITIONS_CHARS: Final = 32_768
"""Of a file that comes with the question."""

InForce = Callable[[], tuple[Definition, ...]]


def shipped_alerts() -> tuple[Definition, ...]:
    """The alerts that are in force where nobody says otherwise; none where PyYAML is missing."""
    try:
        return shipped().definitions
    except AlertFileError:
        return ()


def answer(
    store: Store, in_force: InForce, params: Mapping[str, str], caller: Caller, now_ns: int
) -> Iterator[Mapping[str, object]]:
    """An object for each alert: its fields, and in `groups` those that it looked at, the offenders first.

    `at` is the end of the windows, `name` one alert, `definitions` a file of alerts to try in place of those in force.
    A caller of one project asks about the calls of that project. Raises `QueryError` and `StoreError`.
    """
    for name in params:
        if name not in PARAMETERS:
            raise QueryError(name, f"unknown parameter {name!r}", PARAMETERS)
    until_ns = filters.time("at", params["at"], now_ns) if "at" in params else now_ns
    chosen = _definitions(in_force, params)
    if caller.project is not None:
        only = ("project", (caller.project or DEFAULT_PROJECT,))
        chosen = tuple(replace(each, filters=(*each.filters, only)) for each in chosen)
    # Not one after the other while the answer is written: an error must come before it.
    return iter([_read(evaluate(store, each, until_ns)) for each in chosen])


def _definitions(in_force: InForce, params: Mapping[str, str]) -> tuple[Definition, ...]:
    definitions = in_force()
    if (text := params.get("definitions")) is not None:
        if len(text) > MAX_DEFINITIONS_CHARS:
            raise QueryError("definitions", f"the file of alerts has more than {MAX_DEFINITIONS_CHARS} characters")
        try:
            definitions = read_alerts(text.encode("utf-8", "replace"), "definitions").definitions
        except AlertFileError as error:
            raise QueryError("definitions", str(error)) from error
    if (name := params.get("name")) is None:
        return definitions
    chosen = tuple(each for each in definitions if each.name == name)
    if not chosen:
        raise QueryError("name", f"there is no alert {name!r}", tuple(each.name for each in definitions))
    return chosen


def _read(evaluation: Evaluation) -> Mapping[str, object]:
    definition = evaluation.definition
    return {
        "name": definition.name,
        "severity": definition.severity.value,
        "condition": condition(definition),
        "unit": definition.metric.unit.value,
        "window_end": moment.iso(evaluation.until_ns),
        "is_beyond": evaluation.offenders > 0,
        "offenders": evaluation.offenders,
        "groups_seen": evaluation.groups,
        "for_s": definition.for_s,
        "min_requests": definition.min_requests,
        "groups": [
            {
                "labels": dict(each.labels),
                "value": each.value,
                "threshold": each.threshold,
                "requests": each.requests,
                "is_beyond": each.is_offending,
            }
            for each in evaluation.findings
        ],
    }
