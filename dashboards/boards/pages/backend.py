"""The backend itself: whether it takes what is sent, stores it, evaluates the alerts, and has room to go on.

What a rule over the backend (`alerts/backend_rules.yaml`) compares is a number in the first line, with its threshold.
"""

from collections.abc import Sequence
from typing import Final

from boards import link
from boards.board import Board, Placed, Section
from boards.pages.stored import ROWS
from boards.panel import BYTES, COUNT, NONE, PER_SECOND, RED, SECONDS, SHARE, YELLOW, Column, lines, stat, table
from boards.query import Prom
from tokentrail.semconv import metrics

_YES_NO: Final = "bool_yes_no"
_JOB: Final = '{job=~"$job"}'
_BACKENDS: Final = f"and on (job, instance) {metrics.BUILD_INFO}{_JOB}"
"""Leaves the backend's of what every scraped process has: `$job` may stand for all jobs."""
_NEWEST_CALLS: Final = (
    "Newest calls",
    link.to(link.REQUESTS, "env", "service", "provider", "model", "operation", "project"),
)


def _rate(metric: str, *by: str) -> str:
    """How many a second, of all backends together."""
    return f"sum {_by(by)}(rate({metric}{_JOB}[$__rate_interval]))"


def _by(labels: Sequence[str]) -> str:
    return f"by ({', '.join(labels)}) " if labels else ""


def _or_none(expression: str, label: str = "") -> str:
    """`expression`, or 0 (with "none" as `label`) while it has no series: what never happened has none."""
    zero = _named("vector(0)", label, "none") if label else "vector(0)"
    return f"{expression} or on () {zero}"


def _grown(metric: str, *by: str) -> str:
    """By how much a counter of rare things grew within the last minute or so."""
    return _or_none(f"sum {_by(by)}(increase({metric}{_JOB}[$__rate_interval]))", by[0] if by else "")


def _named(expression: str, label: str, value: str) -> str:
    """`expression` with a label of that value."""
    return f'label_replace({expression}, "{label}", "{value}", "", "")'


def _fill(used: str, capacity: str) -> str:
    """The share of a room that is used, for each backend."""
    return f"{used}{_JOB} / ({capacity}{_JOB} > 0)"


_ROOMS: Final = {
    "waiting spans": _fill(metrics.QUEUE_SPANS, metrics.QUEUE_CAPACITY_SPANS),
    "waiting bytes": _fill(metrics.QUEUE_BYTES, metrics.QUEUE_CAPACITY_BYTES),
    "journal": _fill(metrics.JOURNAL_BYTES, metrics.JOURNAL_CAPACITY_BYTES),
}
_LOADED: Final = {
    "prices": metrics.PRICE_FILE_LOADED,
    "alerts": metrics.ALERT_FILE_LOADED,
    "keys": metrics.KEYS_FILE_LOADED,
    "TLS": metrics.TLS_FILES_LOADED,
}
_READ_AT: Final = {
    "prices": metrics.PRICE_FILE_TIMESTAMP,
    "keys": metrics.KEYS_FILE_TIMESTAMP,
    "TLS": metrics.TLS_FILES_TIMESTAMP,
}
_ANY_NAME: Final = "|".join(_LOADED.values())

