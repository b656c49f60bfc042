"""How prompts and their versions compare, how answers end and how long they are, and what evaluations say of them."""

from typing import Final

from boards import link
from boards.board import Board, Placed, Section
from boards.calls import against, calls, recent, series
from boards.pages import prompts_scores
from boards.panel import CHANGE, COUNT, FAILING, RED, SECONDS, SHARE, TIME, USD, YELLOW, Column, lines, stat, table

_OWN: Final = ("prompt",)
_NAMED: Final = "concat(PromptName, if(PromptVersion = '', '', concat(' @ ', PromptVersion)))"
_TOP: Final = (
    "PromptName != '' AND (PromptName, PromptVersion) IN (SELECT PromptName, PromptVersion FROM calls "
    "WHERE PromptName != '' GROUP BY PromptName, PromptVersion ORDER BY count() DESC LIMIT 10)"
)
_ENDED: Final = "notEmpty(FinishReasons)"
_TRUNCATED: Final = f"countIf(has(FinishReasons, 'length')) / nullIf(countIf({_ENDED}), 0)"
_THESE: Final = ("The calls", f"{link.to_requests()}&${{prompt:queryparam}}")
_THIS_PROMPT: Final = ("This prompt", link.to("tokentrail-prompts", prompt=link.VALUE))

