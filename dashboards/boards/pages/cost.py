"""What was spent, on what, why it changed, and how sure the numbers are."""

from boards import link
from boards.board import Board, Placed, Section
from boards.calls import against, calls, series
from boards.pages import cost_change, cost_prices, cost_trend
from boards.panel import CHANGE, COUNT, RED, SHARE, TIME, USD, YELLOW, Column, lines, pie, stat, table
from boards.query import Prom

_ALERTED = 'job=~"$job", deployment_environment_name=~"$env"'

_SPEND = stat(
    "Spend",
    "Exact sum of the costs of all calls in this time that have a price, and by how much that is more or less than in"
    " as long a time before.",
    against("toFloat64(sum(CostUsd))", "usd"),
    USD,
    columns=[Column("usd", "spend"), CHANGE],
    link=("The calls", link.to_requests()),
)
_PER_REQUEST = stat(
    "Cost per request",
    "Mean cost of the calls that have a price, and by how much that is more or less than in as long a time before.",
    against("toFloat64(avgOrNull(CostUsd))", "mean"),
    USD,
    columns=[Column("mean", "per request"), CHANGE],
    link=("The calls", link.to_requests()),
)
_OF_LIMIT = stat(
    "Last 24 h of the alert",
    "What the alert LLMDailyCostHigh measured last, as a share of its threshold ($100 unless set otherwise): beyond"
    " 100 % it fires. It watches production only, unless set otherwise.",
    Prom(
        f'max by (deployment_environment_name) (tokentrail_alert_value{{alert="LLMDailyCostHigh", {_ALERTED}}}'
        f' / tokentrail_alert_threshold{{alert="LLMDailyCostHigh", {_ALERTED}}})',
        "{{deployment_environment_name}}",
        instant=True,
    ),
    SHARE,
    decimals=0,
    steps=((0.8, YELLOW), (1, RED)),
    base="green",
    link=("The calls", link.to_requests()),
)
_UNPRICED = stat(
    "Calls without a price",
    "Their cost is unknown and in no sum here. Below is which they are, and why.",
    calls("SELECT countIf(Unpriced) AS unpriced FROM calls"),
    COUNT,
    steps=((1, YELLOW),),
    base="green",
    link=("Which", link.to_requests(unpriced="1")),
)
_BY_MODEL = lines(
    "Spend by model",
    "US dollars in each interval.",
    series(
        "SELECT BIN AS time, Model AS model, toFloat64(sum(CostUsd)) AS usd FROM calls WHERE CostUsd IS NOT NULL "
        "GROUP BY time, model ORDER BY time"
    ),
    USD,
    bars=True,
    stacked=True,
    link=("Requests of this model", link.to_requests(model=link.label("model"))),
)
_PARTS = "if(empty(CostComponents), map('not itemised', assumeNotNull(CostUsd)), CostComponents)"
_BY_PART = lines(
    "Spend by what it was for",
    "The parts of the costs: input that was not cached, cache reads and writes, output without reasoning, reasoning,"
    " and requests with the web searches in them. Not itemised: the provider told only a total.",
    series(
        f"SELECT BIN AS time, part.1 AS component, toFloat64(sum(part.2)) AS usd "
        f"FROM (SELECT Ended, arrayJoin(arrayZip(mapKeys({_PARTS}), mapValues({_PARTS}))) AS part FROM calls "
        "WHERE CostUsd IS NOT NULL) GROUP BY time, component ORDER BY time"
    ),
    USD,
    bars=True,
    stacked=True,
    link=("The calls", link.to_requests()),
)
_BY_PROVIDER = pie(
    "Spend by provider",
    "Which share of the spend went to which provider.",
    calls(
        "SELECT Provider AS provider, toFloat64(sum(CostUsd)) AS usd FROM calls GROUP BY provider HAVING usd > 0 "
        "ORDER BY usd DESC LIMIT 20"
    ),
    USD,
    link=("The calls of this provider", link.to_requests(provider=link.field("provider"))),
)
_PACE = lines(
    "Spend of the last hour, and where the alerts are",
    "What the alerts measured at each moment, by environment. The one threshold is fixed; the other follows the week"
    " before: twice its mean hour and three deviations above it, at least $5.",
    [
        Prom(
            f'max by (deployment_environment_name) (tokentrail_alert_value{{alert="LLMHourlyCostHigh", {_ALERTED}}})',
            "{{deployment_environment_name}}: last hour",
        ),
        Prom(
            "max by (deployment_environment_name) "
            f'(tokentrail_alert_threshold{{alert="LLMHourlyCostHigh", {_ALERTED}}})',
            "{{deployment_environment_name}}: too high",
        ),
        Prom(
            f'max by (deployment_environment_name) (tokentrail_alert_threshold{{alert="LLMCostUnusual", {_ALERTED}}})',
            "{{deployment_environment_name}}: unusual",
        ),
    ],
    USD,
    link=("The calls", link.to_requests()),
)
_TOKENS = stat(
    "Tokens",
    "Input and output as the providers counted them: what was read from a cache is inside the input, reasoning inside"
    " the output. The mean is over calls that told any.",
    calls(
        "SELECT toFloat64(sum(Tokens)) AS total, toFloat64(sum(ifNull(InputTokens, 0))) AS input, "
        "toFloat64(sum(ifNull(OutputTokens, 0))) AS output, "
        "total / nullIf(countIf(InputTokens IS NOT NULL OR OutputTokens IS NOT NULL), 0) AS mean FROM calls"
    ),
    COUNT,
    columns=[Column("mean", "per request", decimals=0)],
    link=("The calls", link.to_requests()),
)
_SOUND_AND_PICTURES = stat(
    "Sound and pictures",
    "Tokens of sound and of pictures, where providers tell them apart: they are part of input and output, at prices of"
    " their own.",
    calls(
        "SELECT toFloat64(sum(ifNull(AudioInputTokens, 0))) AS heard, "
        "toFloat64(sum(ifNull(AudioOutputTokens, 0))) AS spoken, "
        "toFloat64(sum(ifNull(ImageInputTokens, 0))) AS seen FROM calls"
    ),
    COUNT,
    columns=[Column("heard", "sound in"), Column("spoken", "sound out"), Column("seen", "pictures in")],
    link=("The calls", link.to_requests()),
)
_CACHED = stat(
    "Prompt cache",
    "Input tokens read from the providers' caches, their share of all input tokens, and the share of the spend that was"
    " paid for them: the smaller it is beside the share of tokens, the more the cache saves.",
    calls(
        "SELECT toFloat64(sum(ifNull(CacheReadTokens, 0))) AS tokens, "
        "tokens / nullIf(toFloat64(sum(ifNull(InputTokens, 0))), 0) AS of_input, "
        "toFloat64(sum(CostComponents['cache_read'])) / nullIf(toFloat64(sum(CostUsd)), 0) AS of_spend FROM calls"
    ),
    COUNT,
    columns=[
        Column("tokens", "read from caches"),
        Column("of_input", "of input tokens", SHARE, decimals=1),
        Column("of_spend", "of spend", SHARE, decimals=1),
    ],
    link=("Cache and rate limits", link.to("tokentrail-cache-limits")),
)
_TOKENS_BY_TYPE = lines(
    "Tokens by type",
    "In each interval. No token is in two of them: input is what was neither read from nor written to a cache, output"
    " is without reasoning.",
    series(
        """
SELECT BIN AS time,
    greatest(toFloat64(sum(ifNull(InputTokens, 0))) - cache_read - cache_write, 0) AS input,
    toFloat64(sum(ifNull(CacheReadTokens, 0))) AS cache_read,
    toFloat64(sum(ifNull(CacheWriteTokens, 0))) AS cache_write,
    greatest(toFloat64(sum(ifNull(OutputTokens, 0))) - reasoning, 0) AS output,
    toFloat64(sum(ifNull(ReasoningTokens, 0))) AS reasoning
FROM calls GROUP BY time ORDER BY time
"""
    ),
    COUNT,
    bars=True,
    stacked=True,
    columns=[Column("cache_read", "cache read"), Column("cache_write", "cache write")],
    link=("The calls", link.to_requests()),
)
_MEAN_TOKENS = lines(
    "Mean tokens per request",
    "Over the calls that told them. A step in it is a changed prompt, or a model that has become more talkative.",
    series(
        "SELECT BIN AS time, avgOrNull(InputTokens) AS input, avgOrNull(OutputTokens) AS output FROM calls "
        "GROUP BY time ORDER BY time"
    ),
    COUNT,
    link=("By prompt", link.to("tokentrail-prompts")),
)
_DEAREST = table(
    "Most expensive calls",
    "The 50 calls of this time that cost most.",
    calls(
        """
SELECT Ended AS ended, Model AS model, Feature AS feature, UserId AS user, SessionId AS session,
    InputTokens AS input_tokens, OutputTokens AS output_tokens, toFloat64(CostUsd) AS usd, TraceId AS trace
FROM calls WHERE CostUsd > 0 ORDER BY CostUsd DESC, ended DESC LIMIT 50
"""
    ),
    [
        Column("ended", "Ended", TIME),
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE))),
        Column("feature", "Feature", link=("Requests", link.to_requests(feature=link.VALUE))),
        Column("user", "User", link=("User", link.to("tokentrail-users", user=link.VALUE))),
        Column("session", "Session", link=("Session", link.to("tokentrail-sessions", session=link.VALUE))),
        Column("input_tokens", "Input tokens", COUNT),
        Column("output_tokens", "Output tokens", COUNT),
        Column("usd", "Cost", USD, gauge=True),
        Column("trace", "Trace", link=("Trace", link.to_requests(trace=link.VALUE))),
    ],
)

