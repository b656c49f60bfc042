"""Panels of the page of cache and limits: what the provider's prompt cache saves."""

from boards import link
from boards.board import Placed, Section
from boards.calls import calls, compared, series
from boards.panel import (
    COUNT,
    GREEN,
    RED,
    SECONDS,
    SHARE,
    USD,
    YELLOW,
    Column,
    lines,
    stat,
    table,
)

GOOD = ((0.1, YELLOW), (0.3, GREEN))
"""Hit rates: over 30 % is good, under 10 % worth a look."""
_HIT_RATE = "sum(ifNull(CacheReadTokens, 0)) / nullIf(sumIf(InputTokens, InputTokens IS NOT NULL), 0)"
_FRESH = (
    "(toInt64(ifNull(InputTokens, 0)) - toInt64(ifNull(CacheReadTokens, 0)) - toInt64(ifNull(CacheWriteTokens, 0)))"
)
_SAVED = f"""sumIf(
        toFloat64(CostComponents['input']) / {_FRESH} * (ifNull(CacheReadTokens, 0) + ifNull(CacheWriteTokens, 0))
            - toFloat64(CostComponents['cache_read']) - toFloat64(CostComponents['cache_write']),
        {_FRESH} > 0 AND CostComponents['input'] > 0 AND ifNull(CacheReadTokens, 0) + ifNull(CacheWriteTokens, 0) > 0
            AND ifNull(AudioInputTokens, 0) + ifNull(ImageInputTokens, 0) = 0)"""