_UP = stat(
    "Up",
    "Whether Prometheus reaches every backend that it reached within the last day. If not, LLMBackendDown fires after "
    "2 minutes.",
    Prom(
        f"min(up{_JOB} and on (job, instance) last_over_time({metrics.BUILD_INFO}{_JOB}[1d])) or vector(0)",
        "up",
        instant=True,
    ),
    _YES_NO,
    steps=((1, "green"),),
    base=RED,
)
_LAST_SPAN = stat(
    "Since the last span",
    "How long ago a span was last stored, by any backend. Yellow from 15 minutes, as LLMNoTelemetry.",
    Prom(
        f"time() - max(max_over_time({metrics.LAST_SPAN_TIMESTAMP}{_JOB}[1d]) > 0)", "since the last span", instant=True
    ),
    SECONDS,
    steps=((900, YELLOW),),
    base="green",
    link=_NEWEST_CALLS,
)
_SENT_BACK = stat(
    "Spans sent back",
    "Of the spans of the last 5 minutes, the share that was sent back to be sent again. Yellow from 1 %, as "
    "LLMIngestRejecting.",
    Prom(
        f"sum(rate({metrics.SPANS_RETURNED}{_JOB}[5m])) / (sum(rate({metrics.SPANS_RECEIVED}{_JOB}[5m])) > 0) "
        "or vector(0)",
        "sent back",
        instant=True,
    ),
    SHARE,
    decimals=1,
    steps=((0.01, YELLOW),),
    base="green",
)
_FULLEST = stat(
    "Fullest room",
    "The queue or the journal, whichever is fuller, of the backend that has least room left. Yellow from 80 %, as "
    "LLMIngestQueueFilling.",
    Prom("max(" + " or ".join(_named(fill, "room", room) for room, fill in _ROOMS.items()) + ")", "used", instant=True),
    SHARE,
    decimals=0,
    steps=((0.8, YELLOW),),
    base="green",
)
_WRITE_ERRORS = stat(
    "Failed writes",
    "Writes to the store that failed within the last 5 minutes. Any is red, as LLMStoreWriteErrors.",
    Prom(f"sum(increase({metrics.STORE_WRITE_ERRORS}{_JOB}[5m])) or vector(0)", "failed writes", instant=True),
    COUNT,
    decimals=0,
    steps=((0.001, RED),),
    base="green",
)
_LOST = stat(
    "Spans dropped",
    "Spans that were dropped for good within the last 15 minutes. Any is red, as LLMTelemetryLoss.",
    Prom(
        f"sum((increase({metrics.SPANS_REJECTED}{_JOB}[15m]) > 0) or "
        f"({metrics.SPANS_REJECTED}{_JOB} unless {metrics.SPANS_REJECTED}{_JOB} offset 15m)) or vector(0)",
        "dropped",
        instant=True,
    ),
    COUNT,
    decimals=0,
    steps=((0.001, RED),),
    base="green",
)
_OVERDUE = stat(
    "Alerts overdue",
    "Alerts that were not evaluated for three of their intervals and two minutes: they would not fire. Any is red, as "
    "LLMAlertsNotEvaluated.",
    Prom(
        f"count((time() - max by (alert) ({metrics.ALERT_EVALUATION_TIMESTAMP}{_JOB})) "
        f"> 3 * max by (alert) ({metrics.ALERT_EVALUATION_INTERVAL}{_JOB}) + 120) or vector(0)",
        "overdue",
        instant=True,
    ),
    COUNT,
    steps=((1, RED),),
    base="green",
)
_BROKEN_FILES = stat(
    "Files with errors",
    "Files of prices, alerts, keys or TLS that have errors, so that the version of before is in force. Any is yellow, "
    "as LLMFileNotLoaded.",
    Prom(f'count({{__name__=~"{_ANY_NAME}", job=~"$job"}} == 0) or vector(0)', "with errors", instant=True),
    COUNT,
    steps=((1, YELLOW),),
    base="green",
)
_SPANS = lines(
    "Spans per second",
    "Every span that is received is stored, came before (repeated), is sent back or dropped. Stored follows received "
    "within a second or two.",
    [
        Prom(_rate(metrics.SPANS_RECEIVED), "received"),
        Prom(_rate(metrics.SPANS_STORED), "stored"),
        Prom(_rate(metrics.SPANS_REPEATED), "repeated"),
        Prom(_or_none(_rate(metrics.SPANS_RETURNED)), "sent back"),
        Prom(_or_none(_rate(metrics.SPANS_REJECTED)), "dropped"),
    ],
    NONE,
    columns=[Column("dropped", color="red"), Column("sent back", color="orange")],
)
_OTHER_SIGNALS = lines(
    "Log records and points of metrics per second",
    "The same of the other two signals.",
    [
        Prom(_rate(metrics.LOG_RECORDS_RECEIVED), "logs received"),
        Prom(_rate(metrics.LOG_RECORDS_STORED), "logs stored"),
        Prom(_rate(metrics.LOG_RECORDS_REPEATED), "logs repeated"),
        Prom(_rate(metrics.METRIC_POINTS_RECEIVED), "points received"),
        Prom(_rate(metrics.METRIC_POINTS_STORED), "points stored"),
        Prom(_rate(metrics.METRIC_POINTS_REPEATED), "points repeated"),
    ],
    NONE,
)
_NOT_STORED = lines(
    "Sent back and dropped, by reason",
    "What was sent back is sent again by its sender and not lost; what was dropped is. Of all signals, a second.",
    [
        Prom(_or_none(_rate(metrics.SPANS_RETURNED, "reason"), "reason"), "spans sent back: {{reason}}"),
        Prom(_or_none(_rate(metrics.SPANS_REJECTED, "reason"), "reason"), "spans dropped: {{reason}}"),
        Prom(_or_none(_rate(metrics.LOG_RECORDS_RETURNED, "reason"), "reason"), "logs sent back: {{reason}}"),
        Prom(_or_none(_rate(metrics.LOG_RECORDS_REJECTED, "reason"), "reason"), "logs dropped: {{reason}}"),
        Prom(_or_none(_rate(metrics.METRIC_POINTS_RETURNED, "reason"), "reason"), "points sent back: {{reason}}"),
        Prom(_or_none(_rate(metrics.METRIC_POINTS_REJECTED, "reason"), "reason"), "points dropped: {{reason}}"),
    ],
    NONE,
)
_EXPORTS = lines(
    "Export requests",
    "Requests of senders by transport and by what was answered: 200 and OK are the good ones, 429, 503 and UNAVAILABLE "
    "are sent again.",
    Prom(_rate(metrics.EXPORT_REQUESTS, "transport", "code"), "{{transport}} {{code}}"),
    PER_SECOND,
    stacked=True,
)
_ROOM = lines(
    "Room",
    "How full queue and journal are, in the backend where each is fullest. Beyond 80 % for long, the store is slower "
    "than what comes in.",
    [Prom(f"max({fill})", room) for room, fill in _ROOMS.items()],
    SHARE,
    maximum=1,
)
_ERRORS = lines(
    "Errors of the store",
    "Writes that failed, by reason, and evaluations of alerts that the store did not answer. A point counts about a "
    "minute.",
    [
        Prom(_grown(metrics.STORE_WRITE_ERRORS, "reason"), "write: {{reason}}"),
        Prom(_grown(metrics.ALERT_EVALUATION_FAILURES), "evaluations of alerts"),
    ],
    COUNT,
)
_REFUSED = lines(
    "Requests refused for their key",
    "By what is wrong with it: missing, malformed, unknown, or forbidden to its role. A point counts about a minute.",
    Prom(_grown(metrics.AUTH_FAILURES, "reason"), "{{reason}}"),
    COUNT,
)
_SQL = lines(
    "Statements at /clickhouse",
    "SQL that Grafana and others ask, a second, by what became of it: refused is what may not be asked, limited what "
    "took too long or too much.",
    Prom(_rate(metrics.SQL_QUERIES, "outcome"), "{{outcome}}"),
    PER_SECOND,
    stacked=True,
)
_LEFT_OUT = lines(
    "Calls counted elsewhere, and late ones",
    "Spans that tell a call which another span is counted for, by reason, and calls that came over 10 minutes after "
    "they ended: those are stored, but in no counter. A point counts about a minute.",
    [
        Prom(_grown(metrics.CALLS_LEFT_OUT, "reason"), "left out: {{reason}}"),
        Prom(_grown(metrics.LATE_SPANS), "late"),
    ],
    COUNT,
)
_CUT = lines(
    "Cut, and folded",
    "Attributes and other parts that were left out or shortened beyond the limits, by signal and reason, and updates "
    "of a metric that has too many label sets. A point counts about a minute.",
    [
        Prom(_grown(metrics.CUT, "reason", "signal"), "cut: {{reason}} {{signal}}"),
        Prom(_grown(metrics.METRIC_OVERFLOW, "metric"), "folded: {{metric}}"),
    ],
    COUNT,
)
_LAG = lines(
    "Since an alert was evaluated",
    "For each alert, how long ago. It should go up and down between nothing and the interval of the alert.",
    Prom(f"time() - (max by (alert) ({metrics.ALERT_EVALUATION_TIMESTAMP}{_JOB}) > 0)", "{{alert}}"),
    SECONDS,
)
_DURATION = lines(
    "How long evaluations take",
    "The last evaluation of each alert. Those of long windows over many calls take longest.",
    Prom(f"max by (alert) ({metrics.ALERT_EVALUATION_DURATION}{_JOB})", "{{alert}}"),
    SECONDS,
)