BOARD = Board(
    uid="tokentrail-cost",
    title="LLM / Cost and tokens",
    description="What was spent, on what, why it changed, and how sure the numbers are.",
    time_from="now-24h",
    sections=(
        Section(
            "",
            (
                Placed(_SPEND, 4, 4),
                Placed(cost_trend.TODAY, 4, 4),
                Placed(cost_trend.MONTH, 8, 4),
                Placed(_PER_REQUEST, 4, 4),
                Placed(_OF_LIMIT, 2, 4),
                Placed(_UNPRICED, 2, 4),
            ),
        ),
        Section(
            "Over time",
            (
                Placed(_BY_MODEL),
                Placed(cost_trend.WEEK_BEFORE),
                Placed(_BY_PART, 12),
                Placed(_PACE, 12),
            ),
        ),
        Section(
            "On what, and what changed",
            (
                Placed(cost_change.MODELS, 24),
                Placed(cost_change.PLACES),
                Placed(cost_change.FEATURES),
                Placed(cost_change.USERS),
                Placed(cost_change.PROMPTS),
                Placed(_DEAREST, 24),
            ),
        ),
        Section(
            "Tokens and providers",
            (
                Placed(_TOKENS, 9, 4),
                Placed(_CACHED, 9, 4),
                Placed(_SOUND_AND_PICTURES, 6, 4),
                Placed(_TOKENS_BY_TYPE, 8),
                Placed(_MEAN_TOKENS, 8),
                Placed(_BY_PROVIDER, 8),
            ),
        ),
        Section(
            "Days, weeks, months",
            (Placed(cost_trend.DAYS), Placed(cost_trend.REQUESTS), Placed(cost_trend.WEEKS), Placed(cost_trend.MONTHS)),
            collapsed=True,
        ),
        Section(
            "How sure the numbers are",
            (
                Placed(cost_prices.SOURCES),
                Placed(cost_prices.ASSUMPTIONS),
                Placed(cost_prices.UNPRICED),
                Placed(cost_prices.CORRECTIONS),
            ),
            collapsed=True,
        ),
    ),
    guide="""
1. **Is it more than it should be?** Spend against the time before, the month's projection, and the alert's share.
2. **What is it?** Spend by model and by part; then the tables: who and what changed the spend. *From more calls* and
   *from dearer calls* add up to the change: the first is what the additional calls would have cost at the price per
   call of before, the second is what all calls cost more each.
3. **Is it true?** Sums are exact over all calls that have a price. *How sure the numbers are* says where the prices are
   from, what was assumed, which calls have none, and what was corrected since.

Days, weeks and months are UTC and made of whole hours: there a call counts in the hour it began, else at the moment it
ended.
""",
)
