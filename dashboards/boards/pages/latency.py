"""How long calls took: to the first token, to the last one, for whom, and where the time went."""

from boards import link
from boards.alerted import ENVIRONMENT, PROVIDER, alerted
from boards.board import Board, Placed, Section
from boards.calls import begun, calls, compared, prom, series
from boards.pages import traits
from boards.pages.latency_first_token import LIMIT, OF_MODEL
from boards.pages.latency_first_token import SECTION as FIRST_TOKEN
from boards.panel import (
    COUNT,
    FAILING,
    GREEN,
    NONE,
    PER_SECOND,
    RED,
    SECONDS,
    SHARE,
    TIME,
    USD,
    YELLOW,
    Column,
    bars,
    heatmap,
    lines,
    stat,
    table,
)

_PERCENTILES = stat(
    "Latency: half, 95 %, 99 % are faster than",
    "From the request to the last byte, of all calls. Each is the value of a real call, not read off a histogram."
    " P95 is red from 10 s, as the alert.",
    calls(
        "SELECT quantileExactOrNull(0.5)(Seconds) AS p50, quantileExactOrNull(0.95)(Seconds) AS p95, "
        "quantileExactOrNull(0.99)(Seconds) AS p99 FROM calls"
    ),
    SECONDS,
    columns=[Column("p95", steps=LIMIT)],
    link=("Requests", link.to_requests()),
)
_CHANGE = stat(
    "Against the time before",
    "By how much P50 and P95 are more or less than in as long a time just before.",
    compared(
        """
SELECT quantileExactOrNull(0.5)(Seconds) / nullIf((SELECT quantileExactOrNull(0.5)(Seconds) FROM earlier), 0) - 1
        AS p50,
    quantileExactOrNull(0.95)(Seconds) / nullIf((SELECT quantileExactOrNull(0.95)(Seconds) FROM earlier), 0) - 1 AS p95
FROM calls
"""
    ),
    SHARE,
    decimals=0,
    steps=((0.2, YELLOW), (1, RED)),
    link=("Requests", link.to_requests()),
)
_GAP = stat(
    "P99 by P50",
    "How many times as long the slowest hundredth takes as the middle call. Large: some calls are much slower than"
    " most.",
    calls(
        "SELECT quantileExactOrNull(0.99)(Seconds) / nullIf(quantileExactOrNull(0.5)(Seconds), 0) AS times FROM calls"
    ),
    NONE,
    decimals=1,
    link=("Requests", link.to_requests()),
)
_OVER = stat(
    "Over 10 s",
    "Calls that took longer than 10 s, by all calls. Red from 5 %: then P95 is over 10 s.",
    calls("SELECT countIf(Seconds > 10) / nullIf(count(), 0) AS over_10_s FROM calls"),
    SHARE,
    decimals=1,
    steps=FAILING,
    base=GREEN,
    link=("Requests", link.to_requests()),
)
_RETRIED = stat(
    "Retries",
    "Calls that repeat one that failed before, by all calls, where the SDK tells it. Each one waited before it began.",
    calls("SELECT countIf(RetryCount > 0) / nullIf(count(), 0) AS retries FROM calls"),
    SHARE,
    decimals=1,
    link=("Limits and retries", link.to("tokentrail-cache-limits")),
)
_OVER_TIME = lines(
    "Latency",
    "Percentiles of the calls of each interval. The dashed line is the alert's 10 s.",
    series(
        "SELECT BIN AS time, quantileExact(0.5)(Seconds) AS p50, quantileExact(0.95)(Seconds) AS p95, "
        "quantileExact(0.99)(Seconds) AS p99 FROM calls GROUP BY time ORDER BY time"
    ),
    SECONDS,
    link=("Requests", link.to_requests()),
    steps=LIMIT,
)
_HEATMAP = heatmap(
    "Latency of all calls",
    "How many calls took how long: the darker, the more. Points are single calls; a click on one opens its trace.",
    prom(
        "sum by (le) (increase(tokentrail_request_duration_seconds_bucket{SEL}[$__rate_interval]))",
        "{{le}}",
        heatmap=True,
        exemplar=True,
    ),
    SECONDS,
)
_BY_MODEL = lines(
    "P95 by model",
    "Of the ten models with most calls.",
    series(
        """
SELECT BIN AS time, Model AS model, quantileExact(0.95)(Seconds) AS p95 FROM calls
WHERE Model IN (SELECT Model FROM calls GROUP BY Model ORDER BY count() DESC LIMIT 10)
GROUP BY time, model ORDER BY time
"""
    ),
    SECONDS,
    link=OF_MODEL,
    steps=LIMIT,
)
_BY_PROVIDER = lines(
    "P95 by provider",
    "Of all calls to it. Where one provider alone is slow, it is its trouble.",
    series(
        "SELECT BIN AS time, Provider AS provider, quantileExact(0.95)(Seconds) AS p95 FROM calls "
        "GROUP BY time, provider ORDER BY time"
    ),
    SECONDS,
    link=("Requests of this provider", link.to_requests(provider=link.label("provider"))),
    steps=LIMIT,
)
_LOAD = lines(
    "Requests per second",
    "How many calls ended, by provider, as Prometheus saw the counter grow. Latency that rises with the load is a"
    " queue: at the provider, or behind a limit.",
    prom(
        "sum by (gen_ai_provider_name) (rate(tokentrail_requests_total{SEL}[$__rate_interval]))", f"{{{{{PROVIDER}}}}}"
    ),
    PER_SECOND,
    stacked=True,
    link=("Requests of this provider", link.to_requests(provider=link.label(PROVIDER))),
)
_ALERTED = lines(
    "P95 as the alert sees it",
    "What LLMLatencyP95High measured, over its window of 30 minutes, and what it compares that with.",
    alerted("LLMLatencyP95High", ENVIRONMENT),
    SECONDS,
    link=("Requests of this environment", link.to_requests(env=link.label(ENVIRONMENT))),
)
_PARTS = lines(
    "A mean stream: waiting and answering",
    "Until the first token a stream waits for the network, the provider's queue and the reading of the prompt, which"
    " cannot be told apart from here; then the model answers. Together: its mean latency.",
    series(
        "SELECT BIN AS time, avg(TtftSeconds) AS waiting, avg(Seconds - TtftSeconds) AS answering FROM calls "
        "WHERE TtftNs <= DurationNs GROUP BY time ORDER BY time"
    ),
    SECONDS,
    stacked=True,
    columns=[
        Column("waiting", "until the first token", color="orange"),
        Column("answering", "after it", color="blue"),
    ],
    link=("Requests", link.to_requests()),
)
_APPLICATION = bars(
    "Application and models",
    "Mean time of the last 500 traces that are more than model calls, by their first span: while a model call was"
    " running, and the rest, which is the application's own code, tools and databases.",
    calls(
        """
SELECT name, avg(least(in_calls, whole)) AS models, avg(greatest(whole - in_calls, 0)) AS application
FROM of_traces INNER JOIN of_calls ON of_traces.TraceId = of_calls.TraceId
WHERE spans > calls_of_it
GROUP BY name ORDER BY count() DESC LIMIT 10
""",
        more=f"""latest AS (
    SELECT TraceId FROM calls WHERE ParentSpanId != '' AND TraceId != ''
    GROUP BY TraceId ORDER BY max(Ended) DESC LIMIT 500
), of_calls AS (
    SELECT TraceId, count() AS calls_of_it,
        intervalLengthSum(toUnixTimestamp64Nano(Timestamp), toUnixTimestamp64Nano(Ended)) / 1e9 AS in_calls
    FROM (
        SELECT TraceId, Timestamp, Timestamp + toIntervalNanosecond(DurationNs) AS Ended FROM llm_requests
        WHERE TraceId IN (SELECT TraceId FROM latest)
            AND {begun("$__fromTime_ms - INTERVAL 1 HOUR", "$__toTime_ms")}
    )
    GROUP BY TraceId
), of_traces AS (
    SELECT TraceId, count() AS spans, argMin(SpanName, Timestamp) AS name,
        (max(toUnixTimestamp64Nano(Timestamp) + toInt64(Duration)) - min(toUnixTimestamp64Nano(Timestamp))) / 1e9
            AS whole
    FROM otel_traces
    WHERE TraceId IN (SELECT TraceId FROM latest)
        AND Timestamp >= $__fromTime_ms - INTERVAL 1 HOUR AND Timestamp <= $__toTime_ms
    GROUP BY TraceId
)""",
    ),
    SECONDS,
    stacked=True,
    horizontal=True,
    columns=[Column("models", color="blue"), Column("application", color="orange")],
    link=("Requests", link.to_requests()),
)
_SIZES = """[0, 250, 1000, 4000, 16000, 64000, 256000] AS bounds,
['under 250', '250 to 999', '1,000 to 3,999', '4,000 to 15,999', '16,000 to 63,999', '64,000 to 255,999',
    'from 256,000'] AS sizes"""