def _files(each: dict[str, str], template: str, without: str) -> Prom:
    """One value for each file: `template` with the metric for `{}`; `without` where none is configured."""
    values = [_named(template.format(f"{metric}{_JOB}"), "file", name) for name, metric in each.items()]
    none = _named(f"vector({without})", "file", "none is configured")
    return Prom(f"({' or '.join(values)}) or on () {none}", "{{file}}", instant=True)


_FILES = stat(
    "Files in force",
    "Whether each file that is configured is in force as it is now. No: it has errors, the log says which.",
    _files(_LOADED, "min({})", "1"),
    _YES_NO,
    steps=((1, "green"),),
    base=RED,
)
_FILE_AGES = stat(
    "Since files were read",
    "How long ago the version that is in force was read. A file is read again within seconds when it changes.",
    _files(_READ_AT, "time() - min({})", "0"),
    SECONDS,
)
_VERSIONS = table(
    "Backends",
    "Each backend with its version, and how long it has been running.",
    Prom(
        f"sum by (instance, version) ((time() - {metrics.PROCESS_START}{_JOB}) "
        f"* on (job, instance) group_left (version) {metrics.BUILD_INFO}{_JOB})",
        instant=True,
        table=True,
    ),
    [
        Column("Time", hidden=True),
        Column("instance", "Backend"),
        Column("version", "Version"),
        Column("Value", "Running for", SECONDS),
    ],
)
_MEMORY = lines(
    "Memory",
    "Resident memory of each backend, the embedded ClickHouse included.",
    Prom(f"{metrics.PROCESS_RESIDENT}{_JOB}", "{{instance}}"),
    BYTES,
)
_CPU = lines(
    "Processors",
    "How many processors each backend keeps busy, the embedded ClickHouse included.",
    Prom(f"sum by (instance) (rate({metrics.PROCESS_CPU}{_JOB}[$__rate_interval]))", "{{instance}}"),
    NONE,
)
_SERIES = lines(
    "Series in a scrape",
    "How many series Prometheus gets from each backend; what goes beyond the limit of a metric is folded.",
    Prom(f"scrape_samples_post_metric_relabeling{_JOB} {_BACKENDS}", "{{instance}}"),
    COUNT,
)

