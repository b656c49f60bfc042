"""What the provider's cache saves, and how near its rate limits are."""

from boards import link
from boards.alerted import ENVIRONMENT, MODEL, PROVIDER, alerted
from boards.board import Board, Placed, Section
from boards.calls import calls, series, spans
from boards.pages.cache_limits_prompts import CALLS_WITH_HITS, GOOD, HITS, OF_MODEL, SAVINGS, TOKENS
from boards.pages.cache_limits_prompts import SECTION as PROMPT_CACHE
from boards.panel import (
    COUNT,
    GREEN,
    NONE,
    RED,
    SECONDS,
    SHARE,
    TIME,
    YELLOW,
    Column,
    lines,
    stat,
    table,
)
from boards.query import Shape, Sql

_HEADROOM = ((0, RED), (0.1, YELLOW), (0.25, GREEN))
"""Below 10 %, as LLMProviderRateLimitNear has it."""
_LEFT_REQUESTS = "RatelimitRemainingRequests / nullIf(RatelimitLimitRequests, 0)"
_LEFT_TOKENS = "RatelimitRemainingTokens / nullIf(RatelimitLimitTokens, 0)"
_ALERT = ((0.1, RED),)
_LIMITED = (
    "ifNull(StatusCode = 429, 0) "
    "OR match(lower(ErrorType), '429|rate.?limit|throttl|resource.?exhausted|too.?many.?requests')"
)
"""SQL: refused for a limit, in the words of HTTP or of an SDK."""


def _lowest(left: str) -> Sql:
    """The lowest value of `left` over time by model."""
    return series(
        f"""
SELECT BIN AS time, Model AS model, min({left}) AS left FROM calls
WHERE isNotNull({left}) AND Model IN (
    SELECT Model FROM calls WHERE isNotNull({left}) GROUP BY Model ORDER BY min({left}) LIMIT 10)
GROUP BY time, model ORDER BY time
"""
    )


