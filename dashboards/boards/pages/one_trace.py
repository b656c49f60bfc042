"""Panels about one trace: its spans, calls and logs, and what was written.

They do not depend on the time of the dashboard, since links from exemplars bring a trace and no time: when a trace was
is looked up. A trace without spans (of calls that only events told) is looked for in the time of the dashboard.
"""

from boards import link
from boards.calls import typed
from boards.panel import COUNT, SECONDS, SHARE, TIME, USD, Column, logs, table, trace
from boards.query import Shape, Sql
from tokentrail.backend.query.filter import MODEL

_TIME_OF_TRACE = f"""WITH {typed("trace")} AS chosen,
    (SELECT if(count() = 0, $__fromTime, min(Start)) FROM otel_traces_trace_id_ts WHERE TraceId = chosen) AS first,
    (SELECT if(count() = 0, $__toTime, max(End)) + INTERVAL 1 SECOND FROM otel_traces_trace_id_ts
        WHERE TraceId = chosen) AS last"""
_OF_TRACE = "TraceId = chosen AND chosen != '' AND Timestamp >= first AND Timestamp <= last"
_LOGS_AROUND = (
    "TraceId = chosen AND chosen != '' AND Timestamp >= first - INTERVAL 1 MINUTE "
    "AND Timestamp <= last + INTERVAL 1 HOUR"
)
"""What is said of a span is said when it ends, or later."""


def _pairs(attributes: str) -> str:
    """SQL: a map as the trace view takes it, an array of maps with `key` and `value`."""
    return f"arrayMap(key -> map('key', key, 'value', {attributes}[key]), mapKeys({attributes}))"


def said(column: str) -> str:
    """SQL: messages, or parts of one (JSON in the conventions' format) as text, one below the other.

    Parts that are no text, such as tool calls, stay JSON, as does what is in no such format.
    """
    part = "if(JSONExtractString(part, 'content') != '', JSONExtractString(part, 'content'), part)"
    parts = f"arrayStringConcat(arrayMap(part -> {part}, JSONExtractArrayRaw(message, 'parts')), '\\n')"
    whole = f"concat(JSONExtractString(message, 'role'), ': ', {parts})"
    message = f"if(JSONHas(message, 'parts'), {whole}, {part.replace('part', 'message')})"
    text = f"arrayStringConcat(arrayMap(message -> {message}, JSONExtractArrayRaw({column})), '\\n\\n')"
    return f"substringUTF8(if({text} != '', {text}, {column}), 1, 20000)"


WATERFALL = trace(
    "Spans of the trace",
    "Every span of the chosen trace, those of the application and of its model calls, as they followed each other. "
    "Failed ones are marked; click one for all that is known of it.",
    Sql(
        f"""{_TIME_OF_TRACE}
SELECT TraceId AS traceID, SpanId AS spanID, ParentSpanId AS parentSpanID, ServiceName AS serviceName,
    SpanName AS operationName, toUnixTimestamp64Nano(Timestamp) / 1e6 AS startTime, Duration / 1e6 AS duration,
    {_pairs("SpanAttributes")} AS tags,
    {_pairs("ResourceAttributes")} AS serviceTags,
    if(StatusCode IN ('Error', 'STATUS_CODE_ERROR'), 2, 0) AS statusCode,
    StatusMessage AS statusMessage, SpanKind AS kind, TraceState AS traceState,
    ScopeName AS instrumentationLibraryName, ScopeVersion AS instrumentationLibraryVersion,
    arrayMap(
        (name, at, attributes) -> CAST(
            (name, toString(toUnixTimestamp64Milli(at)), {_pairs("attributes")}),
            'Tuple(name String, timestamp String, fields Array(Map(String, String)))'
        ),
        Events.Name, Events.Timestamp, Events.Attributes
    ) AS logs,
    arrayMap(
        (trace, span, attributes) -> CAST(
            (trace, span, {_pairs("attributes")}),
            'Tuple(traceID String, spanID String, tags Array(Map(String, String)))'
        ),
        Links.TraceId, Links.SpanId, Links.Attributes
    ) AS references
FROM otel_traces WHERE {_OF_TRACE}
ORDER BY Timestamp LIMIT 5000
""",
        Shape.TRACE,
    ),
)
CALLS = table(
    "Model calls of the trace",
    "Each call that is billed, in the order they began, and its share of what the trace cost. A call without a price "
    "shows no cost.",
    Sql(
        f"""{_TIME_OF_TRACE}
SELECT (toUnixTimestamp64Nano(Timestamp) - toUnixTimestamp64Nano(min(Timestamp) OVER ())) / 1e9 AS after,
    SpanId AS span, if(SessionPath != '', SessionPath, Service) AS path, Operation AS operation, Provider AS provider,
    {MODEL} AS model, InputTokens AS input_tokens, OutputTokens AS output_tokens, toFloat64(CostUsd) AS usd,
    usd / nullIf(sum(ifNull(usd, 0)) OVER (), 0) AS share, DurationNs / 1e9 AS seconds, TtftNs / 1e9 AS ttft,
    ifNull(toString(StatusCode), if(ErrorType = '', 'ok', 'none')) AS status, ErrorType AS error_type,
    SessionId AS session, UserId AS user
FROM llm_requests WHERE {_OF_TRACE}
ORDER BY Timestamp, SpanId LIMIT 500
"""
    ),
    [
        Column("after", "After", SECONDS),
        Column("span", "Span"),
        Column("path", "Path or service"),
        Column("operation", "Operation"),
        Column("provider", "Provider"),
        Column("model", "Model"),
        Column("input_tokens", "Input", COUNT),
        Column("output_tokens", "Output", COUNT),
        Column("usd", "Cost", USD),
        Column("share", "of the trace", SHARE, gauge=True),
        Column("seconds", "Duration", SECONDS),
        Column("ttft", "First token", SECONDS),
        Column("status", "Status"),
        Column("error_type", "Error"),
        Column("session", "Session", link=("Session", link.to("tokentrail-sessions", session=link.VALUE))),
        Column("user", "User", link=("User", link.to("tokentrail-users", user=link.VALUE))),
    ],
)
LOGS = logs(
    "Logs of the trace",
    "Log records and events that were sent with the id of the chosen trace. Events without a text show their name.",
    Sql(
        f"""{_TIME_OF_TRACE}
SELECT Timestamp AS timestamp, if(Body != '', Body, EventName) AS body, SeverityText AS level, TraceId AS traceID,
    SpanId AS spanID, LogAttributes AS labels
FROM otel_logs WHERE {_LOGS_AROUND}
ORDER BY Timestamp LIMIT 1000
""",
        Shape.LOGS,
    ),
)
CONTENTS = table(
    "What was written in the trace",
    "System prompt, messages and answers of each call, where the application captures them and as long as they are "
    "kept. Long texts are cut after 20,000 characters.",
    Sql(
        f"""{_TIME_OF_TRACE}
SELECT Timestamp AS begun, SpanId AS span, {said("InputMessages")} AS input, {said("OutputMessages")} AS output,
    {said("System")} AS system, substringUTF8(Tools, 1, 20000) AS tools
FROM llm_contents WHERE {_OF_TRACE}
ORDER BY Timestamp, SpanId LIMIT 1 BY SpanId LIMIT 100
"""
    ),
    [
        Column("begun", "Time", TIME, width=200),
        Column("span", "Span", width=150),
        Column("input", "Prompt"),
        Column("output", "Answer"),
        Column("system", "System prompt"),
        Column("tools", "Tools"),
    ],
)
