"""Who uses the applications, what each user costs, who is out of line, and the history of one user."""

from boards import link
from boards.board import Board, Placed, Section
from boards.calls import against, by_user, calls, hourly, recent, series
from boards.pages import users_one, users_segments
from boards.panel import (
    CHANGE,
    COUNT,
    FAILING,
    RED,
    SECONDS,
    SHARE,
    TIME,
    USD,
    YELLOW,
    Column,
    bars,
    lines,
    stat,
    table,
)
from boards.query import Prom

_DAY = "toStartOfDay($__toTime, 'UTC')"
_THIS_USER = ("This user", link.to("tokentrail-users", user=link.VALUE))

_ACTIVE = stat(
    "Active users",
    "Different users with a call in this time, and how many more or fewer they are than in as long a time before. Calls"
    " without a user are nobody's.",
    against("uniqExactIf(UserId, UserId != '')", "users"),
    COUNT,
    columns=[CHANGE],
    link=("The calls", link.to_requests()),
)
_DAY_WEEK_MONTH = stat(
    "Active in a day, a week, a month",
    "Different users in the 24 hours, 7 days and 30 days up to the hour in which the shown time ends, and the day as a"
    " share of the month: how many of the month's users come on one day. Counts of many hundred users are within 2 % or"
    " so.",
    hourly(
        "SELECT uniqCombined64MergeIf(12)(Users, Hour > $__toTime - INTERVAL 1 DAY) AS day, "
        "uniqCombined64MergeIf(12)(Users, Hour > $__toTime - INTERVAL 7 DAY) AS week, "
        "uniqCombined64Merge(12)(Users) AS month, day / nullIf(month, 0) AS day_of_month FROM hours",
        since="$__toTime - INTERVAL 30 DAY",
    ),
    COUNT,
    columns=[Column("day_of_month", "day / month", SHARE, decimals=0)],
    link=("The calls", link.to_requests()),
)
_NEW = stat(
    "New users",
    "Users of this time who had no call in the 30 days before it.",
    by_user(
        "SELECT countIf(first >= $__fromTime_ms) AS users FROM "
        "(SELECT UserId, min(First) AS first FROM user_days GROUP BY UserId)",
        "$__fromTime_ms - INTERVAL 30 DAY",
    ),
    COUNT,
    link=("The calls", link.to_requests()),
)
_OVER = stat(
    "Over the daily limit",
    "Users the alert LLMUserSpendHigh finds beyond its threshold now: $5 within 24 hours, in production, unless set"
    " otherwise.",
    Prom(
        'max(tokentrail_alert_offenders{alert="LLMUserSpendHigh", job=~"$job"})',
        "users",
        instant=True,
    ),
    COUNT,
    steps=((1, RED),),
    base="green",
    link=("The calls", link.to_requests()),
)
_PER_USER = """(
    SELECT UserId, count() AS requests, toFloat64(sum(ifNull(CostUsd, 0))) AS usd
    FROM calls WHERE UserId != '' GROUP BY UserId
)"""
_SPEND_SPREAD = stat(
    "Spend per user",
    "Of the users of this time: the mean, and what half, 95 % and 99 % of them stayed at or below.",
    calls(
        "SELECT avgOrNull(usd) AS mean, quantileExactOrNull(0.5)(usd) AS p50, quantileExactOrNull(0.95)(usd) AS p95, "
        f"quantileExactOrNull(0.99)(usd) AS p99 FROM {_PER_USER}"
    ),
    USD,
    link=("What it went to", link.to("tokentrail-cost")),
)
_REQUESTS_SPREAD = stat(
    "Requests per user",
    "Of the users of this time: the mean, and what half and 95 % of them stayed at or below.",
    calls(
        "SELECT avgOrNull(requests) AS mean, quantileExactOrNull(0.5)(requests) AS p50, "
        f"quantileExactOrNull(0.95)(requests) AS p95 FROM {_PER_USER}"
    ),
    COUNT,
    columns=[Column("mean", decimals=1)],
    link=("The calls", link.to_requests()),
)
_BY_DAY = bars(
    "Active users by day",
    "Different users of each of the last 30 days (UTC), and of the 7 days that end with it. Counts of many hundred"
    " users are within 2 % or so.",
    # Hours are added up to days before days are to weeks: what there are many of is read into one sum, not seven.
    hourly(
        """
SELECT toString(date) AS day, day_users, week_users FROM (
    SELECT date, uniqCombined64MergeIf(12)(OfDay, back = 0) AS day_users,
        uniqCombined64Merge(12)(OfDay) AS week_users
    FROM (
        SELECT arrayJoin(range(7)) AS back, begun + back AS date, OfDay
        FROM (
            SELECT toDate(Hour, 'UTC') AS begun, uniqCombined64MergeState(12)(Users) AS OfDay FROM hours GROUP BY begun
        )
    )
    WHERE date > toDate($__toTime, 'UTC') - 30 AND date <= toDate($__toTime, 'UTC')
    GROUP BY date ORDER BY date WITH FILL TO toDate($__toTime, 'UTC') + 1
)
ORDER BY day LIMIT 40
""",
        since=f"{_DAY} - INTERVAL 36 DAY",
    ),
    COUNT,
    columns=[Column("day_users", "that day"), Column("week_users", "the 7 days", color="gray")],
    link=("The calls", link.to_requests()),
)
_TOP = "(SELECT UserId FROM calls WHERE UserId != '' GROUP BY UserId ORDER BY sum(ifNull(CostUsd, 0)) DESC LIMIT 10)"
_TOP_SPEND = lines(
    "Spend of the ten dearest users",
    "US dollars in each interval, and all other users together.",
    series(
        f"""
SELECT BIN AS time, if(UserId IN {_TOP}, UserId, 'all others') AS user, toFloat64(sum(ifNull(CostUsd, 0))) AS usd
FROM calls WHERE UserId != '' GROUP BY time, user ORDER BY time
"""
    ),
    USD,
    bars=True,
    stacked=True,
    link=("This user", link.to("tokentrail-users", user=link.label("user"))),
)
_ALL = table(
    "Users",
    "The 200 users who spent most in this time. Models: the three they used most, with the share of their requests.",
    calls(
        """
SELECT UserId AS user, any(UserTier) AS tier, count() AS requests, toFloat64(sum(ifNull(CostUsd, 0))) AS usd,
    usd / nullIf((SELECT toFloat64(sum(ifNull(CostUsd, 0))) FROM calls WHERE UserId != ''), 0) AS share,
    countIf(Failed) / requests AS error_rate,
    toFloat64(sum(Tokens)) AS tokens, avg(Seconds) AS mean, quantileExact(0.95)(Seconds) AS p95,
    uniqExactIf(SessionId, SessionId != '') AS sessions,
    arrayStringConcat(arrayMap(each -> concat(each.1, ' ', toString(round(100 * each.2 / requests)), ' %'), arraySlice(
        arrayReverseSort(each -> each.2, arrayMap((name, number) -> (name, number),
            mapKeys(sumMap(map(toString(Model), 1)) AS counts), mapValues(counts))), 1, 3)), ', ') AS models,
    min(Ended) AS first_call, max(Ended) AS last_call
FROM calls WHERE UserId IN (SELECT UserId FROM dearest) GROUP BY user ORDER BY usd DESC, requests DESC, user LIMIT 200
""",
        more="""
dearest AS (
    SELECT UserId FROM calls WHERE UserId != ''
    GROUP BY UserId ORDER BY sum(ifNull(CostUsd, 0)) DESC, count() DESC, UserId LIMIT 200
)""",
    ),
    [
        Column("user", "User", link=_THIS_USER),
        Column("tier", "Tier"),
        Column("requests", "Requests", COUNT, link=("Requests", link.to_requests(user=link.field("user")))),
        Column("usd", "Spend", USD),
        Column("share", "of spend", SHARE, gauge=True),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
        Column("tokens", "Tokens", COUNT),
        Column("mean", "Mean latency", SECONDS),
        Column("p95", "P95 latency", SECONDS, steps=((10, RED),)),
        Column("sessions", "Sessions", COUNT),
        Column("models", "Models"),
        Column("first_call", "First call", TIME),
        Column("last_call", "Last call", TIME),
    ],
)
_TIERS = table(
    "Tiers",
    "By the property UserTier; without a name, users that have none. The mean is per user of the tier.",
    calls(
        """
SELECT UserTier AS tier, uniqExact(UserId) AS users, count() AS requests, requests / users AS requests_per_user,
    toFloat64(sum(ifNull(CostUsd, 0))) AS usd, usd / nullIf(sum(usd) OVER (), 0) AS share, usd / users AS per_user,
    countIf(Failed) / requests AS error_rate
FROM calls WHERE UserId != '' GROUP BY tier ORDER BY usd DESC LIMIT 50
"""
    ),
    [
        Column(
            "tier",
            "Tier",
            link=(
                "Requests",
                link.to_requests(property="UserTier", property_value=link.VALUE),
            ),
        ),
        Column("users", "Users", COUNT),
        Column("requests", "Requests", COUNT),
        Column("requests_per_user", "per user", COUNT),
        Column("usd", "Spend", USD),
        Column("share", "of spend", SHARE, gauge=True),
        Column("per_user", "Mean per user", USD),
        Column("error_rate", "Error rate", SHARE, decimals=1, steps=FAILING),
    ],
)
_NEAREST = table(
    "Nearest to the daily limit",
    "Spend of each user in the 24 hours before the end of the shown time, by environment, as a share of the $5 that"
    " LLMUserSpendHigh allows unless set otherwise.",
    recent(
        """
SELECT UserId AS user, Environment AS environment, any(UserTier) AS tier, count() AS requests,
    toFloat64(sum(ifNull(CostUsd, 0))) AS usd, usd / 5 AS of_limit
FROM calls WHERE UserId != '' GROUP BY user, environment ORDER BY usd DESC LIMIT 20
""",
        "$__toTime_ms - INTERVAL 1 DAY",
    ),
    [
        Column("user", "User", link=_THIS_USER),
        Column("environment", "Environment"),
        Column("tier", "Tier"),
        Column("requests", "Requests", COUNT),
        Column("usd", "Spend", USD),
        Column("of_limit", "of the limit", SHARE, decimals=0, steps=((0.8, YELLOW), (1, RED))),
    ],
)
_OUT_OF_LINE = table(
    "Possible abuse",
    "Long prompts are those with more input tokens than 99 % of the prompts of the user's tier. Here are the 20 users"
    " with the most of them: many, or many together with a large share of all requests, are worth a look.",
    calls(
        """
SELECT UserId AS user, any(UserTier) AS tier, count() AS requests, requests / nullIf((SELECT count() FROM calls), 0)
    AS share_of_requests, countIf(InputTokens > limits[UserTier]) AS long_prompts,
    long_prompts / requests AS long_share, max(InputTokens) AS longest, toUInt64(any(limits[UserTier])) AS p99_of_tier,
    toFloat64(sum(ifNull(CostUsd, 0))) AS usd
FROM calls WHERE UserId != ''
GROUP BY user ORDER BY long_prompts DESC, requests DESC LIMIT 20
""",
        more="""(
    SELECT mapFromArrays(groupArray(Tier), groupArray(Longest)) FROM (
        SELECT UserTier AS Tier, toFloat64(quantileExact(0.99)(assumeNotNull(InputTokens))) AS Longest
        FROM calls WHERE UserId != '' AND InputTokens IS NOT NULL GROUP BY Tier LIMIT 1000
    )
) AS limits""",
    ),
    [
        Column("user", "User", link=_THIS_USER),
        Column("tier", "Tier"),
        Column("requests", "Requests", COUNT),
        Column("share_of_requests", "of all requests", SHARE, gauge=True),
        Column("long_prompts", "Long prompts", COUNT),
        Column("long_share", "of the user's", SHARE, decimals=1),
        Column("longest", "Longest, tokens", COUNT),
        Column("p99_of_tier", "P99 of the tier", COUNT),
        Column("usd", "Spend", USD),
    ],
)

