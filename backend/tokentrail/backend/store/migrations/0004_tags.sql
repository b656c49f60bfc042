-- Labels without a value, which several vocabularies have beside properties.
ALTER TABLE llm_requests
    ADD COLUMN IF NOT EXISTS Tags Array(LowCardinality(String)) AFTER Properties;