_BY_INPUT = bars(
    "Latency by size of the input",
    "P50 and P95 by input tokens. Bars that grow to the right say: shorten the prompt, or let the cache read it.",
    calls(
        """
SELECT sizes[arrayCount(bound -> InputTokens >= bound, bounds)] AS input_tokens,
    quantileExact(0.5)(Seconds) AS p50, quantileExact(0.95)(Seconds) AS p95
FROM calls WHERE InputTokens IS NOT NULL
GROUP BY input_tokens ORDER BY indexOf(sizes, input_tokens)
""",
        more=_SIZES,
    ),
    SECONDS,
    link=("Requests", link.to_requests()),
)
_BY_OUTPUT = bars(
    "Latency by size of the output",
    "P50 and P95 by output tokens. Most of the time of a long answer is its length: limit it, or stream it.",
    calls(
        """
SELECT sizes[arrayCount(bound -> OutputTokens >= bound, bounds)] AS output_tokens,
    quantileExact(0.5)(Seconds) AS p50, quantileExact(0.95)(Seconds) AS p95
FROM calls WHERE OutputTokens > 0
GROUP BY output_tokens ORDER BY indexOf(sizes, output_tokens)
""",
        more=_SIZES,
    ),
    SECONDS,
    link=("Requests", link.to_requests()),
)
_TRAITS = table(
    "What slow calls have in common",
    "The slowest twentieth of the calls: of what are there more than among all calls? At the top is what stands out"
    " most.",
    calls(
        f"""
SELECT what, value, slow, slow / nullIf(sum(slow) OVER (PARTITION BY what), 0) AS of_slow,
    requests / nullIf(sum(requests) OVER (PARTITION BY what), 0) AS of_all, of_slow / nullIf(of_all, 0) AS times,
    {traits.chosen()}
FROM (
    SELECT trait.1 AS what, trait.2 AS value, countIf(Seconds >= bound) AS slow, count() AS requests
    FROM calls
    ARRAY JOIN [
        ('model', toString(Model)), ('provider', toString(Provider)), ('service', toString(Service)),
        ('environment', toString(Environment)), ('feature', Feature), ('user tier', UserTier),
        ('prompt', toString(PromptName)), ('answer', if(Stream, 'streamed', 'not streamed')),
        ('input tokens', if(InputTokens IS NULL, 'not told', sizes[arrayCount(b -> InputTokens >= b, bounds)])),
        ('output tokens', if(OutputTokens IS NULL, 'not told', sizes[arrayCount(b -> OutputTokens >= b, bounds)])),
        ('retry', if(RetryCount > 0, 'yes', 'no'))
    ] AS trait
    GROUP BY what, value
)
ORDER BY of_slow - of_all DESC LIMIT 15
""",
        more=f"(SELECT quantileExactOrNull(0.95)(Seconds) FROM calls) AS bound,\n{_SIZES}",
    ),
    [
        Column("what", "What", width=110),
        traits.column("Requests with it"),
        Column("slow", "Slow calls", COUNT, width=90),
        Column("of_slow", "of the slow", SHARE, decimals=0, gauge=True),
        Column("of_all", "of all", SHARE, decimals=0, gauge=True),
        Column("times", "as often", NONE, decimals=1, width=80),
        traits.CHOSEN,
    ],
)
_SLOWEST = table(
    "Slowest calls",
    "The hundred that took longest. Yellow from 5 s, red from 10 s.",
    calls(
        """
SELECT Ended AS ended, TraceId AS trace, Seconds AS seconds, TtftSeconds AS ttft, Model AS model, Feature AS feature,
    UserId AS user, InputTokens AS input, OutputTokens AS output, RetryCount AS retries, ErrorType AS error,
    toFloat64(CostUsd) AS usd
FROM calls ORDER BY Seconds DESC LIMIT 100
"""
    ),
    [
        Column("ended", "Ended", TIME, width=170),
        Column("trace", "Trace", link=("Open the trace", link.to_requests(trace=link.VALUE)), width=120),
        Column("seconds", "Took", SECONDS, decimals=2, steps=((5, YELLOW), (10, RED))),
        Column("ttft", "First token", SECONDS, decimals=2),
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE))),
        Column("feature", "Feature", link=("Requests", link.to_requests(feature=link.VALUE))),
        Column("user", "User", link=("Requests", link.to_requests(user=link.VALUE))),
        Column("input", "Input", COUNT),
        Column("output", "Output", COUNT),
        Column("retries", "Retry", NONE),
        Column("error", "Error"),
        Column("usd", "Cost", USD, decimals=4),
    ],
)

