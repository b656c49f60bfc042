"""Panels about the names and values that applications give properties: which there are, and which are mistakes."""

from boards import link
from boards.calls import calls
from boards.panel import COUNT, SHARE, TIME, YELLOW, Column, table

_PLAIN = "replaceRegexpAll(lowerUTF8({key}), '[-_. ]', '')"
"""SQL: a name without what people write differently."""
KEYS = table(
    "All properties",
    "Every property on calls in this time, and how many values it has (about, where there are thousands). Written "
    "alike are names that differ in case, in a dash or by a letter. Case does not matter here; the others are counted "
    "apart, and are probably a mistake.",
    calls(
        f"""
SELECT key, requests, requests / nullIf((SELECT count() FROM calls), 0) AS share, number_of_values, services, last_call,
    arrayStringConcat(arraySort(arrayFilter(
        other -> other != key AND (
            {_PLAIN.format(key="other")} = {_PLAIN.format(key="key")}
            OR least(lengthUTF8(other), lengthUTF8(key)) >= 5
                AND damerauLevenshteinDistance(lowerUTF8(other), lowerUTF8(key)) = 1
        ),
        (SELECT groupArray(key) FROM keys)
    )), ', ') AS alike
FROM keys ORDER BY alike = '', requests DESC, key LIMIT 200
""",
        more="""
keys AS (
    SELECT key, count() AS requests, uniq(value) AS number_of_values,
        arrayStringConcat(arraySort(groupUniqArray(10)(Service)), ', ') AS services, max(Ended) AS last_call
    FROM calls ARRAY JOIN mapKeys(Properties) AS key, mapValues(Properties) AS value
    GROUP BY key ORDER BY requests DESC, key LIMIT 200
)""",
    ),
    [
        Column("key", "Property", link=("By its values", link.to("tokentrail-properties", property=link.VALUE))),
        Column("requests", "Requests", COUNT),
        Column("share", "of calls", SHARE, gauge=True),
        Column("number_of_values", "Values", COUNT),
        Column("services", "Services"),
        Column("last_call", "Last call", TIME),
        Column("alike", "Written alike", color=YELLOW),
    ],
)
SPELLINGS = table(
    "Values written in several ways",
    "Values of one property, whichever, that differ only in case, dashes or spaces, and so are counted apart. It "
    "should be empty.",
    calls(
        f"""
SELECT key, arrayStringConcat(arraySort(groupArray(10)(value)), ', ') AS spellings, sum(requests) AS all_requests
FROM (
    SELECT key, value, count() AS requests
    FROM calls ARRAY JOIN mapKeys(Properties) AS key, mapValues(Properties) AS value
    GROUP BY key, value
)
GROUP BY key, {_PLAIN.format(key="value")} HAVING count() > 1 ORDER BY all_requests DESC LIMIT 50
"""
    ),
    [
        Column("key", "Property", link=("By its values", link.to("tokentrail-properties", property=link.VALUE))),
        Column("spellings", "Written as"),
        Column("all_requests", "Requests", COUNT),
    ],
)