BOARD = Board(
    uid="tokentrail-users",
    title="LLM / Users",
    description="Who uses the applications, what each user costs, and who is out of line.",
    own=("user",),
    time_from="now-24h",
    sections=(
        Section(
            "",
            (
                Placed(_ACTIVE, 4, 4),
                Placed(_DAY_WEEK_MONTH, 6, 4),
                Placed(_NEW, 2, 4),
                Placed(_OVER, 2, 4),
                Placed(_SPEND_SPREAD, 6, 4),
                Placed(_REQUESTS_SPREAD, 4, 4),
            ),
        ),
        Section("Everybody", (Placed(_BY_DAY), Placed(_TOP_SPEND), Placed(_ALL, 24, 10))),
        Section("Limits and groups", (Placed(_TIERS, 24, 6), Placed(_NEAREST), Placed(_OUT_OF_LINE))),
        Section("One user: ${user}", users_one.PANELS),
        Section("Segments", users_segments.PANELS, collapsed=True),
    ),
    guide="""
1. **How many are there, and are they more?** The numbers on top; by day below.
2. **Who costs what?** The table of users; click one and the section *One user* is about that user. With an empty
   field *User* that section is about everybody.
3. **Who is out of line?** Nearest to the daily limit, and possible abuse.
4. **Segments** (look back 60 days, so they open on demand). *Power*: the tenth of the users with the most requests
   in 30 days. *Active*: a call in 7 days. *New*: the first call of 60 days is in the last 30. *At risk*: at least 5
   calls in the 7 days before the last 7, and less than half as many since.

Only the section *One user* follows the field *User*. Days are UTC.
""",
)
