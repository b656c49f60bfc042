"""Panels of the latency page: how long streams wait for their first token, and how fast models answer."""

from boards import link
from boards.alerted import ENVIRONMENT, MODEL, PROVIDER, alerted
from boards.board import Placed, Section
from boards.calls import calls, compared, series
from boards.panel import (
    COUNT,
    NONE,
    RED,
    SECONDS,
    SHARE,
    Column,
    lines,
    stat,
    table,
)

LIMIT = ((10, RED),)
"""Seconds, as LLMLatencyP95High has it."""
OF_MODEL = ("Requests of this model", link.to_requests(model=link.label("model")))
_TTFT = stat(
    "Time to first token",
    "Of streams: half and 95 % got their first token sooner, and by how much P95 is more or less than in as long a time"
    " just before.",
    compared(
        """
SELECT quantileExactOrNull(0.5)(TtftSeconds) AS p50, quantileExactOrNull(0.95)(TtftSeconds) AS p95,
    p95 / nullIf((SELECT quantileExactOrNull(0.95)(TtftSeconds) FROM earlier), 0) - 1 AS change
FROM calls
"""
    ),
    SECONDS,
    columns=[Column("change", "P95 against the time before", SHARE, decimals=0)],
    link=("Requests", link.to_requests()),
)
_OVER_TIME = lines(
    "Time to first token by model",
    "P50 and P95 of streams, of the five models with most streams.",
    series(
        """
SELECT BIN AS time, Model AS model, quantileExact(0.5)(TtftSeconds) AS p50, quantileExact(0.95)(TtftSeconds) AS p95
FROM calls
WHERE TtftNs IS NOT NULL AND Model IN (
    SELECT Model FROM calls WHERE TtftNs IS NOT NULL GROUP BY Model ORDER BY count() DESC LIMIT 5)
GROUP BY time, model ORDER BY time
"""
    ),
    SECONDS,
    link=OF_MODEL,
)
_SPEED = lines(
    "Output speed by model",
    "Tokens per second after the first token, of streams that went well. The ten models with most streams.",
    series(
        """
SELECT BIN AS time, Model AS model, toFloat64(sum(OutputTokens)) / nullIf(sum(Seconds - TtftSeconds), 0) AS per_second
FROM calls
WHERE not Failed AND TtftNs < DurationNs AND OutputTokens > 0 AND Model IN (
    SELECT Model FROM calls WHERE TtftNs IS NOT NULL GROUP BY Model ORDER BY count() DESC LIMIT 10)
GROUP BY time, model ORDER BY time
"""
    ),
    NONE,
    decimals=0,
    link=OF_MODEL,
)
_MODELS = table(
    "Models",
    "Latency of all calls; time to first token of streams; tokens per second of calls that went well: of streams after"
    " the first token, and of all from the request to the last byte.",
    calls(
        """
SELECT Model AS model, count() AS requests, avg(Seconds) AS mean, quantileExact(0.5)(Seconds) AS p50,
    quantileExact(0.95)(Seconds) AS p95, quantileExact(0.99)(Seconds) AS p99,
    countIf(TtftNs IS NOT NULL) AS streams, avgOrNull(TtftSeconds) AS ttft_mean,
    quantileExactOrNull(0.95)(TtftSeconds) AS ttft_p95,
    toFloat64(sumIf(OutputTokens, not Failed AND TtftNs < DurationNs))
        / nullIf(sumIf(Seconds - TtftSeconds, not Failed AND TtftNs < DurationNs AND OutputTokens > 0), 0) AS streamed,
    toFloat64(sumIf(OutputTokens, not Failed))
        / nullIf(sumIf(Seconds, not Failed AND OutputTokens > 0), 0) AS overall
FROM calls GROUP BY model ORDER BY requests DESC LIMIT 50
"""
    ),
    [
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE)), width=190),
        Column("requests", "Requests", COUNT),
        Column("mean", "Mean", SECONDS, decimals=2),
        Column("p50", "P50", SECONDS, decimals=2),
        Column("p95", "P95", SECONDS, decimals=2, steps=LIMIT),
        Column("p99", "P99", SECONDS, decimals=2),
        Column("streams", "Streams", COUNT),
        Column("ttft_mean", "First token, mean", SECONDS, decimals=2),
        Column("ttft_p95", "First token, P95", SECONDS, decimals=2),
        Column("streamed", "Tokens/s, streams", NONE, decimals=0),
        Column("overall", "Tokens/s, all", NONE, decimals=0),
    ],
)
_ALERTED = lines(
    "First token as the alert sees it",
    "What LLMTimeToFirstTokenDegraded measured over its 15 minutes by model, and its limit: twice the day before, and"
    " at least a second.",
    alerted("LLMTimeToFirstTokenDegraded", ENVIRONMENT, PROVIDER, MODEL),
    SECONDS,
    link=("Requests of this model", link.to_requests(model=link.label(MODEL), provider=link.label(PROVIDER))),
)

SECTION = Section(
    "First token and speed",
    (
        Placed(_TTFT, 6, 8),
        Placed(_OVER_TIME, 10),
        Placed(_SPEED, 8),
        Placed(_MODELS, 16),
        Placed(_ALERTED, 8),
    ),
)
