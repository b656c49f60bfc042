-- The project of the key that data was sent with; empty for the project `default`, which all is in that was stored before
-- there were keys.
ALTER TABLE otel_traces ADD COLUMN IF NOT EXISTS Project LowCardinality(String) CODEC(ZSTD(1));
ALTER TABLE llm_requests
    ADD COLUMN IF NOT EXISTS Project LowCardinality(String) CODEC(ZSTD(1)) AFTER Tools;
ALTER TABLE cost_corrections ADD COLUMN IF NOT EXISTS Project LowCardinality(String) CODEC(ZSTD(1));

-- In another project the same span is another one: what is looked up for a call is looked up in its project. The table
-- is in memory alone and empty when nothing is being corrected.
DROP TABLE IF EXISTS cost_correction_values;
CREATE TABLE IF NOT EXISTS cost_correction_values
(
    Project String,
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
ENGINE = Join(ANY, LEFT, Project, Timestamp, TraceId, SpanId)
SETTINGS persistent = 0;
