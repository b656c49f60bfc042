-- What people wrote, apart from the numbers: it is most of the bytes and the first to go (14 days unless set otherwise),
-- merges and corrections of the calls do not rewrite it, and no dashboard reads it. One row for each call that has any.
-- Partitions: a day, so that what has expired is dropped a day at a time. A call stored again after a crash may have two
-- rows here; either is taken.
CREATE TABLE IF NOT EXISTS llm_contents
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    InputMessages String CODEC(ZSTD(1)),
    OutputMessages String CODEC(ZSTD(1)),
    System String CODEC(ZSTD(1)),
    Tools String CODEC(ZSTD(1)),
    Project LowCardinality(String) CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(Timestamp, 'UTC')
ORDER BY (toStartOfHour(Timestamp, 'UTC'), TraceId, SpanId)
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1,
    min_bytes_for_wide_part = 100000000, fsync_after_insert = 1, fsync_part_directory = 1;

-- A copy that was interrupted is made again: what is there twice is found once.
INSERT INTO llm_contents (Timestamp, TraceId, SpanId, InputMessages, OutputMessages, System, Tools, Project)
SELECT Timestamp, TraceId, SpanId, InputMessages, OutputMessages, System, Tools, Project
FROM llm_requests
WHERE InputMessages != '' OR OutputMessages != '' OR System != '' OR Tools != ''
SETTINGS max_partitions_per_insert_block = 0;