BOARD = Board(
    uid="tokentrail-backend",
    title="LLM / Backend health",
    description="Whether the backend takes what is sent, stores it and evaluates the alerts, and how much room it has.",
    filters=False,
    annotated=False,
    sections=(
        Section(
            "",
            tuple(
                Placed(panel, 3, 4)
                for panel in (
                    _UP,
                    _LAST_SPAN,
                    _SENT_BACK,
                    _FULLEST,
                    _WRITE_ERRORS,
                    _LOST,
                    _OVERDUE,
                    _BROKEN_FILES,
                )
            ),
        ),
        Section(
            "What comes in",
            (Placed(_SPANS), Placed(_NOT_STORED), Placed(_OTHER_SIGNALS), Placed(_EXPORTS)),
        ),
        Section("Room and errors", (Placed(_ROOM, 6), Placed(_ERRORS, 6), Placed(_REFUSED, 6), Placed(_SQL, 6))),
        Section("What is left out", (Placed(_LEFT_OUT), Placed(_CUT))),
        Section(
            "Alerts and files",
            (
                Placed(_LAG),
                Placed(_DURATION),
                Placed(_FILES, 8, 5),
                Placed(_FILE_AGES, 8, 5),
                Placed(_VERSIONS, 8, 5),
            ),
        ),
        Section("Processes", (Placed(_MEMORY, 8), Placed(_CPU, 8), Placed(_SERIES, 8))),
        Section("What is stored", (Placed(ROWS, 24, 9),)),
    ),
    guide="""
Every number in the first line is what one of the alerts over the backend compares, in its colour: all green is well. If
one is not, the lines below have the time it began: *What comes in* for spans that are sent back or dropped, *Room and
errors* for a store that is too slow or away, *Alerts and files* for alerts that are not evaluated and files that are
not in force.

* What is **sent back** is not lost: senders keep it and send it again. What is **dropped** is.
* Counters of the backend begin at nothing when it starts.
* The numbers are Prometheus', but for *What is stored*.
""",
)
