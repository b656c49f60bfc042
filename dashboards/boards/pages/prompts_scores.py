"""Panels of the prompts page about evaluations: events `gen_ai.evaluation.result` in `otel_logs`, and their calls.

An evaluation is about the call whose span it is recorded under, or whose response id it names. It comes after the call:
calls of a day before the time of the dashboard are looked at, too.
"""

from typing import Final

from boards import link
from boards.board import Placed
from boards.calls import chosen, recent
from boards.panel import COUNT, NONE, TIME, Column, lines, stat, table
from boards.query import Shape, Sql
from tokentrail.backend.query.filter import PROJECT

_SPAN: Final = "if(SpanId = '', '', concat(TraceId, SpanId))"
_SCORED: Final = f"""scores AS (
    SELECT Timestamp AS At, TraceId, SpanId,
        cityHash64(Timestamp, TraceId, SpanId, mapKeys(LogAttributes), mapValues(LogAttributes)) AS Id,
        LogAttributes['gen_ai.evaluation.name'] AS Name,
        LogAttributes['gen_ai.evaluation.score.label'] AS Label,
        LogAttributes['gen_ai.evaluation.explanation'] AS Explanation,
        LogAttributes['gen_ai.response.id'] AS AboutResponse,
        toFloat64OrNull(LogAttributes['gen_ai.evaluation.score.value']) AS Number,
        if(isFinite(Number), Number, NULL) AS Score
    FROM otel_logs
    WHERE EventName = 'gen_ai.evaluation.result' AND $__timeFilter_ms(Timestamp)
        AND {chosen(PROJECT, "project")}
), keys AS (
    SELECT Id, arrayJoin(arrayFilter(key -> key != '', [{_SPAN}, AboutResponse])) AS Key FROM scores
), told AS (
    SELECT PromptName, PromptVersion, Model, Feature, CallTrace,
        arrayJoin(arrayFilter(key -> key != '', [{_SPAN}, ResponseId])) AS Key
    FROM (
        SELECT PromptName, PromptVersion, Model, Feature, TraceId, SpanId, ResponseId, TraceId AS CallTrace FROM calls
        WHERE TraceId IN (SELECT TraceId FROM scores)
            OR (ResponseId != '' AND ResponseId IN (SELECT AboutResponse FROM scores))
    )
), scored AS (
    SELECT scores.*, found.PromptName AS PromptName, found.PromptVersion AS PromptVersion, found.Model AS Model,
        found.Feature AS Feature, found.CallTrace AS CallTrace
    FROM scores JOIN (
        SELECT Id, any(PromptName) AS PromptName, any(PromptVersion) AS PromptVersion, any(Model) AS Model,
            any(Feature) AS Feature, any(CallTrace) AS CallTrace
        FROM told JOIN keys ON told.Key = keys.Key GROUP BY Id
    ) AS found ON scores.Id = found.Id
)"""


def _scored(select: str, shape: Shape = Shape.TABLE) -> Sql:
    """A statement that reads from `scored`: evaluations of this time, of calls that the variables choose."""
    return recent(select, "$__fromTime_ms - INTERVAL 1 DAY", shape, own=("prompt",), more=_SCORED)


NUMBERS = stat(
    "Evaluations",
    "Evaluations of this time that belong to a chosen call, and those of the chosen projects that belong to none.",
    _scored(
        "SELECT countIf(known) AS evaluations, countIf(NOT known) AS others FROM "
        "(SELECT Id IN (SELECT Id FROM told JOIN keys ON told.Key = keys.Key) AS known FROM scores)"
    ),
    COUNT,
    columns=[Column("others", "of no chosen call")],
    link=("The calls", f"{link.to_requests()}&${{prompt:queryparam}}"),
)
_BY_PROMPT = table(
    "Scores by prompt",
    "Evaluations by their name and by the prompt, version and model of the call. Labels are those the evaluation gave,"
    " with how often.",
    _scored(
        """
SELECT Name AS evaluation, PromptName AS prompt, PromptVersion AS version, Model AS model, count() AS evaluations,
    avgOrNull(Score) AS mean, quantileExactOrNull(0.1)(Score) AS p10, minOrNull(Score) AS lowest,
    arrayStringConcat(arrayMap((label, times) -> concat(label, ' ', toString(times)),
        mapKeys(sumMapIf(map(Label, 1), Label != '') AS counts), mapValues(counts)), ', ') AS labels
FROM scored GROUP BY evaluation, prompt, version, model ORDER BY evaluation, prompt, version DESC, model LIMIT 100
"""
    ),
    [
        Column("evaluation", "Evaluation"),
        Column("prompt", "Prompt", link=("This prompt", link.to("tokentrail-prompts", prompt=link.VALUE))),
        Column("version", "Version"),
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE))),
        Column("evaluations", "Evaluations", COUNT),
        Column("mean", "Mean score", decimals=2),
        Column("p10", "The lowest tenth up to", decimals=2),
        Column("lowest", "Lowest", decimals=2),
        Column("labels", "Labels"),
    ],
)
_OVER_TIME = lines(
    "Mean score over time",
    "By the name of the evaluation, at the moment it was made.",
    _scored(
        "SELECT $__timeInterval(At) AS time, Name AS evaluation, avg(Score) AS score FROM scored "
        "WHERE Score IS NOT NULL GROUP BY time, evaluation ORDER BY time",
        Shape.SERIES,
    ),
    NONE,
    decimals=2,
    minimum=None,
    link=("The calls", f"{link.to_requests()}&${{prompt:queryparam}}"),
)
_PROMPTS_OVER_TIME = lines(
    "Mean score by prompt version",
    "The ten versions with the most evaluations in this time, each evaluation on its own.",
    _scored(
        """
SELECT time, prompt, score FROM (
    SELECT time, prompt, score, dense_rank() OVER (ORDER BY evaluations DESC, prompt) AS place FROM (
        SELECT $__timeInterval(At) AS time,
            concat(Name, ': ', PromptName, if(PromptVersion = '', '', concat(' @ ', PromptVersion))) AS prompt,
            avg(Score) AS score, sum(count()) OVER (PARTITION BY prompt) AS evaluations
        FROM scored WHERE Score IS NOT NULL AND PromptName != '' GROUP BY time, prompt
    )
)
WHERE place <= 10 ORDER BY time
""",
        Shape.SERIES,
    ),
    NONE,
    decimals=2,
    minimum=None,
    link=("The calls", f"{link.to_requests()}&${{prompt:queryparam}}"),
)
_LOWEST = table(
    "Lowest scores",
    "The 30 evaluations with the lowest scores, with the calls they are about.",
    _scored(
        """
SELECT At AS evaluated, Name AS evaluation, Score AS score, Label AS label, substringUTF8(Explanation, 1, 200)
    AS explanation, PromptName AS prompt, PromptVersion AS version, Model AS model, Feature AS feature,
    CallTrace AS trace
FROM scored WHERE Score IS NOT NULL ORDER BY score, evaluated DESC LIMIT 30
"""
    ),
    [
        Column("evaluated", "Evaluated", TIME),
        Column("evaluation", "Evaluation"),
        Column("score", "Score", decimals=2),
        Column("label", "Label"),
        Column("explanation", "Explanation"),
        Column("prompt", "Prompt"),
        Column("version", "Version"),
        Column("model", "Model"),
        Column("feature", "Feature"),
        Column("trace", "Trace", link=("Trace", link.to_requests(trace=link.VALUE))),
    ],
)

PANELS: Final = (Placed(_OVER_TIME, 8), Placed(_PROMPTS_OVER_TIME, 16), Placed(_BY_PROMPT), Placed(_LOWEST))
