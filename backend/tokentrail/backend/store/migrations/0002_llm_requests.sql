-- One row per billable model call: `row.py` says what each column means. Columns are its fields in CamelCase, except
-- Timestamp, which is the start of the call.
--
-- Order: the hour first, so that "the newest" and every time range read the end of the table and not all of it; then
-- environment and service, which stand together inside an hour. The hour is UTC, whatever zone the machine is in: keys
-- must not change their meaning when it moves.
-- Partitions: a month. Days would split an insert at midnight into two parts, of which a crash may keep one; retention
-- deletes by time, not by partition.
-- Money: Decimal(18, 12) holds up to 999999.999999999999 USD a call to the last digit of any list price, and sums of it
-- are exact.
CREATE TABLE IF NOT EXISTS llm_requests
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ParentSpanId String CODEC(ZSTD(1)),
    Service LowCardinality(String),
    Environment LowCardinality(String),
    Kind LowCardinality(String),
    Operation LowCardinality(String),
    Provider LowCardinality(String),
    RequestModel LowCardinality(String),
    ResponseModel LowCardinality(String),
    ServerAddress LowCardinality(String),
    DurationNs UInt64 CODEC(T64, ZSTD(1)),
    ResponseId String CODEC(ZSTD(1)),
    RequestId String CODEC(ZSTD(1)),
    ConversationId String CODEC(ZSTD(1)),
    InputTokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    OutputTokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    CacheReadTokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    CacheWriteTokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    ReasoningTokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    CostUsd Nullable(Decimal(18, 12)) CODEC(ZSTD(1)),
    CostComponents Map(LowCardinality(String), Decimal(18, 12)) CODEC(ZSTD(1)),
    CostSource LowCardinality(String),
    PricingStatus LowCardinality(String),
    PriceVersion LowCardinality(String),
    PriceEntry LowCardinality(String),
    PricingTier LowCardinality(String),
    PricingAssumptions Array(LowCardinality(String)),
    Stream Bool,
    TtftNs Nullable(UInt64) CODEC(T64, ZSTD(1)),
    TimeToFirstChunkNs Nullable(UInt64) CODEC(T64, ZSTD(1)),
    StreamExit LowCardinality(String),
    StatusCode Nullable(UInt16),
    ErrorType LowCardinality(String),
    ErrorMessage String CODEC(ZSTD(1)),
    RetryCount Nullable(UInt32),
    FinishReasons Array(LowCardinality(String)),
    UserId String CODEC(ZSTD(1)),
    SessionId String CODEC(ZSTD(1)),
    SessionName String CODEC(ZSTD(1)),
    SessionPath String CODEC(ZSTD(1)),
    Properties Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    PromptName LowCardinality(String),
    PromptVersion LowCardinality(String),
    RatelimitLimitRequests Nullable(UInt64) CODEC(ZSTD(1)),
    RatelimitRemainingRequests Nullable(UInt64) CODEC(ZSTD(1)),
    RatelimitLimitTokens Nullable(UInt64) CODEC(ZSTD(1)),
    RatelimitRemainingTokens Nullable(UInt64) CODEC(ZSTD(1)),
    InputMessages String CODEC(ZSTD(1)),
    OutputMessages String CODEC(ZSTD(1)),
    System String CODEC(ZSTD(1)),
    Tools String CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_user_id UserId TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_session_id SessionId TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(Timestamp, 'UTC')
ORDER BY (toStartOfHour(Timestamp, 'UTC'), Environment, Service, Timestamp)
SETTINGS index_granularity = 8192,
    min_bytes_for_wide_part = 100000000, fsync_after_insert = 1, fsync_part_directory = 1;
