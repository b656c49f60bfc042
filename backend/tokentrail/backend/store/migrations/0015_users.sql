-- What each user did on each day (UTC), for questions about users over weeks and months: the calls themselves have a
-- thirtieth of the rows here. `store/rollups.py` fills it a day at a time, from all calls that began on the day, as it does
-- the hours of 0012: read it with FINAL. Calls without a user are in it, too, under an empty name, so that it is known how
-- many calls a day had when it was filled.
-- First and Last: when the first call of the user to end and the last one did.
CREATE TABLE IF NOT EXISTS llm_users_daily
(
    Day Date CODEC(Delta(2), ZSTD(1)),
    Project LowCardinality(String),
    Environment LowCardinality(String),
    Service LowCardinality(String),
    UserId String CODEC(ZSTD(1)),
    Requests UInt64 CODEC(T64, ZSTD(1)),
    CostUsd Decimal(38, 12) CODEC(ZSTD(1)),
    First DateTime64(9) CODEC(ZSTD(1)),
    Last DateTime64(9) CODEC(ZSTD(1)),
    FilledAt DateTime64(3, 'UTC') CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(FilledAt)
PARTITION BY toYYYYMM(Day)
ORDER BY (Day, Project, Environment, Service, UserId)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1,
    min_bytes_for_wide_part = 100000000, fsync_after_insert = 1, fsync_part_directory = 1;
