"""Panels of the sessions page about the one session that is chosen: its tree, its cost and its steps."""

from typing import Final

from boards import link
from boards.board import Placed
from boards.calls import calls, typed
from boards.panel import COUNT, RED, SECONDS, SHARE, TIME, USD, YELLOW, Column, flame, table
from boards.query import Sql

_ONE = f"SessionId = {typed('session')} AND SessionId != ''"
"""Condition for the calls of the session that is chosen, and for none when none is."""
_PARTS = "arrayFilter(part -> part != '', splitByChar('/', SessionPath))"
"""SQL: the path of a call as the names along it. Arrays sort as a walk down a tree does; text with slashes does not."""
_PREFIXES = "arrayMap(depth -> arraySlice(parts, 1, depth), range(length(parts) + 1))"
"""SQL: every path that `parts` is in, from the whole session down to itself."""


def rows(name: str = "sessions", source: str = "calls") -> str:
    """A table with a row for each session that has a call in `source`."""
    return f"""{name} AS (
    SELECT SessionId AS session,
        argMinIf(SessionName, Timestamp, SessionName != '') AS session_name,
        argMinIf(UserId, Timestamp, UserId != '') AS user,
        count() AS requests,
        countIf(Failed) AS failed,
        toFloat64(ifNull(sum(CostUsd), 0)) AS usd,
        toFloat64(sum(Tokens)) AS tokens,
        max(Ended) AS last_call,
        (toUnixTimestamp64Nano(last_call) - toUnixTimestamp64Nano(min(Timestamp))) / 1e9 AS seconds,
        not argMax(Failed, Ended) AS succeeded
    FROM {source} WHERE SessionId != '' GROUP BY session
)"""


def _tree(select: str) -> Sql:
    """A statement that reads `nodes`: a row for each path of the chosen session, and for each that others are below,
    as `node` (an array, empty for the session itself), with `own_*` for calls at this very path."""
    more = f"""
paths AS (
    SELECT {_PARTS} AS parts, count() AS requests, countIf(Failed) AS failed, ifNull(sum(CostUsd), 0) AS cost,
        sum(Tokens) AS tokens, sum(Seconds) AS seconds, min(Timestamp) AS begun, max(Ended) AS ended,
        max(SessionName) AS session_name
    FROM calls WHERE {_ONE} GROUP BY parts
),
nodes AS (
    SELECT arrayJoin({_PREFIXES}) AS node,
        sum(requests) AS all_requests, sum(failed) AS all_failed,
        toFloat64(sum(cost)) AS all_usd, toFloat64(sumIf(cost, parts = node)) AS own_usd,
        toFloat64(sum(tokens)) AS all_tokens, toFloat64(sumIf(tokens, parts = node)) AS own_tokens,
        sum(seconds) AS all_seconds, sumIf(seconds, parts = node) AS own_seconds,
        sumIf(requests, parts = node) AS own_requests,
        (toUnixTimestamp64Nano(max(ended)) - toUnixTimestamp64Nano(min(begun))) / 1e9 AS wall_seconds,
        max(session_name) AS session_name
    FROM paths GROUP BY node
)"""
    return calls(select, more=more)