_COVERAGE = stat(
    "Calls with a prompt",
    "Calls that say which prompt they are from, by all calls. Only those are in the sections about prompts.",
    calls("SELECT countIf(PromptName != '') / nullIf(count(), 0) AS named FROM calls"),
    SHARE,
    decimals=0,
    link=_THESE,
)
_CUT_OFF = stat(
    "Answers cut off",
    "Calls that ended because the limit of output tokens was reached, by all calls that say why they ended.",
    calls(f"SELECT {_TRUNCATED} AS truncated FROM calls", own=_OWN),
    SHARE,
    decimals=1,
    link=_THESE,
)
_WITHHELD = stat(
    "Answers withheld",
    "Calls that a content filter or a refusal ended, by all calls that say why they ended.",
    calls(
        f"SELECT countIf(has(FinishReasons, 'content_filter')) / nullIf(countIf({_ENDED}), 0) AS withheld FROM calls",
        own=_OWN,
    ),
    SHARE,
    decimals=1,
    link=_THESE,
)
_LENGTH = stat(
    "Mean answer",
    "Mean output tokens of the calls that told them, and by how much that is more or less than in as long a time"
    " before.",
    against("avgOrNull(OutputTokens)", "mean", own=_OWN),
    COUNT,
    columns=[
        Column("mean", "output tokens", decimals=0),
        CHANGE,
    ],
    link=_THESE,
)
_SESSIONS = stat(
    "Sessions that ended well",
    "Sessions of which the last of the chosen calls did not fail, by all sessions.",
    calls(
        "SELECT countIf(NOT failed) / nullIf(count(), 0) AS well FROM "
        "(SELECT argMax(Failed, Ended) AS failed FROM calls WHERE SessionId != '' GROUP BY SessionId)",
        own=_OWN,
    ),
    SHARE,
    decimals=1,
    link=("Sessions", link.to("tokentrail-sessions")),
)
_VERSIONS = table(
    "Prompts and their versions",
    "Each version of each prompt, the newest first. A change is against the version of the prompt that was first seen"
    " before it. Cut off: the limit of output tokens ended the answer.",
    calls(
        f"""
SELECT prompt, version, first_call, requests, users, usd, per_request, per_request / nullIf(lagInFrame(per_request)
    OVER versions, 0) - 1 AS cost_change, mean_input, mean_input / nullIf(lagInFrame(mean_input) OVER versions, 0) - 1
    AS input_change, mean_output, mean_output / nullIf(lagInFrame(mean_output) OVER versions, 0) - 1 AS output_change,
    p95, error_rate, truncated
FROM (
    SELECT PromptName AS prompt, PromptVersion AS version, min(Ended) AS first_call, count() AS requests,
        uniqExactIf(UserId, UserId != '') AS users, toFloat64(sum(ifNull(CostUsd, 0))) AS usd,
        toFloat64(avgOrNull(CostUsd)) AS per_request, avgOrNull(InputTokens) AS mean_input,
        avgOrNull(OutputTokens) AS mean_output, quantileExact(0.95)(Seconds) AS p95,
        countIf(Failed) / requests AS error_rate, {_TRUNCATED} AS truncated
    FROM calls WHERE PromptName != '' GROUP BY prompt, version
)
WINDOW versions AS
    (PARTITION BY prompt ORDER BY first_call, version ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
ORDER BY prompt, first_call DESC LIMIT 200
""",
        own=_OWN,
    ),
    [
        Column("prompt", "Prompt", link=_THIS_PROMPT),
        Column("version", "Version"),
        Column("first_call", "First call here", TIME),
        Column("requests", "Requests", COUNT),
        Column("users", "Users", COUNT),
        Column("usd", "Spend", USD, gauge=True),
        Column("per_request", "Per request", USD),
        Column("cost_change", "Change", SHARE, decimals=0),
        Column("mean_input", "Mean input tokens", COUNT),
        Column("input_change", "Change of input", SHARE, decimals=0, steps=((0.4, YELLOW),)),
        Column("mean_output", "Mean output tokens", COUNT),
        Column("output_change", "Change of output", SHARE, decimals=0, steps=((0.4, YELLOW),)),
        Column("p95", "P95 latency", SECONDS, steps=((10, RED),)),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
        Column("truncated", "Cut off", SHARE, decimals=1),
    ],
)
_REQUESTS = lines(
    "Requests by prompt version",
    "The ten versions with the most requests in this time.",
    series(
        f"SELECT BIN AS time, {_NAMED} AS prompt, count() AS requests FROM calls WHERE {_TOP} "
        "GROUP BY time, prompt ORDER BY time",
        own=_OWN,
    ),
    COUNT,
    bars=True,
    stacked=True,
    link=_THESE,
)
_COST = lines(
    "Cost per request by prompt version",
    "Mean over the calls that have a price; the ten versions with the most requests.",
    series(
        f"SELECT BIN AS time, {_NAMED} AS prompt, toFloat64(avg(CostUsd)) AS usd FROM calls "
        f"WHERE {_TOP} AND CostUsd IS NOT NULL GROUP BY time, prompt ORDER BY time",
        own=_OWN,
    ),
    USD,
    link=("What it went to", link.to("tokentrail-cost")),
)
_INPUT = lines(
    "Mean input tokens by prompt version",
    "A step after a change of the prompt shows what it added; the ten versions with the most requests.",
    series(
        f"SELECT BIN AS time, {_NAMED} AS prompt, avg(InputTokens) AS tokens FROM calls "
        f"WHERE {_TOP} AND InputTokens IS NOT NULL GROUP BY time, prompt ORDER BY time",
        own=_OWN,
    ),
    COUNT,
    link=_THESE,
)
_SUCCESS = table(
    "Prompts and the success of sessions",
    "Sessions in which a prompt was used, how many of them ended with a call that did not fail, and what one that did"
    " costs: the spend of all of them by the number of those.",
    calls(
        """
SELECT arrayJoin(prompts) AS prompt, count() AS sessions, countIf(NOT failed) / sessions AS well,
    sum(requests) / sessions AS requests_each, sum(usd) / sessions AS usd_each,
    sum(usd) / nullIf(countIf(NOT failed), 0) AS usd_per_success
FROM (
    SELECT groupUniqArrayIf(toString(PromptName), PromptName != '') AS prompts, argMax(Failed, Ended) AS failed,
        count() AS requests, toFloat64(sum(ifNull(CostUsd, 0))) AS usd
    FROM calls WHERE SessionId != '' GROUP BY SessionId
)
GROUP BY prompt ORDER BY sessions DESC, prompt LIMIT 50
""",
        own=_OWN,
    ),
    [
        Column("prompt", "Prompt", link=_THIS_PROMPT),
        Column("sessions", "Sessions", COUNT, link=("Sessions", link.to("tokentrail-sessions"))),
        Column("well", "Ended well", SHARE, decimals=1),
        Column("requests_each", "Requests each", COUNT, decimals=1),
        Column("usd_each", "Spend each", USD),
        Column("usd_per_success", "Spend per success", USD),
    ],
)
_REASONS = lines(
    "How answers ended",
    "Calls by the reason the provider gave: stop (by itself), tool call, length (cut off), content filter, error. Not"
    " told: failed calls, and those whose stream was left before its end.",
    series(
        f"SELECT BIN AS time, arrayJoin(if({_ENDED}, arrayDistinct(FinishReasons), ['not told'])) AS reason, "
        "count() AS requests FROM calls GROUP BY time, reason ORDER BY time",
        own=_OWN,
    ),
    COUNT,
    bars=True,
    stacked=True,
    columns=[
        Column("stop", color="green"),
        Column("length", color="orange"),
        Column("content_filter", color="red"),
        Column("not told", color="gray"),
    ],
    link=_THESE,
)
_CUT_OVER_TIME = lines(
    "Answers cut off, by model",
    "Share of the calls of each interval that the limit of output tokens ended, of those that say why they ended.",
    series(
        f"SELECT BIN AS time, Model AS model, countIf(has(FinishReasons, 'length')) / count() AS truncated FROM calls "
        f"WHERE {_ENDED} GROUP BY time, model ORDER BY time",
        own=_OWN,
    ),
    SHARE,
    link=("Requests of this model", link.to_requests(model=link.label("model"))),
)
_LENGTH_OVER_TIME = lines(
    "Mean output tokens by model",
    "Answers that become longer without an error cost more and take longer: look for a step.",
    series(
        "SELECT BIN AS time, Model AS model, avg(OutputTokens) AS tokens FROM calls WHERE OutputTokens > 0 "
        "GROUP BY time, model ORDER BY time",
        own=_OWN,
    ),
    COUNT,
    link=("Requests of this model", link.to_requests(model=link.label("model"))),
)
_LENGTHS = table(
    "Length of answers by model",
    "Output tokens of the calls that have any, beside the mean of the 7 days before this time. Yellow: half as"
    " long again as then.",
    recent(
        f"""
SELECT Model AS model, countIf(Ended >= $__fromTime_ms) AS requests,
    avgOrNullIf(OutputTokens, Ended >= $__fromTime_ms) AS mean,
    quantileExactOrNullIf(0.5)(assumeNotNull(OutputTokens), Ended >= $__fromTime_ms) AS p50,
    quantileExactOrNullIf(0.95)(assumeNotNull(OutputTokens), Ended >= $__fromTime_ms) AS p95,
    avgOrNullIf(OutputTokens, Ended < $__fromTime_ms) AS mean_before, mean / nullIf(mean_before, 0) - 1 AS change,
    countIf(has(FinishReasons, 'length') AND Ended >= $__fromTime_ms)
        / nullIf(countIf({_ENDED} AND Ended >= $__fromTime_ms), 0) AS truncated
FROM calls WHERE OutputTokens > 0 GROUP BY model HAVING requests > 0 ORDER BY requests DESC LIMIT 50
""",
        "$__fromTime_ms - INTERVAL 7 DAY",
        own=_OWN,
    ),
    [
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("mean", "Mean", COUNT),
        Column("p50", "P50", COUNT),
        Column("p95", "P95", COUNT),
        Column("mean_before", "Mean of the 7 days before", COUNT),
        Column("change", "Change", SHARE, decimals=0, steps=((0.5, YELLOW),)),
        Column("truncated", "Cut off", SHARE, decimals=1),
    ],
)
_WHERE_CUT = table(
    "Where answers are cut off",
    "Feature, prompt and model of the calls that the limit of output tokens ended, the most frequent first.",
    calls(
        f"""
SELECT Feature AS feature, PromptName AS prompt, Model AS model, countIf(has(FinishReasons, 'length')) AS cut,
    cut / count() AS share, maxIf(OutputTokens, has(FinishReasons, 'length')) AS longest, max(Ended) AS last_call
FROM calls WHERE {_ENDED} GROUP BY feature, prompt, model HAVING cut > 0 ORDER BY cut DESC LIMIT 50
""",
        own=_OWN,
    ),
    [
        Column(
            "feature",
            "Feature",
            link=("Requests", link.to_requests(feature=link.VALUE, model=link.field("model"))),
        ),
        Column("prompt", "Prompt", link=_THIS_PROMPT),
        Column("model", "Model"),
        Column("cut", "Cut off", COUNT),
        Column("share", "of the calls", SHARE, decimals=1),
        Column("longest", "Longest, tokens", COUNT),
        Column("last_call", "Last call", TIME),
    ],
)

