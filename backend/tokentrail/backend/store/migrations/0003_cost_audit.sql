-- What a price depends on and was not kept so far, so that a call can be priced again from its row.
ALTER TABLE llm_requests
    ADD COLUMN IF NOT EXISTS CacheWrite1hTokens Nullable(UInt64) CODEC(T64, ZSTD(1)) AFTER ReasoningTokens,
    ADD COLUMN IF NOT EXISTS AudioInputTokens Nullable(UInt64) CODEC(T64, ZSTD(1)) AFTER CacheWrite1hTokens,
    ADD COLUMN IF NOT EXISTS AudioOutputTokens Nullable(UInt64) CODEC(T64, ZSTD(1)) AFTER AudioInputTokens,
    ADD COLUMN IF NOT EXISTS AudioCacheReadTokens Nullable(UInt64) CODEC(T64, ZSTD(1)) AFTER AudioOutputTokens,
    ADD COLUMN IF NOT EXISTS ImageInputTokens Nullable(UInt64) CODEC(T64, ZSTD(1)) AFTER AudioCacheReadTokens,
    ADD COLUMN IF NOT EXISTS ImageOutputTokens Nullable(UInt64) CODEC(T64, ZSTD(1)) AFTER ImageInputTokens,
    ADD COLUMN IF NOT EXISTS ServiceTier LowCardinality(String) AFTER ImageOutputTokens,
    ADD COLUMN IF NOT EXISTS PricingModel LowCardinality(String) AFTER ServiceTier;

-- A correction replaces whole parts, as a merge does: both are on disk before what they replace may go.
ALTER TABLE llm_requests MODIFY SETTING min_rows_to_fsync_after_merge = 1;

-- What `tokentrail cost reprice` changed: a row for each call and change, on disk before the call itself is changed.
CREATE TABLE IF NOT EXISTS cost_corrections
(
    CorrectedAt DateTime64(3) CODEC(Delta(8), ZSTD(1)),
    Run String CODEC(ZSTD(1)),
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    OldCostUsd Nullable(Decimal(18, 12)) CODEC(ZSTD(1)),
    OldCostComponents Map(LowCardinality(String), Decimal(18, 12)) CODEC(ZSTD(1)),
    OldCostSource LowCardinality(String),
    OldPricingStatus LowCardinality(String),
    OldPriceVersion LowCardinality(String),
    OldPriceEntry LowCardinality(String),
    OldPricingTier LowCardinality(String),
    OldPricingAssumptions Array(LowCardinality(String)),
    NewCostUsd Nullable(Decimal(18, 12)) CODEC(ZSTD(1)),
    NewCostComponents Map(LowCardinality(String), Decimal(18, 12)) CODEC(ZSTD(1)),
    NewCostSource LowCardinality(String),
    NewPricingStatus LowCardinality(String),
    NewPriceVersion LowCardinality(String),
    NewPriceEntry LowCardinality(String),
    NewPricingTier LowCardinality(String),
    NewPricingAssumptions Array(LowCardinality(String)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(CorrectedAt, 'UTC')
ORDER BY (CorrectedAt, Run, Timestamp, TraceId, SpanId)
SETTINGS index_granularity = 8192,
    min_bytes_for_wide_part = 100000000, fsync_after_insert = 1, fsync_part_directory = 1;

-- The runs whose calls are changed; a run that is in cost_corrections alone was interrupted, and is finished from there.
CREATE TABLE IF NOT EXISTS cost_correction_runs
(
    CorrectedAt DateTime64(3) CODEC(Delta(8), ZSTD(1)),
    Run String CODEC(ZSTD(1)),
    FirstTimestamp DateTime64(9),
    LastTimestamp DateTime64(9),
    Calls UInt64,
    OldCostUsd Decimal(38, 12),
    NewCostUsd Decimal(38, 12)
)
ENGINE = MergeTree
ORDER BY (CorrectedAt, Run)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The new values of the run in progress, for the mutation to look up. In memory: a mutation that a crash left behind
-- must find nothing here.
CREATE TABLE IF NOT EXISTS cost_correction_values
(
    Timestamp DateTime64(9),
    TraceId String,
    SpanId String,
    Run String,
    OldCostUsd Nullable(Decimal(18, 12)),
    CostUsd Nullable(Decimal(18, 12)),
    CostComponents Map(String, Decimal(18, 12)),
    CostSource String,
    PricingStatus String,
    PriceVersion String,
    PriceEntry String,
    PricingTier String,
    PricingAssumptions Array(String)
)
ENGINE = Join(ANY, LEFT, Timestamp, TraceId, SpanId)
SETTINGS persistent = 0;
