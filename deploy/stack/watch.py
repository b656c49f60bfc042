"""What Prometheus and Alertmanager say of the backend, by their APIs (v1 and v2)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from stack import child


@dataclass(frozen=True, slots=True)
class State:
    """How things are at one moment. Everything is `False`, 0 or empty while a server does not answer."""

    scraped: bool = False
    """Prometheus has read the backend's metrics."""
    calls: float = 0.0
    """Calls that Prometheus knows of."""
    rules: int = 0
    """Rules that were evaluated and are healthy."""
    unhealthy: tuple[str, ...] = ()
    """Rules that failed, with their error; those that were not evaluated yet are in neither."""
    waiting: int = 0
    """Rules that were not evaluated yet."""
    firing: tuple[str, ...] = ()
    """Names of the alerts that fire, by Prometheus."""
    held: tuple[str, ...] = ()
    """Names of the alerts that Alertmanager holds."""

    @property
    def complete(self) -> bool:
        """The whole way was gone: calls, scrape, rules, an alert that fires, and Alertmanager that knows of it."""
        return bool(
            self.scraped and self.calls and self.rules and not self.unhealthy and not self.waiting and self.firing
        ) and set(self.firing) <= set(self.held)


def look(prometheus: str, alertmanager: str) -> State:
    """The state now; both are URLs without a trailing slash."""
    rules = [
        rule for group in _list(_data(f"{prometheus}/api/v1/rules").get("groups")) for rule in _list(group.get("rules"))
    ]
    alerts = _list(_data(f"{prometheus}/api/v1/alerts").get("alerts"))
    return State(
        scraped=_value(prometheus, 'min(up{job="tokentrail"})') == 1,
        calls=_value(prometheus, "sum(tokentrail_requests_total)"),
        rules=sum(rule.get("health") == "ok" for rule in rules),
        unhealthy=tuple(
            f"{rule.get('name')}: {rule.get('lastError')}" for rule in rules if rule.get("health") == "err"
        ),
        waiting=sum(rule.get("health") == "unknown" for rule in rules),
        firing=_names(alert for alert in alerts if alert.get("state") == "firing"),
        held=_names(_list(_json(f"{alertmanager}/api/v2/alerts"))),
    )


def _value(prometheus: str, query: str) -> float:
    result = _list(_data(f"{prometheus}/api/v1/query?query={quote(query)}").get("result"))
    value = result[0].get("value") if result else None
    return float(value[1]) if isinstance(value, list) and len(value) == 2 else 0.0


def _names(alerts: Iterable[dict[str, object]]) -> tuple[str, ...]:
    return tuple(sorted({str(_dict(alert.get("labels")).get("alertname")) for alert in alerts}))


def _data(url: str) -> dict[str, object]:
    return _dict(_dict(_json(url)).get("data"))


def _json(url: str) -> object:
    body = child.get(url)
    return json.loads(body) if body else None


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[dict[str, object]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