_LOWEST = stat(
    "Least left of a limit",
    "The lowest share of a limit of requests or tokens that a provider said is left, in the time shown. Red below 10 %,"
    " as the alert.",
    calls(
        f"SELECT nullIf(minOrNull(least(ifNull({_LEFT_REQUESTS}, 2), ifNull({_LEFT_TOKENS}, 2))), 2) AS left FROM calls"
    ),
    SHARE,
    decimals=0,
    steps=_HEADROOM,
    link=("Requests", link.to_requests()),
)
_REFUSED = stat(
    "Refused for a limit",
    "Calls that were answered with 429, or failed with an error that says the same; and their share of all calls.",
    calls(f"SELECT countIf({_LIMITED}) AS refused, countIf({_LIMITED}) / nullIf(count(), 0) AS of_all FROM calls"),
    COUNT,
    steps=((1, YELLOW),),
    base=GREEN,
    columns=[Column("of_all", "of all calls", SHARE, decimals=2, color="text")],
    link=("What failed", link.to_requests(status="error")),
)
_NOW = table(
    "Left of the limits now",
    "What providers said last of the limits of requests and of tokens, least first. Red below 10 %, as the alert. Each"
    " key has limits of its own: this is what the last call was told.",
    calls(
        f"""
SELECT Provider AS provider, Model AS model,
    argMaxIf({_LEFT_REQUESTS}, Ended, RatelimitLimitRequests > 0) AS requests_left,
    argMaxIf(RatelimitRemainingRequests, Ended, RatelimitLimitRequests > 0) AS requests,
    argMaxIf(RatelimitLimitRequests, Ended, RatelimitLimitRequests > 0) AS of_requests,
    argMaxIf({_LEFT_TOKENS}, Ended, RatelimitLimitTokens > 0) AS tokens_left,
    argMaxIf(RatelimitRemainingTokens, Ended, RatelimitLimitTokens > 0) AS tokens,
    argMaxIf(RatelimitLimitTokens, Ended, RatelimitLimitTokens > 0) AS of_tokens,
    min(least(ifNull({_LEFT_REQUESTS}, 1), ifNull({_LEFT_TOKENS}, 1))) AS lowest, max(Ended) AS told
FROM calls WHERE RatelimitLimitRequests > 0 OR RatelimitLimitTokens > 0
GROUP BY provider, model ORDER BY least(ifNull(requests_left, 1), ifNull(tokens_left, 1)), provider, model LIMIT 50
"""
    ),
    [
        Column("provider", "Provider", link=("Requests", link.to_requests(provider=link.VALUE)), width=110),
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE))),
        Column("requests_left", "Requests left", SHARE, decimals=0, steps=_HEADROOM),
        Column("requests", "Requests", COUNT),
        Column("of_requests", "of", COUNT),
        Column("tokens_left", "Tokens left", SHARE, decimals=0, steps=_HEADROOM),
        Column("tokens", "Tokens", COUNT),
        Column("of_tokens", "of", COUNT),
        Column("lowest", "Lowest in this time", SHARE, decimals=0, steps=_HEADROOM),
        Column("told", "Told", TIME, width=170),
    ],
)
_REQUESTS_LEFT = lines(
    "Left of the limit of requests",
    "The lowest share that the provider said in each interval, of the ten models that came nearest to their limit. The"
    " dashed line is the alert's 10 %.",
    _lowest(_LEFT_REQUESTS),
    SHARE,
    decimals=0,
    maximum=1,
    link=OF_MODEL,
    steps=_ALERT,
)
_TOKENS_LEFT = lines(
    "Left of the limit of tokens",
    "As beside it, of the limit of tokens.",
    _lowest(_LEFT_TOKENS),
    SHARE,
    decimals=0,
    maximum=1,
    link=OF_MODEL,
    steps=_ALERT,
)
_ALERTED = lines(
    "Left, as the alert sees it",
    "What LLMProviderRateLimitNear measured over its window of 2 minutes: the scarcer of the two limits. Below the"
    " threshold somebody is told.",
    alerted("LLMProviderRateLimitNear", ENVIRONMENT, PROVIDER, MODEL, below=True),
    SHARE,
    decimals=0,
    maximum=1,
    link=("Requests of this model", link.to_requests(model=link.label(MODEL), provider=link.label(PROVIDER))),
)
_REFUSED_OVER_TIME = lines(
    "Refused for a limit, by model",
    "Calls that were answered with 429, or failed with an error that says the same.",
    series(
        f"""
SELECT BIN AS time, Model AS model, count() AS refused FROM calls
WHERE ({_LIMITED}) AND Model IN (
    SELECT Model FROM calls WHERE {_LIMITED} GROUP BY Model ORDER BY count() DESC LIMIT 10)
GROUP BY time, model ORDER BY time
"""
    ),
    COUNT,
    bars=True,
    stacked=True,
    link=("What failed", link.to_requests(model=link.label("model"), status="error")),
)
_WHOSE = table(
    "Who is refused",
    "Refused calls by service, feature and model, their share of the calls of the same, the user with most of them, and"
    " since when.",
    calls(
        f"""
SELECT Service AS service, Feature AS feature, Provider AS provider, Model AS model,
    countIf({_LIMITED}) AS refused, refused / count() AS of_all,
    topKIf(1)(UserId, UserId != '' AND ({_LIMITED}))[1] AS user, minIf(Ended, {_LIMITED}) AS since,
    maxIf(Ended, {_LIMITED}) AS last
FROM calls GROUP BY service, feature, provider, model HAVING refused > 0
ORDER BY refused DESC, service, feature, provider, model LIMIT 50
"""
    ),
    [
        Column("service", "Service", link=("Requests", link.to_requests(service=link.VALUE, status="error"))),
        Column("feature", "Feature", link=("Requests", link.to_requests(feature=link.VALUE, status="error"))),
        Column("provider", "Provider"),
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE, status="error"))),
        Column("refused", "Refused", COUNT, width=80),
        Column("of_all", "of all", SHARE, decimals=1, width=80),
        Column("user", "Most by", link=("Requests", link.to_requests(user=link.VALUE, status="error"))),
        Column("since", "Since", TIME, width=170),
        Column("last", "Last", TIME, width=170),
    ],
)
_RETRIES = table(
    "Retries",
    "Calls that repeat one that failed before, where the SDK tells it: their share of the calls of the same service and"
    " model, how many failed again, and the most attempts before one.",
    calls(
        """
SELECT Service AS service, Provider AS provider, Model AS model, countIf(RetryCount > 0) AS retries,
    retries / count() AS of_all, countIf(RetryCount > 0 AND Failed) / nullIf(retries, 0) AS failed_again,
    max(RetryCount) AS most
FROM calls GROUP BY service, provider, model HAVING retries > 0 ORDER BY retries DESC LIMIT 50
"""
    ),
    [
        Column("service", "Service", link=("Requests", link.to_requests(service=link.VALUE))),
        Column("provider", "Provider"),
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE))),
        Column("retries", "Retries", COUNT),
        Column("of_all", "of all calls", SHARE, decimals=1),
        Column("failed_again", "failed again", SHARE, decimals=0),
        Column("most", "Most attempts", NONE),
    ],
)
_WAITS = lines(
    "Seconds to wait",
    "The longest wait that the provider asked for in each interval (Retry-After), by model.",
    spans(
        "tokentrail.ratelimit.retry_after",
        "SELECT BIN AS time, Model AS model, max(toFloat64OrNull(Told)) AS wait FROM spans "
        "GROUP BY time, model ORDER BY time",
        Shape.SERIES,
    ),
    SECONDS,
    link=("What failed", link.to_requests(model=link.label("model"), status="error")),
)
_GATEWAY = lines(
    "Cache of a gateway",
    "Calls that a gateway such as Helicone answered from its own cache, which cost nothing, and those that it did not.",
    spans(
        "tokentrail.cache.hit",
        "SELECT BIN AS time, countIf(Told = 'true') AS hits, countIf(Told != 'true') AS misses FROM spans "
        "GROUP BY time ORDER BY time",
        Shape.SERIES,
    ),
    COUNT,
    bars=True,
    stacked=True,
    columns=[Column("hits", color="green"), Column("misses", color="blue")],
    link=("Requests", link.to_requests()),
)
_GATEWAY_MODELS = table(
    "Cache of a gateway by model",
    "Hits, hit rate, how long hits and misses took, and the seconds that hits saved, as the gateway tells them.",
    spans(
        "tokentrail.cache.hit",
        """
SELECT Model AS model, count() AS requests, countIf(Told = 'true') AS hits, hits / requests AS hit_rate,
    avgOrNullIf(Duration, Told = 'true') / 1e9 AS hit_seconds,
    avgOrNullIf(Duration, Told != 'true') / 1e9 AS miss_seconds,
    sum(toFloat64OrZero(SpanAttributes['tokentrail.cache.saved_latency'])) AS saved
FROM spans GROUP BY model ORDER BY requests DESC LIMIT 30
""",
    ),
    [
        Column("model", "Model", link=("Requests", link.to_requests(model=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("hits", "Hits", COUNT),
        Column("hit_rate", "Hit rate", SHARE, decimals=0, steps=GOOD),
        Column("hit_seconds", "A hit", SECONDS, decimals=2),
        Column("miss_seconds", "A miss", SECONDS, decimals=2),
        Column("saved", "Saved", SECONDS),
    ],
)

BOARD = Board(
    uid="tokentrail-cache-limits",
    title="LLM / Cache and rate limits",
    description="What the provider's cache saves, and how near its rate limits are.",
    sections=(
        Section(
            "",
            (
                Placed(HITS, 5, 4),
                Placed(CALLS_WITH_HITS, 3, 4),
                Placed(TOKENS, 5, 4),
                Placed(SAVINGS, 4, 4),
                Placed(_LOWEST, 3, 4),
                Placed(_REFUSED, 4, 4),
            ),
        ),
        PROMPT_CACHE,
        Section(
            "Rate limits of the provider",
            (
                Placed(_NOW, 24, 7),
                Placed(_REQUESTS_LEFT, 8),
                Placed(_TOKENS_LEFT, 8),
                Placed(_ALERTED, 8),
                Placed(_REFUSED_OVER_TIME, 8),
                Placed(_WHOSE, 16),
            ),
        ),
        Section(
            "Retries, waits and gateways",
            (Placed(_RETRIES), Placed(_WAITS), Placed(_GATEWAY), Placed(_GATEWAY_MODELS)),
            collapsed=True,
        ),
    ),
    guide="""
This page answers: does the provider's cache pay, and do its limits hold us back?

1. **Prompt cache**: providers read the beginning of a prompt from their cache when it is the same as before, at a
   fraction of the price. A low hit rate mostly means that something that changes (a time, a name) stands before what
   stays. What was *saved* is exact where a call's cost is known by its parts: cached tokens at the price that the same
   call paid for the rest of its input, less what they cost.
2. **Rate limits**: what is left, as responses tell it. Below 10 % the alert fires; at 0 the provider answers 429.
3. **Refused**: whose calls were, since when, and whether retries helped.
4. **Retries, waits and gateways** is closed, since part of it reads whole spans: it takes longer over long times.
   *Filters* there are environment, service, provider and model for waits and gateways.

Not every provider tells its limits, and not every one has a cache.
""",
)
