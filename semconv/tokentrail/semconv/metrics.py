"""Names, labels and buckets of the backend's metrics.

All names start with `tokentrail_` and use underscores only, whatever the scraper accepts: the GenAI metric names of
OpenTelemetry still change, and applications may push those themselves. There is never a label for a user, a session, a
trace, a prompt, a response model or a host. (The gauges of an alert that is defined by user show the users beyond its
threshold, a bounded number of them, for as long as they are.)
"""

from enum import StrEnum
from typing import Final

# Labels --------------------------------------------------------------------------------------------------------
SERVICE: Final = "service_name"
ENVIRONMENT: Final = "deployment_environment_name"
OPERATION: Final = "gen_ai_operation_name"
PROVIDER: Final = "gen_ai_provider_name"
MODEL: Final = "gen_ai_request_model"
OUTCOME: Final = "outcome"
"""`ok` or `error`."""
ERROR_TYPE: Final = "error_type"
TOKEN_TYPE: Final = "gen_ai_token_type"  # noqa: S105  # a kind of token, not a secret
REASON: Final = "reason"
DIRECTION: Final = "direction"
"""`increase` or `decrease`."""
TRANSPORT: Final = "transport"
"""`grpc` or `http`."""
CODE: Final = "code"
"""HTTP status or gRPC status name of the answer."""
METRIC: Final = "metric"
ALERT: Final = "alert"
SEVERITY: Final = "severity"
PROJECT: Final = "project"
FEATURE: Final = "feature"
USER: Final = "user"
SESSION: Final = "session"
"""On the gauges of alerts only, and there for groups beyond their threshold only, a bounded number of them."""
SIGNAL: Final = "signal"
"""`traces`, `logs` or `metrics`."""
VERSION: Final = "version"

CALL_LABELS: Final = (SERVICE, ENVIRONMENT, OPERATION, PROVIDER, MODEL)
"""On every metric of model calls; empty where the sender did not say."""

OTHER: Final = "__other__"
"""Label value of what was folded because a metric had `MAX_LABEL_SETS` label sets."""
MAX_LABEL_SETS: Final = 2000
"""Label sets per metric; later ones are folded and counted in `METRIC_OVERFLOW`."""
MAX_LABEL_CHARS: Final = 200
"""Longer label values are cut."""

OK: Final = "ok"
ERROR: Final = "error"
INCREASE: Final = "increase"
DECREASE: Final = "decrease"
TOKEN_TYPES: Final = ("input", "output", "cache_read", "cache_write", "reasoning")
"""Values of `TOKEN_TYPE`. `input` includes `cache_read` and `cache_write`, `output` includes `reasoning`: a sum over
all of them counts some tokens twice."""

# Model calls ---------------------------------------------------------------------------------------------------
REQUESTS: Final = "tokentrail_requests_total"
"""Counter, `CALL_LABELS` and `OUTCOME`."""
REQUEST_ERRORS: Final = "tokentrail_request_errors_total"
"""Counter, `CALL_LABELS` and `ERROR_TYPE`: the failed part of `REQUESTS`, by cause."""
TOKENS: Final = "tokentrail_tokens_total"
"""Counter, `CALL_LABELS` and `TOKEN_TYPE`."""
COST: Final = "tokentrail_cost_usd_total"
"""Counter, USD, `CALL_LABELS`. Calls without a price add nothing here and are in `UNPRICED`."""
UNPRICED: Final = "tokentrail_unpriced_requests_total"
"""Counter, `CALL_LABELS` and `REASON` (a `cost.Reason`)."""
COST_CORRECTION: Final = "tokentrail_cost_correction_usd_total"
"""Counter, USD, `CALL_LABELS` and `DIRECTION`: by how much `tokentrail cost reprice` changed stored costs. `COST` is
not rewound: it says what was counted when the calls were stored."""
CORRECTED: Final = "tokentrail_corrected_requests_total"
"""Counter, `CALL_LABELS`: the calls whose stored cost was changed."""
REQUEST_DURATION: Final = "tokentrail_request_duration_seconds"
"""Histogram, `CALL_LABELS` and `OUTCOME`."""
TIME_TO_FIRST_TOKEN: Final = "tokentrail_time_to_first_token_seconds"  # noqa: S105  # a latency, not a secret
"""Histogram, `CALL_LABELS`; streams only."""
TIME_TO_FIRST_CHUNK: Final = "tokentrail_time_to_first_chunk_seconds"
"""Histogram, `CALL_LABELS`; streams only."""

