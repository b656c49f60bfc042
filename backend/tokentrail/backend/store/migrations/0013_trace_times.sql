-- When a trace was, by project: ids of traces are chosen by their senders, and two projects can have the same one. Made
-- anew from the spans, as rows that two projects share cannot be told apart any more; after a crash that begins again.
DROP VIEW IF EXISTS otel_traces_trace_id_ts_mv;
DROP TABLE IF EXISTS otel_traces_trace_id_ts;
CREATE TABLE IF NOT EXISTS otel_traces_trace_id_ts
(
    TraceId String CODEC(ZSTD(1)),
    Start SimpleAggregateFunction(min, DateTime) CODEC(ZSTD(1)),
    End SimpleAggregateFunction(max, DateTime) CODEC(ZSTD(1)),
    Project LowCardinality(String) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toStartOfWeek(Start)
ORDER BY (TraceId, Project)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1,
    min_bytes_for_wide_part = 100000000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS otel_traces_trace_id_ts_mv TO otel_traces_trace_id_ts AS
SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End, Project
FROM otel_traces
WHERE TraceId != ''
GROUP BY TraceId, Project;

INSERT INTO otel_traces_trace_id_ts (TraceId, Start, End, Project)
SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End, Project
FROM otel_traces
WHERE TraceId != ''
GROUP BY TraceId, Project
SETTINGS max_partitions_per_insert_block = 0;