BOARD = Board(
    uid="tokentrail-prompts",
    title="LLM / Prompts and quality",
    description="How prompts and versions compare, how answers end, how long they are, and what evaluations say.",
    own=_OWN,
    time_from="now-24h",
    sections=(
        Section(
            "",
            (
                Placed(_COVERAGE, 4, 4),
                Placed(_CUT_OFF, 4, 4),
                Placed(_WITHHELD, 4, 4),
                Placed(_LENGTH, 4, 4),
                Placed(_SESSIONS, 4, 4),
                Placed(prompts_scores.NUMBERS, 4, 4),
            ),
        ),
        Section(
            "Prompts",
            (
                Placed(_VERSIONS, 24),
                Placed(_REQUESTS, 8),
                Placed(_COST, 8),
                Placed(_INPUT, 8),
                Placed(_SUCCESS, 24, 6),
            ),
        ),
        Section(
            "Answers",
            (
                Placed(_REASONS, 8),
                Placed(_CUT_OVER_TIME, 8),
                Placed(_LENGTH_OVER_TIME, 8),
                Placed(_LENGTHS),
                Placed(_WHERE_CUT),
            ),
        ),
        Section("Evaluations", prompts_scores.PANELS),
    ),
    guide="""
1. **Has a change of a prompt paid?** *Prompts and their versions* has two versions side by side; choose one prompt at
   the top to see only its own. What it costs, how long input and answers are, how often it fails.
2. **Have answers changed without an error?** Answers that are cut off, withheld, or have become longer are not
   failures, and no error rate shows them.
3. **What do evaluations say?** Events `gen_ai.evaluation.result`, from a judge, a test or the users themselves,
   together with the calls they are about: those of the same span or with the same response id, from up to a day before.

A prompt has the name and version that the application gives it (`gen_ai.prompt.name`, `gen_ai.prompt.version`).
""",
)
