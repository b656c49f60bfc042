-- After 0010, and apart from it: a copy can be made again as long as there is something to copy.
ALTER TABLE llm_requests
    DROP COLUMN IF EXISTS InputMessages,
    DROP COLUMN IF EXISTS OutputMessages,
    DROP COLUMN IF EXISTS System,
    DROP COLUMN IF EXISTS Tools;

-- What has expired is dropped with its month, never rewritten.
ALTER TABLE llm_requests MODIFY SETTING ttl_only_drop_parts = 1;
ALTER TABLE cost_corrections MODIFY SETTING ttl_only_drop_parts = 1;
