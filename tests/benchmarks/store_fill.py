"""Calls by the million for the benchmark of the store: made by ClickHouse itself, from the number of the call alone.

20 services, 3 environments, 40 models of 6 providers, 100,000 users of whom few do most, 1,000,000 sessions of some
hours, traces of three calls, 4 properties, 2 % errors, two of three calls streamed, 0.5 % without a price. Identifiers
are as long and as random as real ones: they are most of what a row takes on disk.
"""

from typing import Final

HOUR_CALLS: Final = 70_000
"""Calls an hour: 50 million in a month."""
STEP_NS: Final = 3_600 * 10**9 // HOUR_CALLS
"""Between two calls."""


def _hash(slot: int, of: str = "n") -> str:
    """A random UInt64 for a call; another one for each slot."""
    return f"cityHash64({of}, {slot})"


def _pick(slot: int, count: int, of: str = "n") -> str:
    return f"{_hash(slot, of)} % {count}"


def _skewed(slot: int, count: int, of: str = "n") -> str:
    """A number below `count`, small ones more often: half of all are among the first eighth."""
    return f"toUInt64(pow({_pick(slot, 1_000_000, of)} / 1000000, 3) * {count})"


_MODEL: Final = f"toString({_skewed(3, 40)})"
_FAILED: Final = f"{_pick(6, 50)} = 0"
_SESSION: Final = "(intDiv(n, 600000) * 12000 + cityHash64(intDiv(n, 3), 9) % 12000)"
"""12,000 sessions in 600,000 calls: 50 calls each, spread over eight hours, of one user of one service."""
_PRICED: Final = f"{_pick(7, 200)} != 0 AND NOT ({_FAILED})"
_IN: Final = f"100 + {_pick(8, 8000)}"
_OUT: Final = f"10 + {_pick(9, 900)}"
_COST_IN: Final = f"toDecimal64(({_IN}) * 0.00000025, 12)"
_COST_OUT: Final = f"toDecimal64(({_OUT}) * 0.00001, 12)"
_MODELS_OF: Final = "['openai', 'anthropic', 'google', 'mistral_ai', 'cohere', 'aws.bedrock']"

COLUMNS: Final = {
    "Timestamp": f"fromUnixTimestamp64Nano(toInt64({{first}} + n * {STEP_NS} + {_pick(1, STEP_NS)}))",
    "TraceId": "lower(hex(sipHash128(intDiv(n, 3))))",
    "SpanId": f"lower(hex({_hash(2)}))",
    "ParentSpanId": f"lower(hex({_hash(2, 'intDiv(n, 3)')}))",
    "Service": f"concat('service-', toString({_skewed(4, 20, _SESSION)}))",
    "Environment": f"['production', 'production', 'staging', 'development'][{_pick(5, 4, _SESSION)} + 1]",
    "Kind": "'llm'",
    "Operation": f"if({_pick(10, 8)} = 0, 'embeddings', 'chat')",
    "Provider": f"{_MODELS_OF}[{_skewed(3, 40)} % 6 + 1]",
    "RequestModel": f"concat('model-', {_MODEL})",
    "ResponseModel": f"concat('model-', {_MODEL}, '-2026-01-01')",
    "ServerAddress": f"concat('api-', toString({_skewed(3, 40)} % 6), '.example.com')",
    "DurationNs": f"toUInt64(exp(({_pick(11, 10000)} + {_pick(12, 10000)}) / 4000) * 2e8)",
    "ResponseId": "concat('chatcmpl-', substring(base64Encode(reinterpretAsString(sipHash128(n, 1))), 1, 22))",
    "RequestId": "concat('req_', lower(hex(sipHash128(n, 2))))",
    "InputTokens": f"if({_FAILED}, NULL, {_IN})",
    "OutputTokens": f"if({_FAILED}, NULL, {_OUT})",
    "CacheReadTokens": f"if({_FAILED}, NULL, if({_pick(13, 3)} = 0, {_pick(14, 100)}, 0))",
    "CostUsd": f"if({_PRICED}, {_COST_IN} + {_COST_OUT}, NULL)",
    "CostComponents": f"if({_PRICED}, map('input', {_COST_IN}, 'output', {_COST_OUT}), map())",
    "CostSource": f"if({_PRICED}, 'genai-prices', '')",
    "PricingStatus": f"if({_PRICED}, 'priced', if({_FAILED}, 'failed', 'unknown_model'))",
    "PriceVersion": f"if({_PRICED}, 'genai-prices 0.2.3', '')",
    "PriceEntry": f"if({_PRICED}, concat('provider/model-', {_MODEL}), '')",
    "Stream": f"{_pick(15, 3)} != 0",
    "TtftNs": f"if({_pick(15, 3)} != 0 AND NOT ({_FAILED}), "
    f"toUInt64(exp(({_pick(16, 10000)} + {_pick(17, 10000)}) / 5000) * 5e7), NULL)",
    "StatusCode": f"if({_FAILED}, 429, 200)",
    "ErrorType": f"if({_FAILED}, ['429', '500', 'timeout'][{_pick(18, 3)} + 1], '')",
    "FinishReasons": f"if({_FAILED}, [], ['stop'])",
    "UserId": f"concat('user-', toString({_skewed(19, 100_000, _SESSION)}))",
    "SessionId": f"lower(hex(sipHash128({_SESSION}, 3)))",
    "SessionName": f"concat('flow-', toString(({_SESSION}) % 20))",
    "SessionPath": f"concat('/plan/step-', toString({_pick(20, 12)}))",
    "Properties": f"map('Feature', concat('feature-', toString({_skewed(21, 30)})), "
    f"'Plan', ['free', 'pro', 'team'][{_pick(22, 3)} + 1], 'Region', ['eu', 'us'][{_pick(23, 2)} + 1], "
    "'Release', concat('2026.', toString(intDiv(n, 5000000))))",
    "ReceivedAt": f"fromUnixTimestamp64Micro(intDiv(toInt64({{first}} + n * {STEP_NS}), 1000) + 3000000)",
}
"""What fills each column, as an expression of the number `n`; other columns have their defaults."""


def insert(table: str, first_ns: int, begin: int, end: int) -> str:
    """The statement that inserts the calls `begin` to `end`; call 0 is at `first_ns`."""
    names, values = ", ".join(COLUMNS), ", ".join(COLUMNS.values()).replace("{first}", str(first_ns))
    # One block and so one part a statement and partition, as a group commit makes it.
    return (
        f"INSERT INTO {table} ({names}) SELECT {values} FROM (SELECT number AS n FROM numbers({begin}, {end - begin})) "
        "SETTINGS max_partitions_per_insert_block = 0, max_insert_threads = 1, max_threads = 1, "
        "min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 2000000000"
    )