DURATION_BUCKETS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.0, 20.48, 40.96, 81.92)
"""Upper bounds, seconds: the conventions' 0.01 * 2^n, with 10 for 10.24 so that a threshold of 10 s is exact."""

EXEMPLAR_TRACE: Final = "trace_id"
"""Label of exemplars, by the name that Grafana looks for."""

# The backend itself --------------------------------------------------------------------------------------------
SPANS_RECEIVED: Final = "tokentrail_spans_received_total"
"""Counter: spans in export requests that could be decoded, and so were stored, rejected or sent back."""
SPANS_STORED: Final = "tokentrail_spans_stored_total"
"""Counter: spans that are durable."""
SPANS_REJECTED: Final = "tokentrail_spans_rejected_total"
"""Counter, `REASON`: spans dropped for good (an id that cannot be, or a request that the store refuses)."""
SPANS_RETURNED: Final = "tokentrail_spans_returned_total"
"""Counter, `REASON`: spans answered with a retryable status, so that the sender keeps them and sends them again."""
SPANS_REPEATED: Final = "tokentrail_spans_repeated_total"
"""Counter: spans of a request that was already stored and came again; acknowledged, not stored twice."""
CALLS_LEFT_OUT: Final = "tokentrail_calls_left_out_total"
"""Counter, `REASON`: spans that tell a call which another span of the trace is counted for (`ingest/aggregates.py`)."""
LOG_RECORDS_RECEIVED: Final = "tokentrail_log_records_received_total"
LOG_RECORDS_STORED: Final = "tokentrail_log_records_stored_total"
LOG_RECORDS_REJECTED: Final = "tokentrail_log_records_rejected_total"
LOG_RECORDS_RETURNED: Final = "tokentrail_log_records_returned_total"
LOG_RECORDS_REPEATED: Final = "tokentrail_log_records_repeated_total"
"""Counters of log records, as those of spans."""
METRIC_POINTS_RECEIVED: Final = "tokentrail_metric_points_received_total"
METRIC_POINTS_STORED: Final = "tokentrail_metric_points_stored_total"
METRIC_POINTS_REJECTED: Final = "tokentrail_metric_points_rejected_total"
METRIC_POINTS_RETURNED: Final = "tokentrail_metric_points_returned_total"
METRIC_POINTS_REPEATED: Final = "tokentrail_metric_points_repeated_total"
"""Counters of points of metrics, as those of spans."""
CUT: Final = "tokentrail_cut_total"
"""Counter, `SIGNAL` and `REASON`: attributes, keys, values, events, links and exemplars that were left out or shortened
because there were too many of them, or they were too long."""
LATE_SPANS: Final = "tokentrail_late_spans_total"
"""Counter: model calls that ended more than `LATE_AFTER_S` before they arrived; stored, but in no call metric."""
EXPORT_REQUESTS: Final = "tokentrail_export_requests_total"
"""Counter, `TRANSPORT` and `CODE`."""
QUEUE_SPANS: Final = "tokentrail_queue_spans"
QUEUE_CAPACITY_SPANS: Final = "tokentrail_queue_capacity_spans"
QUEUE_BYTES: Final = "tokentrail_queue_bytes"
QUEUE_CAPACITY_BYTES: Final = "tokentrail_queue_capacity_bytes"
"""Gauges: what waits to be committed, and how much may."""
JOURNAL_BYTES: Final = "tokentrail_journal_bytes"
JOURNAL_CAPACITY_BYTES: Final = "tokentrail_journal_capacity_bytes"
"""Gauges: what is in the write-ahead log, and how much may be; not there without one."""
STORE_WRITE_ERRORS: Final = "tokentrail_store_write_errors_total"
"""Counter, `REASON`: `unavailable` (sent back) or `refused`."""
LAST_SPAN_TIMESTAMP: Final = "tokentrail_last_span_timestamp_seconds"
"""Gauge, seconds since the epoch: when a span was last stored, 0 before the first."""
PRICE_FILE_LOADED: Final = "tokentrail_price_file_last_reload_successful"
"""Gauge: 0 while the price file has errors and older prices are in force; not there without a price file."""
PRICE_FILE_TIMESTAMP: Final = "tokentrail_price_file_last_reload_success_timestamp_seconds"
"""Gauge, seconds since the epoch: when the price file that is in force was read."""
ALERT_VALUE: Final = "tokentrail_alert_value"
"""Gauge, `ALERT`, `SEVERITY` and a label for each dimension that the alert is grouped by: what the definition measures,
over its window, exactly; in seconds, USD, a fraction or a count."""
ALERT_REQUESTS: Final = "tokentrail_alert_requests"
"""Gauge, labels as `ALERT_VALUE`: the calls that the value is made of."""
ALERT_THRESHOLD: Final = "tokentrail_alert_threshold"
"""Gauge, labels as `ALERT_VALUE`: what the value is compared with, in its unit."""
ALERT_OFFENDERS: Final = "tokentrail_alert_offenders"
"""Gauge, `ALERT` and `SEVERITY`: groups beyond their threshold, those too many to be series as well."""
ALERT_EVALUATION_TIMESTAMP: Final = "tokentrail_alert_evaluation_timestamp_seconds"
"""Gauge, `ALERT`, seconds since the epoch: the end of the window of the last evaluation that succeeded."""
ALERT_EVALUATION_INTERVAL: Final = "tokentrail_alert_evaluation_interval_seconds"
"""Gauge, `ALERT`: how often it is evaluated."""
ALERT_EVALUATION_DURATION: Final = "tokentrail_alert_evaluation_duration_seconds"
"""Gauge, `ALERT`: how long the last evaluation took."""
ALERT_EVALUATION_FAILURES: Final = "tokentrail_alert_evaluation_failures_total"
"""Counter, `ALERT`: evaluations that the store did not answer."""
ALERT_FILE_LOADED: Final = "tokentrail_alert_file_last_reload_successful"
"""Gauge: 0 while the file of alerts has errors and those of before are in force; not there without a file."""
AUTH_FAILURES: Final = "tokentrail_auth_failures_total"
"""Counter, `REASON`: requests refused for their key: `missing`, `malformed`, `unknown`, or `forbidden` to its role."""
AUTH_FAILURE_REASONS: Final = ("missing", "malformed", "unknown", "forbidden")
SQL_QUERIES: Final = "tokentrail_sql_queries_total"
"""Counter, `OUTCOME` (`SqlOutcome`): statements that came to `/clickhouse` with a key that may read."""