"""US dollars: tokens that were read from the cache or written to it, at the price that the call paid for its other
input, less what it paid for them. Calls all of whose input was cached, and those with sound or pictures, do not tell
that price and are left out."""
OF_MODEL = ("Requests of this model", link.to_requests(model=link.label("model")))
HITS = stat(
    "Prompt cache hit rate",
    "Input tokens that the provider read from its cache, by all input tokens, and by how much that is more or less than"
    " in as long a time before. Over 30 % is good, under 10 % worth a look.",
    compared(f"SELECT {_HIT_RATE} AS hit_rate, hit_rate - (SELECT {_HIT_RATE} FROM earlier) AS change FROM calls"),
    SHARE,
    decimals=1,
    steps=GOOD,
    base="orange",
    columns=[Column("change", "against the time before", SHARE, decimals=1, color="text")],
    link=("Requests", link.to_requests()),
)
CALLS_WITH_HITS = stat(
    "Calls with a hit",
    "Calls part of whose input came from the cache, by all calls that tell their input.",
    calls("SELECT countIf(CacheReadTokens > 0) / nullIf(countIf(InputTokens IS NOT NULL), 0) AS with_a_hit FROM calls"),
    SHARE,
    decimals=0,
    link=("Requests", link.to_requests()),
)
TOKENS = stat(
    "Cached tokens",
    "Input tokens that were read from the cache, and written to it. Writing costs more than plain input at some"
    " providers, reading much less.",
    calls(
        "SELECT toFloat64(sum(ifNull(CacheReadTokens, 0))) AS read, toFloat64(sum(ifNull(CacheWriteTokens, 0))) AS "
        "written FROM calls"
    ),
    COUNT,
    link=("Requests", link.to_requests()),
)
SAVINGS = stat(
    "Saved by the prompt cache",
    "What the cached input would have cost as plain input, at the prices of the same calls, less what reading and"
    " writing it cost. Below 0: writing costs more than reading saves.",
    calls(f"SELECT {_SAVED} AS saved FROM calls"),
    USD,
    steps=((0, GREEN),),
    base=RED,
    link=("Cost", link.to("tokentrail-cost")),
)
_HITS_OVER_TIME = lines(
    "Hit rate by model",
    "Input tokens read from the cache, by all input tokens. A fall after a deployment: the beginning of a prompt"
    " changed, and what is cached does not match any more.",
    series(
        f"""
SELECT BIN AS time, Model AS model, {_HIT_RATE} AS hit_rate FROM calls
WHERE InputTokens IS NOT NULL
    AND Model IN (SELECT Model FROM calls GROUP BY Model ORDER BY sum(ifNull(InputTokens, 0)) DESC LIMIT 10)
GROUP BY time, model ORDER BY time
"""
    ),
    SHARE,
    decimals=0,
    maximum=1,
    link=OF_MODEL,
)
_TOKENS_OVER_TIME = lines(
    "Input tokens",
    "All input tokens: read from the cache, written to it, and neither.",
    series(
        f"SELECT BIN AS time, toFloat64(sum(greatest({_FRESH}, 0))) AS fresh, "
        "toFloat64(sum(ifNull(CacheWriteTokens, 0))) AS written, toFloat64(sum(ifNull(CacheReadTokens, 0))) AS read "
        "FROM calls GROUP BY time ORDER BY time"
    ),
    COUNT,
    bars=True,
    stacked=True,
    columns=[
        Column("fresh", "not cached", color="blue"),
        Column("written", "written to the cache", color="orange"),
        Column("read", "read from the cache", color="green"),
    ],
    link=("Requests", link.to_requests()),
)
_COSTS = lines(
    "Cost of input",
    "What plain input, writing to the cache and reading from it cost, of calls whose cost is known by its parts.",
    series(
        "SELECT BIN AS time, toFloat64(sum(CostComponents['input'])) AS fresh, "
        "toFloat64(sum(CostComponents['cache_write'])) AS written, "
        "toFloat64(sum(CostComponents['cache_read'])) AS read FROM calls GROUP BY time ORDER BY time"
    ),
    USD,
    bars=True,
    stacked=True,
    columns=[
        Column("fresh", "not cached", color="blue"),
        Column("written", "written to the cache", color="orange"),
        Column("read", "read from the cache", color="green"),
    ],
    link=("Cost", link.to("tokentrail-cost")),
)
_MODELS = table(
    "By model",
    "Hit rate, what the cache saved, and how fast calls with and without a hit got their first token (streams).",
    calls(
        f"""
SELECT Model AS model, count() AS requests, {_HIT_RATE} AS hit_rate,
    toFloat64(sum(ifNull(CacheReadTokens, 0))) AS read, toFloat64(sum(ifNull(CacheWriteTokens, 0))) AS written,
    {_SAVED} AS saved, avgOrNullIf(TtftSeconds, CacheReadTokens > 0) AS ttft_hit,
    avgOrNullIf(TtftSeconds, ifNull(CacheReadTokens, 0) = 0) AS ttft_miss
FROM calls WHERE InputTokens IS NOT NULL
GROUP BY model ORDER BY toFloat64(sum(InputTokens)) DESC LIMIT 30
"""
    ),
    [
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE)), width=190),
        Column("requests", "Requests", COUNT),
        Column("hit_rate", "Hit rate", SHARE, decimals=0, steps=GOOD),
        Column("read", "Read", COUNT),
        Column("written", "Written", COUNT),
        Column("saved", "Saved", USD, decimals=4),
        Column("ttft_hit", "First token, hit", SECONDS, decimals=2),
        Column("ttft_miss", "no hit", SECONDS, decimals=2),
    ],
)
_FEATURES = table(
    "By feature and service",
    "Features whose prompts the cache reads, and those whose prompts it does not.",
    calls(
        f"""
SELECT Feature AS feature, Service AS service, count() AS requests, {_HIT_RATE} AS hit_rate,
    toFloat64(sum(InputTokens)) AS input, {_SAVED} AS saved
FROM calls WHERE InputTokens IS NOT NULL
GROUP BY feature, service ORDER BY input DESC LIMIT 30
"""
    ),
    [
        Column(
            "feature",
            "Feature",
            link=("Requests", link.to_requests(feature=link.VALUE, service=link.field("service"))),
        ),
        Column("service", "Service", link=("Requests", link.to_requests(service=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("hit_rate", "Hit rate", SHARE, decimals=0, steps=GOOD),
        Column("input", "Input tokens", COUNT),
        Column("saved", "Saved", USD, decimals=4),
    ],
)

SECTION = Section(
    "Prompt cache of the provider",
    (
        Placed(_HITS_OVER_TIME, 8),
        Placed(_TOKENS_OVER_TIME, 8),
        Placed(_COSTS, 8),
        Placed(_MODELS),
        Placed(_FEATURES),
    ),
)