BOARD = Board(
    uid="tokentrail-latency",
    title="LLM / Latency",
    description="How long calls took: to the first token, to the last one, for whom, and where the time went.",
    sections=(
        Section(
            "",
            (
                Placed(_PERCENTILES, 8, 4),
                Placed(_CHANGE, 5, 4),
                Placed(_GAP, 3, 4),
                Placed(_OVER, 4, 4),
                Placed(_RETRIED, 4, 4),
            ),
        ),
        Section(
            "Over time",
            (
                Placed(_OVER_TIME),
                Placed(_HEATMAP),
                Placed(_BY_MODEL, 6),
                Placed(_BY_PROVIDER, 6),
                Placed(_LOAD, 6),
                Placed(_ALERTED, 6),
            ),
        ),
        FIRST_TOKEN,
        Section(
            "Where the time goes",
            (Placed(_PARTS), Placed(_APPLICATION), Placed(_BY_INPUT), Placed(_BY_OUTPUT)),
        ),
        Section("Slow calls", (Placed(_TRAITS, 9, 12), Placed(_SLOWEST, 15, 12))),
    ),
    guide="""
This page answers: how long do users wait, is it worse than before, and what makes it slow?

1. **Top**: P50 up means that all calls are slower; P95 or P99 up alone, that some are. A large *P99 by P50* means that
   waiting is a matter of luck.
2. **Over time**: when did it begin, and is it one model or one provider? Compare with the marks of deployments.
3. **First token**: what users of a stream feel. It grows with the load of the provider and the length of the prompt.
4. **Where the time goes**: long waits are the provider, the network or the prompt; long answers are their length; the
   rest is the application.
5. **Slow calls**: what stands out among them, and each one with its trace.

Changes are against as long a time just before: choose the last 7 days to compare weeks.
Time from here to the provider and back is part of every latency: it cannot be told apart from the provider's work.
""",
)
