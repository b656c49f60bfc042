-- Web searches that the provider bills beside tokens: the rest of what a price depends on.
ALTER TABLE llm_requests
    ADD COLUMN IF NOT EXISTS WebSearches Nullable(UInt32) CODEC(T64, ZSTD(1)) AFTER ImageOutputTokens;
