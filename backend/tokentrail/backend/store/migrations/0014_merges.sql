-- Merges cost as much as inserts: the higher the base, the fewer times a row is merged before its part is large, at the
-- price of more parts meanwhile. Measured with groups of 8192 spans of 2 KB: 25 us of CPU a span instead of 40.
ALTER TABLE otel_traces MODIFY SETTING merge_selector_base = 20;
ALTER TABLE llm_requests MODIFY SETTING merge_selector_base = 20;
ALTER TABLE llm_contents MODIFY SETTING merge_selector_base = 20;