class SqlOutcome(StrEnum):
    """What became of a statement."""

    OK = "ok"
    REFUSED = "refused"
    """By what it asks for: to write, a file, a table that is not readable."""
    INVALID = "invalid"
    """It cannot be understood, or names what does not exist."""
    LIMITED = "limited"
    """It took too much time, memory or space, or found too many others running."""
    CANCELLED = "cancelled"
    """Its client left, or the backend stopped."""
    FAILED = "failed"


KEYS_FILE_LOADED: Final = "tokentrail_keys_file_last_reload_successful"
"""Gauge: 0 while the file of keys has errors and older keys are in force; not there without keys."""
KEYS_FILE_TIMESTAMP: Final = "tokentrail_keys_file_last_reload_success_timestamp_seconds"
"""Gauge, seconds since the epoch: when the keys that are in force were read."""
TLS_FILES_LOADED: Final = "tokentrail_tls_files_last_reload_successful"
"""Gauge: 0 while files of TLS do not fit together and older ones are in force; not there without TLS."""
TLS_FILES_TIMESTAMP: Final = "tokentrail_tls_files_last_reload_success_timestamp_seconds"
"""Gauge, seconds since the epoch: when the certificate that is in force was read."""
METRIC_OVERFLOW: Final = "tokentrail_metric_overflow_total"
"""Counter, `METRIC`: updates folded into `OTHER`."""
BUILD_INFO: Final = "tokentrail_build_info"
"""Gauge, always 1, `VERSION`."""
PREFIX: Final = "tokentrail"
"""Of all names; prometheus_client makes those below of it, where the system is Linux."""
PROCESS_START: Final = "tokentrail_process_start_time_seconds"
"""Gauge, seconds since the epoch."""
PROCESS_CPU: Final = "tokentrail_process_cpu_seconds_total"
"""Counter, user and system time."""
PROCESS_RESIDENT: Final = "tokentrail_process_resident_memory_bytes"
PROCESS_VIRTUAL: Final = "tokentrail_process_virtual_memory_bytes"
PROCESS_FILES: Final = "tokentrail_process_open_fds"
PROCESS_MAX_FILES: Final = "tokentrail_process_max_fds"
"""Gauges: memory, open file descriptors and how many there may be."""

LATE_AFTER_S: Final = 600
"""Counters say when, and Prometheus cannot be told: an import of old spans must not look like traffic of now."""
