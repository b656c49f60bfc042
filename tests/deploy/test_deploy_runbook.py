"""The runbook: what it sends people to is there."""

import re
import shlex
from pathlib import Path

import pytest

from tokentrail.backend import __main__ as command_line
from tokentrail.backend import config
from tokentrail.backend.cli import COMMANDS
from tokentrail.semconv import metrics

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "dashboards" / "grafana"
TEXT = (GRAFANA / "RUNBOOK.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |^\[\w[\w-]*\]: )", TEXT, re.MULTILINE | re.DOTALL))
DASHBOARDS = dict(re.findall(r"^\[([\w-]+)\]: http://localhost:3000/d/(\S+)$", TEXT, re.MULTILINE))
CODE = re.findall(r"`([^`]+)`", TEXT.replace("\n", " "))


def test_every_alert_says_what_to_do() -> None:
    alerts = re.findall(r"- alert: (\w+)$", (GRAFANA / "alerting" / "tokentrail_rules.yml").read_text(), re.MULTILINE)

    assert list(SECTIONS) == alerts
    for name, section in SECTIONS.items():
        # A dashboard, a command, a metric or another alert.
        assert re.search(r"\]\[|\[\w[\w-]*\]|`tokentrail|\bLLM[A-Z]\w+", section), name
        assert len(section.split()) >= 25, name


def test_alerts_that_it_names_exist() -> None:
    assert set(re.findall(r"\bLLM[A-Z]\w+", TEXT)) == set(SECTIONS)


def test_dashboards_that_it_links_to_exist() -> None:
    named = {words[1] or words[0] for words in re.findall(r"\[([\w ]+)\](?:\[([\w-]+)\]|(?!\(|:))", TEXT)}
    known = {
        uid
        for path in (ROOT / "dashboards" / "boards" / "pages").glob("*.py")
        for uid in re.findall(r'^    uid="([\w-]+)"', path.read_text(), re.MULTILINE)
    }

    assert {name.lower() for name in named} == set(DASHBOARDS)
    assert set(DASHBOARDS.values()) - known == set()


def test_files_that_it_links_to_exist() -> None:
    linked = re.findall(r"\]\((\.\.[^)#]+)", TEXT)

    assert len(linked) >= 3
    assert [path for path in linked if not (GRAFANA / path).exists()] == []


def test_metrics_and_settings_that_it_names_exist() -> None:
    names = {value for name, value in vars(metrics).items() if name.isupper() and isinstance(value, str)}
    metric = {match[0] for code in CODE if (match := re.match(r"tokentrail_\w+", code))}
    setting = {code for code in CODE if re.fullmatch(r"TOKENTRAIL_\w+", code)}

    assert len(metric) >= 4
    assert metric - names == set()
    assert setting - set(config.DEFAULTS) == set()


@pytest.mark.parametrize("command", sorted({code for code in CODE if code.startswith("tokentrail ")}))
def test_commands_that_it_names_exist(command: str) -> None:
    words = shlex.split(re.sub(r"<(\w+)>", r"\1", command))[1:]
    chosen = next(each for each in COMMANDS if each.name == words[0])

    # Ends the process on what it does not know.
    args = command_line._parser(chosen, command_line._load(chosen)).parse_args(words)

    assert args is not None
