"""`tokentrail alerts`: what is watched, whether a file of alerts can be used, what each alert says, and the rules.

    tokentrail alerts list [FILE] [--json]
    tokentrail alerts check [FILE] [--json]
    tokentrail alerts render [FILE] [--output RULES] [--grafana URL] [--runbook URL]
    tokentrail alerts test [FILE] [--at TIME] [--name ALERT] [--json]

FILE is the one that TOKENTRAIL_ALERTS names, unless given; without one, `list` and `render` take the shipped alerts and
`test` those that the backend has in force.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tokentrail.backend.alerts.definition import AlertFileError, AlertSet, Definition
from tokentrail.backend.alerts.quantity import short
from tokentrail.backend.alerts.read import read_alerts, shipped
from tokentrail.backend.alerts.rules import condition, render
from tokentrail.backend.cli import ask
from tokentrail.backend.config import ALERTS

NAME: Final = "alerts"
HELP: Final = "list, check, try and render alerts"

_OFF: Final = "off"


class _CommandError(Exception):
    """It cannot be done; the message says why and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands with their arguments."""
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="list | check | render | test")
    for name, what in (
        ("list", "list the alerts of a file, with the shipped ones that it keeps"),
        ("check", "check a file of alerts; 1 when it has errors"),
        ("render", "write the Prometheus rule file"),
        ("test", "show what each alert says, now or at another time"),
    ):
        command = commands.add_parser(name, help=what, description=f"{what.capitalize()}.")
        command.add_argument("file", metavar="FILE", nargs="?", help=f"the file of alerts (default: {ALERTS})")
        if name == "render":
            command.add_argument("--output", metavar="RULES", help="where to write it (default: standard output)")
            command.add_argument("--grafana", metavar="URL", help="where links to dashboards lead")
            command.add_argument("--runbook", metavar="URL", help="where links to the runbook lead")
        else:
            command.add_argument("--json", action="store_true", help="print a JSON object for each")
        if name == "test":
            command.add_argument("--at", metavar="TIME", help="2026-11-20T18:00:00Z, or 2h for two hours ago")
            command.add_argument("--name", metavar="ALERT", help="this alert only")
            ask.add_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Do it; 1 where it cannot be done or the file has errors."""
    actions = {"list": _list, "check": _check, "render": _render, "test": _test}
    try:
        return actions[str(args.subcommand)](args)
    except (_CommandError, ask.AskError) as error:
        sys.stderr.write(f"tokentrail alerts: {error}\n")
        return 1


def _list(args: argparse.Namespace) -> int:
    alerts = _alerts(args)
    for definition in alerts.definitions:
        if args.json:
            sys.stdout.write(json.dumps(_object(definition)) + "\n")
        else:
            sys.stdout.write(f"{definition.name:<32} {definition.severity.value:<9} {condition(definition)}\n")
    return 0


def _check(args: argparse.Namespace) -> int:
    path = _named(args)
    if path is None:
        raise _CommandError(f"there is no file of alerts to check: name one, or set {ALERTS}")
    data = _data(path)
    try:
        alerts = read_alerts(data, str(path))
    except AlertFileError as error:
        _print_problems(error, data, as_json=args.json)
        return 1
    if args.json:
        for definition in alerts.definitions:
            sys.stdout.write(json.dumps(_object(definition)) + "\n")
    else:
        sys.stdout.write(f"{path}: {len(alerts.definitions)} alerts, no errors\n")
    return 0


def _render(args: argparse.Namespace) -> int:
    alerts = _alerts(args)
    links = alerts.links
    links = replace(links, grafana=(args.grafana or links.grafana).rstrip("/"), runbook=args.runbook or links.runbook)
    text = render(replace(alerts, links=links))
    if not args.output:
        sys.stdout.write(text)
        return 0
    try:
        Path(args.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _CommandError(f"{args.output} cannot be written: {error.strerror}") from error
    return 0


def _test(args: argparse.Namespace) -> int:
    path = _named(args)
    parameters = {name: value for name in ("at", "name") if (value := getattr(args, name))}
    if path is not None:
        parameters["definitions"] = _data(path).decode("utf-8", "replace")
    lines = ask.ask(ask.place(args.endpoint, args.store), "/api/alerts", parameters).splitlines()
    if args.json:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return 0
    for line in lines:
        _print_answer(json.loads(line))
    return 0


def _print_answer(alert: Mapping[str, object]) -> None:
    from tokentrail.backend.cli.output import clean

    groups = alert["groups"]
    state = f"beyond its threshold in {alert['offenders']}" if alert["is_beyond"] else "quiet"
    if not alert["groups_seen"]:
        state = "no calls to look at"
    sys.stdout.write(
        f"{clean(str(alert['name']))} ({alert['severity']}): {state}\n  {clean(str(alert['condition']))}\n"
    )
    for group in groups if isinstance(groups, list) else ():
        labels = ", ".join(f"{name}={value}" for name, value in group["labels"].items()) or "all calls"
        mark = "!" if group["is_beyond"] else " "
        sys.stdout.write(
            f"  {mark} {clean(labels)}: {group['value']:.6g}, threshold {group['threshold']:.6g}, "
            f"{group['requests']} calls\n"
        )


def _alerts(args: argparse.Namespace) -> AlertSet:
    path = _named(args)
    try:
        return shipped() if path is None else read_alerts(_data(path), str(path))
    except AlertFileError as error:
        raise _CommandError(f"{error}") from error


def _named(args: argparse.Namespace) -> Path | None:
    named = args.file or os.environ.get(ALERTS, "")
    return None if named in ("", _OFF) else Path(named).expanduser()


def _data(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _CommandError(f"{path} cannot be read: {error.strerror}") from error


def _print_problems(error: AlertFileError, data: bytes, *, as_json: bool) -> None:
    lines = data.decode("utf-8-sig", "replace").split("\n")
    for number, what in error.problems:
        source = lines[number - 1].rstrip() if 1 <= number <= len(lines) else ""
        source = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in source)[:160]
        if as_json:
            sys.stdout.write(json.dumps({"file": error.name, "line": number, "error": what, "source": source}) + "\n")
        else:
            place = f"{error.name}, line {number}" if number else error.name
            sys.stderr.write(f"{place}: {what}\n" + (f"  {number:>5} | {source}\n" if source else ""))


def _object(definition: Definition) -> dict[str, object]:
    """A definition as an object."""
    return {
        "name": definition.name,
        "metric": definition.metric.name,
        "aggregation": definition.aggregation.label,
        "unit": definition.metric.unit.value,
        "thresholds": dict(definition.thresholds),
        "direction": "below" if definition.is_below else "above",
        "window": short(definition.window_s),
        "min_requests": definition.min_requests,
        "filters": {name: list(values) for name, values in definition.filters},
        "group_by": list(definition.group_by),
        "for": short(definition.for_s),
        "every": short(definition.every_s),
        "severity": definition.severity.value,
        "condition": condition(definition),
    }
