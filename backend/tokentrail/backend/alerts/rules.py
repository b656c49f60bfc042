"""The Prometheus rule file: rules that only compare what the backend measured, and rules over the backend itself.

    max without (alert, instance) (tokentrail_alert_value{alert="X"})
    > max without (alert, instance) (tokentrail_alert_threshold{alert="X"})
    and max without (alert, instance) (tokentrail_alert_requests{alert="X"}) >= 10

Several backends over one store say the same: `without (instance)` makes one alert of it. Pure: definitions in, text
out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Final
from urllib.parse import quote

from tokentrail.backend.alerts.definition import FEATURE, PROPERTY, AlertSet, Definition, Links
from tokentrail.backend.alerts.label import label_of
from tokentrail.backend.alerts.metric import SUM, Unit
from tokentrail.backend.alerts.quantity import readable, short
from tokentrail.semconv import metrics

BACKEND_RULES: Final = "backend_rules.yaml"
DASHBOARD: Final = "tokentrail-requests"
"""Uid of the dashboard that lists calls; its variables are `VARIABLES`."""
VARIABLES: Final[Mapping[str, str]] = {
    "environment": "env",
    "service": "service",
    "provider": "provider",
    "model": "model",
    "operation": "operation",
    "project": "project",
    "user": "user",
    "session": "session",
    FEATURE: "feature",
}
"""The dashboard's variable for each dimension. A property has `property` and `property_value`; `status` is `error` and
`unpriced` is `1` where an alert is about those calls alone."""
HEADER: Final = "# Rendered by `tokentrail alerts render`: change the alerts, not this file.\n"

_TEMPLATES: Final[Mapping[Unit, str]] = {
    Unit.RATIO: "{{ $value | humanizePercentage }}",
    Unit.USD: '${{ $value | printf "%.2f" }}',
    Unit.SECONDS: "{{ $value | humanizeDuration }}",
    Unit.COUNT: "{{ $value | humanize }}",
}


def render(alerts: AlertSet) -> str:
    """The rule file of `alerts`, with the rules over the backend itself."""
    text = [HEADER, "groups:\n", "- name: tokentrail-alerts\n  rules:\n"]
    text += [_rule(definition, alerts.links) for definition in alerts.definitions]
    backend = files("tokentrail.backend.alerts").joinpath(BACKEND_RULES).read_text(encoding="utf-8")
    for name, link in (("runbook", alerts.links.runbook), ("grafana", alerts.links.grafana)):
        backend = backend.replace(f"${{{name}}}", link.replace("'", "''"))
    text.append(backend)
    return "".join(text if alerts.definitions else [HEADER, "groups:\n", text[-1]])


def expression(definition: Definition) -> str:
    """The condition of an alert."""
    value, threshold, requests = (
        f'max without (alert, instance) ({name}{{alert="{definition.name}"}})'
        for name in (metrics.ALERT_VALUE, metrics.ALERT_THRESHOLD, metrics.ALERT_REQUESTS)
    )
    sign = "<" if definition.is_below else ">"
    lines = [value, f"{sign} {threshold}"]
    if definition.min_requests:
        lines.append(f"and {requests} >= {definition.min_requests}")
    return "\n".join(lines)


def condition(definition: Definition) -> str:
    """What an alert warns of, in words."""
    parts = [_measured(definition)]
    parts.append("below" if definition.is_below else "above")
    parts.append(_limits(definition))
    parts.append(f"over {short(definition.window_s)}")
    if definition.confirm_s:
        parts.append(f"and over the last {short(definition.confirm_s)}")
    text = " ".join(parts)
    if definition.min_requests:
        text += f", with at least {definition.min_requests} calls"
    return text


def _rule(definition: Definition, links: Links) -> str:
    lines = [f"  - alert: {definition.name}", "    expr: |"]
    lines += [f"      {line}" for line in expression(definition).split("\n")]
    if definition.for_s:
        lines.append(f"    for: {short(definition.for_s)}")
    if definition.keep_firing_s:
        lines.append(f"    keep_firing_for: {short(definition.keep_firing_s)}")
    lines += ["    labels:", f"      severity: {definition.severity.value}", "      component: llm"]
    lines += [f"      signal: {definition.metric.name}", "    annotations:"]
    lines += [f"      {name}: {_quoted(text)}" for name, text in _annotations(definition, links)]
    return "\n".join(lines) + "\n"


def _annotations(definition: Definition, links: Links) -> Iterator[tuple[str, str]]:
    yield "summary", definition.summary or _summary(definition)
    description = f"{condition(definition)}."
    yield "description", f"{definition.description} {description}".strip()
    yield "runbook_url", definition.runbook or f"{links.runbook}#{definition.name.lower()}"
    yield "dashboard_url", _dashboard_url(definition, links)
    yield from definition.annotations.items()


def _summary(definition: Definition) -> str:
    text = f"{_measured(definition)} {_TEMPLATES[definition.metric.unit]} over {short(definition.window_s)}"
    groups = [f"{_named(dimension)} {_label(dimension)}" for dimension in definition.group_by]
    limit = "below" if definition.is_below else "above"
    return f"{text}{' for ' if groups else ''}{', '.join(groups)} ({limit} {_limits(definition)})"


def _measured(definition: Definition) -> str:
    """`Error rate`, `Latency p95`."""
    title, kind = definition.metric.title, definition.aggregation.kind
    return title if kind in (SUM, "rate") else f"{title} {definition.aggregation.label}"


def _limits(definition: Definition) -> str:
    unit = definition.metric.unit
    by_value: dict[float, list[str]] = {}
    for environment, threshold in definition.thresholds.items():
        by_value.setdefault(threshold, []).append(environment)
    if len(by_value) == 1:
        limits = readable(next(iter(by_value)), unit)
    else:
        limits = ", ".join(f"{readable(value, unit)} in {'/'.join(names)}" for value, names in by_value.items())
    past = definition.comparison
    if past is None:
        return limits
    what = [f"{past.times:g} times" if past.times is not None else ""]
    what.append(f"{past.deviations:g} deviations from" if past.deviations is not None else "")
    return f"{limits} and {' and '.join(filter(None, what))} the {short(past.span_s)} before"


def _named(dimension: str) -> str:
    return dimension.removeprefix(PROPERTY)


def _label(dimension: str) -> str:
    return f"{{{{ $labels.{label_of(dimension)} }}}}"


def _dashboard_url(definition: Definition, links: Links) -> str:
    """The calls that the value is made of: those of the window that was looked at, of the group that fires."""
    end = f'max({metrics.ALERT_EVALUATION_TIMESTAMP}{{alert="{definition.name}"}})'
    start = f"{end} - {definition.window_s}"
    parts = [f"from={_milliseconds(start)}", f"to={_milliseconds(end)}"]
    fixed = {dimension: values for dimension, values in definition.filters if dimension not in definition.group_by}
    for dimension, values in fixed.items():
        parts += [_variable(dimension, quote(value, safe="")) for value in values]
    parts += [_variable(each, f"{{{{ $labels.{label_of(each)} | urlquery }}}}") for each in definition.group_by]
    parts += {"error_rate": ["var-status=error"], "unpriced": ["var-unpriced=1"]}.get(definition.metric.name, [])
    return f"{links.grafana}/d/{DASHBOARD}?" + "&".join(parts)


def _variable(dimension: str, value: str) -> str:
    if dimension.startswith(PROPERTY):
        return f"var-property={quote(_named(dimension), safe='')}&var-property_value={value}"
    return f"var-{VARIABLES[dimension]}={value}"


def _milliseconds(expression: str) -> str:
    """A template that is the value of `expression` (seconds) in milliseconds, and nothing where it has none."""
    query = f"({expression}) * 1000".replace("\\", "\\\\").replace('"', '\\"')
    return f'{{{{ with query "{query}" }}}}{{{{ . | first | value | printf "%.0f" }}}}{{{{ end }}}}'


def _quoted(text: str) -> str:
    """A YAML scalar in single quotes, on one line."""
    return "'" + re.sub(r"\s+", " ", text).replace("'", "''") + "'"


def alert_names(rule_file: str) -> Iterable[str]:
    """The alerts of a rule file as `render` writes it, in their order."""
    return re.findall(r"^ *- alert: (\w+)$", rule_file, re.MULTILINE)
