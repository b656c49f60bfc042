"""Who is told what: the shipped configuration in the real Alertmanager, with a chat, a pager and a mail server here."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.alertmanager import (
    MAIL_PASSWORD,
    Hook,
    alert_hook,
    alert_states,
    local_config,
    post_alerts,
    running_alertmanager,
    skip_without_alertmanager,
    wait_until,
)
from support.certificates import NO_OPENSSL, Authority, has_openssl
from support.smtp_sink import mail_sink


def _alert(name: str, severity: str, signal: str, component: str = "llm", **labels: str) -> Mapping[str, object]:
    return {
        "labels": {"alertname": name, "severity": severity, "signal": signal, "component": component, **labels},
        "annotations": {
            "summary": f"{name} happened",
            "runbook_url": f"http://runbook.test#{name.lower()}",
            "dashboard_url": "http://grafana.test/d/tokentrail-requests?from=1&to=2",
        },
    }


PRODUCTION = {"deployment_environment_name": "production"}
STAGING = {"deployment_environment_name": "staging"}


@pytest.fixture
def hook() -> Iterator[Hook]:
    with alert_hook() as listening:
        yield listening


@pytest.fixture
def alertmanager(tmp_path: Path, hook: Hook) -> Iterator[str]:
    skip_without_alertmanager()
    with running_alertmanager(tmp_path, local_config(tmp_path, hook)) as address:
        yield address


def test_while_the_backend_is_down_nothing_else_is_told(alertmanager: str, hook: Hook) -> None:
    post_alerts(alertmanager, _alert("LLMBackendDown", "critical", "availability", "backend"))
    wait_until("told", lambda: hook.alerts("firing", "LLMBackendDown"))

    post_alerts(
        alertmanager,
        _alert("LLMErrorBudgetBurnFast", "critical", "error_rate", **PRODUCTION),
        _alert("LLMDailyCostHigh", "medium", "cost", **PRODUCTION),
        _alert("LLMIngestRejecting", "medium", "errors", "backend"),
        _alert("DiskFull", "medium", "saturation", "machine"),
    )
    wait_until("the other one is told", lambda: "DiskFull" in hook.chat())

    assert alert_states(alertmanager) == {
        "LLMBackendDown": "active",
        "LLMErrorBudgetBurnFast/production": "suppressed",
        "LLMDailyCostHigh/production": "suppressed",
        "LLMIngestRejecting": "suppressed",
        "DiskFull": "active",
    }
    assert hook.alerts("firing", "LLMErrorBudgetBurnFast") == []
    assert "LLMDailyCostHigh" not in hook.chat()


def test_what_is_critical_mutes_the_lesser_alerts_of_its_signal_and_environment(alertmanager: str, hook: Hook) -> None:
    post_alerts(alertmanager, _alert("LLMErrorBudgetBurnFast", "critical", "error_rate", **PRODUCTION))
    wait_until("told", lambda: hook.alerts("firing", "LLMErrorBudgetBurnFast"))

    post_alerts(
        alertmanager,
        _alert("LLMErrorRateHigh", "high", "error_rate", **PRODUCTION),
        _alert("LLMErrorRateHigh", "high", "error_rate", **STAGING),
        _alert("LLMFeatureErrorRateHigh", "high", "error_rate", feature="chat", **PRODUCTION),
        _alert("LLMLatencyP95High", "medium", "latency", **PRODUCTION),
    )
    wait_until("staging", lambda: hook.alerts("firing", "LLMErrorRateHigh") and "LLMLatencyP95High" in hook.chat())

    assert alert_states(alertmanager) == {
        "LLMErrorBudgetBurnFast/production": "active",
        "LLMErrorRateHigh/production": "suppressed",
        "LLMErrorRateHigh/staging": "active",
        "LLMFeatureErrorRateHigh/production": "suppressed",
        "LLMLatencyP95High/production": "active",
    }
    told = {alert["labels"]["deployment_environment_name"] for alert in hook.alerts("firing", "LLMErrorRateHigh")}
    assert told == {"staging"}


def test_one_user_in_a_critical_state_does_not_mute_what_is_said_of_others(alertmanager: str) -> None:
    post_alerts(
        alertmanager,
        _alert("CustomerSpend", "critical", "cost", user="rich", **PRODUCTION),
        _alert("LLMUserSpendHigh", "medium", "cost", user="rich", **PRODUCTION),
        _alert("LLMUserSpendHigh", "medium", "cost", user="poor", **PRODUCTION),
        _alert("LLMDailyCostHigh", "medium", "cost", **PRODUCTION),
    )
    expected = {
        "CustomerSpend/production/rich": "active",
        "LLMUserSpendHigh/production/rich": "suppressed",
        "LLMUserSpendHigh/production/poor": "active",
        "LLMDailyCostHigh/production": "active",
    }
    wait_until("processed", lambda: alert_states(alertmanager) == expected)


def test_the_chat_is_told_in_one_message_what_happened_with_links(alertmanager: str, hook: Hook) -> None:
    post_alerts(
        alertmanager,
        _alert("LLMUserSpendHigh", "medium", "cost", user="ada", **PRODUCTION),
        _alert("LLMUserSpendHigh", "medium", "cost", user="bob", **PRODUCTION),
    )
    wait_until("both users", lambda: any("FIRING: 2" in str(body) for body in hook.chats()))

    message = next(body for body in hook.chats() if "FIRING: 2" in str(body))
    (attachment,) = message["attachments"]
    assert message["channel"] == "#llm-alerts"
    assert attachment["title"] == "[FIRING: 2] LLMUserSpendHigh production"
    assert attachment["title_link"] == "http://grafana.test/d/tokentrail-requests?from=1&to=2"
    assert attachment["color"] == "danger"
    assert attachment["text"].count("LLMUserSpendHigh happened") == 2
    assert "<http://runbook.test#llmuserspendhigh|runbook>" in attachment["text"]
    assert "<http://grafana.test/d/tokentrail-requests?from=1&to=2|calls>" in attachment["text"]


def test_what_is_low_comes_by_mail_over_tls_with_the_password_from_its_file(tmp_path: Path, hook: Hook) -> None:
    skip_without_alertmanager()
    if not has_openssl():
        pytest.skip(NO_OPENSSL)
    authority = Authority(tmp_path, "authority")
    with mail_sink(authority.sign("mail")) as mail:
        config = local_config(tmp_path, hook, mail.address, authority.certificate)
        with running_alertmanager(tmp_path, config) as address:
            post_alerts(address, _alert("LLMHourlyCostHigh", "low", "cost", **PRODUCTION))
            wait_until("a mail", lambda: mail.mails)

    (first, *_) = mail.mails
    assert mail.refused == []
    assert first.encrypted
    assert (first.user, first.password) == ("tokentrail@example.com", MAIL_PASSWORD)
    assert (first.sender, first.recipients) == ("tokentrail@example.com", ("llm-alerts@example.com",))
    assert first.message["Subject"] == "[firing] LLMHourlyCostHigh production"
    assert "LLMHourlyCostHigh happened" in first.part("html")
    assert "http://runbook.test#llmhourlycosthigh" in first.part("html")
    assert hook.received == []