_CHOSEN = table(
    "The session",
    "All calls of the chosen session that are in this time.",
    calls(
        """
SELECT session, session_name, user, requests, failed, usd, tokens, seconds,
    if(succeeded, 'succeeded', 'failed') AS outcome, last_call
FROM sessions LIMIT 1
""",
        more=rows().replace("SessionId != ''", _ONE),
    ),
    [
        Column("session", "Session", link=("Requests of the session", link.to_requests(session=link.VALUE))),
        Column("session_name", "Name"),
        Column("user", "User", link=("User", link.to("tokentrail-users", user=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("failed", "Failed calls", COUNT, steps=((1, YELLOW),)),
        Column("usd", "Cost", USD),
        Column("tokens", "Tokens", COUNT),
        Column("seconds", "Duration", SECONDS),
        Column("outcome", "Outcome"),
        Column("last_call", "Last call", TIME),
    ],
)


def _of_path(column: str) -> str:
    return link.to_requests(session="${session:percentencode}", path=link.field(column))


_TREE = table(
    "Tree of the session",
    "Every path of the session, below the one that it is part of. Numbers include all that is below; own is what calls "
    "at this very path used. Elapsed is from the first start to the last end, which is less than the time in calls "
    "where they ran at once.",
    _tree(
        """
SELECT if(empty(node), '/', concat(repeat('\\xC2\\xA0', 4 * length(node)), node[-1])) AS path,
    all_requests, own_requests, all_usd, all_usd / nullIf(max(all_usd) OVER (), 0) AS share, own_usd,
    all_tokens, own_tokens, all_seconds, wall_seconds, all_failed,
    concat('/', arrayStringConcat(node, '/')) AS own_path, concat(if(empty(node), '', own_path), '/*') AS all_paths
FROM nodes ORDER BY node LIMIT 500
"""
    ),
    [
        Column("path", "Path", link=("Requests here and below", _of_path("all_paths"))),
        Column("all_requests", "Requests", COUNT),
        Column("own_requests", "own", COUNT, link=("Requests here", _of_path("own_path"))),
        Column("all_usd", "Cost", USD),
        Column("share", "of cost", SHARE, gauge=True),
        Column("own_usd", "own cost", USD),
        Column("all_tokens", "Tokens", COUNT),
        Column("own_tokens", "own tokens", COUNT),
        Column("all_seconds", "In calls", SECONDS),
        Column("wall_seconds", "Elapsed", SECONDS),
        Column("all_failed", "Failed", COUNT, steps=((1, YELLOW),)),
        Column("own_path", hidden=True),
        Column("all_paths", hidden=True),
    ],
)
_FLAME = flame(
    "Cost of the session",
    "The wider, the dearer: a bar is a path with all that is below it, and stands on the one that it is part of.",
    _tree(
        """
SELECT toInt64(length(node)) AS level, all_usd AS value, own_usd AS self,
    if(empty(node), if(session_name = '', 'session', session_name), node[-1]) AS label
FROM nodes ORDER BY node LIMIT 1000
"""
    ),
    USD,
)
_STEPS = table(
    "Steps of the session",
    "The calls of the session in the order they began; after is how long after the first of them.",
    calls(
        """
SELECT (toUnixTimestamp64Nano(Timestamp) - toUnixTimestamp64Nano(min(Timestamp) OVER ())) / 1e9 AS after,
    if(SessionPath = '', '/', SessionPath) AS path, Operation AS operation, Model AS model, Seconds AS seconds,
    TtftSeconds AS ttft, InputTokens AS input_tokens, OutputTokens AS output_tokens,
    toFloat64(CostUsd) AS usd, toFloat64(sum(ifNull(CostUsd, 0)) OVER (ORDER BY Timestamp, SpanId)) AS usd_so_far,
    if(Failed, ErrorType, 'ok') AS status, TraceId AS trace
FROM calls WHERE """
        + _ONE
        + """
ORDER BY Timestamp, SpanId LIMIT 500
"""
    ),
    [
        Column("after", "After", SECONDS),
        Column("path", "Path"),
        Column("operation", "Operation"),
        Column("model", "Model"),
        Column("seconds", "Duration", SECONDS, steps=((10, RED),)),
        Column("ttft", "First token", SECONDS),
        Column("input_tokens", "Input", COUNT),
        Column("output_tokens", "Output", COUNT),
        Column("usd", "Cost", USD),
        Column("usd_so_far", "so far", USD),
        Column("status", "Status"),
        Column(
            "trace", "Trace", link=("Trace", link.to_requests(trace=link.VALUE, session="${session:percentencode}"))
        ),
    ],
)

PANELS: Final = (Placed(_CHOSEN, 24, 4), Placed(_TREE, 14, 10), Placed(_FLAME, 10, 10), Placed(_STEPS, 24, 10))
