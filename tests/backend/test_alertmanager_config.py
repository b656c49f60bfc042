"""The shipped Alertmanager configuration: valid, without secrets, and each severity goes where it should."""

import re
import subprocess
from pathlib import Path

import pytest

from support.prometheus import MissingError, program

CONFIG = Path(__file__).parents[2] / "deploy" / "alertmanager" / "alertmanager.yml"


def _amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        tool = program("amtool")
    except MissingError as error:
        pytest.skip(f"no amtool: {error}")
    return subprocess.run([str(tool), *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_the_configuration_is_valid() -> None:
    done = _amtool("check-config", str(CONFIG))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("severity", "receivers"),
    [("critical", "pager,chat"), ("high", "pager,chat"), ("medium", "chat"), ("low", "mail"), ("unknown", "chat")],
)
def test_each_severity_has_its_receivers(severity: str, receivers: str) -> None:
    done = _amtool("config", "routes", "test", f"--config.file={CONFIG}", f"severity={severity}", "alertname=A")

    assert done.stdout.strip() == receivers, done.stderr


def test_secrets_come_from_files() -> None:
    text = CONFIG.read_text()

    assert (
        re.findall(r"^\s*(?:slack_api_url|smtp_auth_password|credentials|api_url|password):", text, re.MULTILINE) == []
    )
    assert set(re.findall(r"_file: (\S+)", text)) == {
        "/etc/alertmanager/secrets/slack_url",
        "/etc/alertmanager/secrets/smtp_password",
        "/etc/alertmanager/secrets/webhook_token",
    }
