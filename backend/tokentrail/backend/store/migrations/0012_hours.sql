-- Calls by the hour, for long ranges and for when the calls themselves have expired. `store/rollups.py` fills it an hour
-- at a time, from all calls of the hour; an hour that has changed since is filled again and the latest filling counts,
-- so that whatever is read with FINAL is right after late calls, corrections of costs and crashes.
-- DurationBuckets and TtftBuckets: how many calls had a duration (a time to first token) from 2^(k/16) to 2^((k+1)/16)
-- ns, by k. Middles of buckets are within 2.2 % of what is in them, and counts of several hours can be added.
CREATE TABLE IF NOT EXISTS llm_requests_hourly
(
    Hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    Project LowCardinality(String),
    Environment LowCardinality(String),
    Service LowCardinality(String),
    Operation LowCardinality(String),
    Provider LowCardinality(String),
    Model LowCardinality(String),
    ErrorType LowCardinality(String),
    Requests UInt64 CODEC(T64, ZSTD(1)),
    Priced UInt64 CODEC(T64, ZSTD(1)),
    Unpriced UInt64 CODEC(T64, ZSTD(1)),
    CostUsd Decimal(38, 12) CODEC(ZSTD(1)),
    InputTokens UInt128 CODEC(ZSTD(1)),
    OutputTokens UInt128 CODEC(ZSTD(1)),
    CacheReadTokens UInt128 CODEC(ZSTD(1)),
    CacheWriteTokens UInt128 CODEC(ZSTD(1)),
    ReasoningTokens UInt128 CODEC(ZSTD(1)),
    DurationNs UInt128 CODEC(ZSTD(1)),
    DurationBuckets Map(Int16, UInt64) CODEC(ZSTD(1)),
    TtftCount UInt64 CODEC(T64, ZSTD(1)),
    TtftNs UInt128 CODEC(ZSTD(1)),
    TtftBuckets Map(Int16, UInt64) CODEC(ZSTD(1)),
    Users AggregateFunction(uniqCombined64(12), String) CODEC(ZSTD(1)),
    FilledAt DateTime64(3, 'UTC') CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(FilledAt)
PARTITION BY toYYYYMM(Hour, 'UTC')
ORDER BY (Hour, Project, Environment, Service, Operation, Provider, Model, ErrorType)
SETTINGS index_granularity = 2048, ttl_only_drop_parts = 1,
    min_bytes_for_wide_part = 100000000, fsync_after_insert = 1, fsync_part_directory = 1;
