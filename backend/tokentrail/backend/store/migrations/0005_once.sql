-- When a call was stored, and by which backend: what a restarted backend counts that it had not counted yet.
ALTER TABLE llm_requests
    ADD COLUMN IF NOT EXISTS ReceivedAt DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ADD COLUMN IF NOT EXISTS Instance LowCardinality(String),
    ADD INDEX IF NOT EXISTS idx_received_at ReceivedAt TYPE minmax GRANULARITY 1;

-- Looking for spans that may be stored already asks for a range of time, which the order of the table does not help with.
ALTER TABLE otel_traces ADD INDEX IF NOT EXISTS idx_timestamp Timestamp TYPE minmax GRANULARITY 1;

-- The counters of each backend as they were after the group that was stored at TakenAt.
CREATE TABLE IF NOT EXISTS metric_snapshots
(
    Instance LowCardinality(String),
    TakenAt DateTime64(6, 'UTC'),
    State String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree(TakenAt)
ORDER BY Instance
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
