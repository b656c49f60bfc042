"""`python -m stack`: backend, Prometheus and Alertmanager on this machine, with the demo's calls.

Everything listens on 127.0.0.1 and keeps its data in one directory. What Alertmanager would send to a pager, a chat and
a mailbox is shown here.
"""

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final

from stack import child, programs, servers, told, watch

_ONCE_TIMEOUT_S: Final = 180.0
"""For `--once`: one round of traffic, some scrapes and evaluations, on a machine that is busy."""
_PORTS: Final = (
    ("http", 4318, "backend: OTLP/HTTP, metrics, API"),
    ("grpc", 4317, "backend: OTLP/gRPC"),
    ("prometheus", 9090, "Prometheus"),
    ("alertmanager", 9093, "Alertmanager"),
)
_GRAFANA_PORT: Final = 3000
_SHOWN: Final = ("TOKENTRAIL_", "GF_PATHS_PROVISIONING", "GF_PLUGINS")
"""What somebody's own Grafana needs; the rest is about one that is started here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it. 0 after Ctrl-C, or with `--once` when everything is well; else 1, with a message."""
    args = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    try:
        return _Stack(args).run()
    except KeyboardInterrupt:
        return 0
    except (child.ChildError, programs.MissingProgramError, OSError) as error:
        sys.stderr.write(f"stack: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__.splitlines()[0])
    for name, port, what in (*_PORTS, ("grafana", _GRAFANA_PORT, "Grafana, where there is one")):
        parser.add_argument(
            f"--{name}-port", type=int, default=port, metavar="N", help=f"{what} (default {port}, 0 for any)"
        )
    parser.add_argument(
        "--data", type=Path, default=Path("tokentrail-stack"), help="directory of data and logs (default ./%(default)s)"
    )
    parser.add_argument("--scrape-interval", default="5s", help="of Prometheus, and of its rules (default %(default)s)")
    parser.add_argument("--no-traffic", action="store_true", help="without the demo's calls: send your own")
    parser.add_argument("--pause", type=float, default=20.0, help="seconds between two rounds of them (default 20)")
    parser.add_argument("--speed", type=float, default=1.0, help="pace of the demo's local provider (default 1)")
    parser.add_argument("--once", action="store_true", help="end when everything was seen to work, 1 when it was not")
    return parser


def _leave(number: int, frame: FrameType | None) -> None:
    """End like any other way out, so that every child is ended."""
    raise SystemExit(128 + number)


class _Stack:
    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        ports = {
            name: child.choose_port(what.split(":")[0], getattr(args, f"{name}_port"), f"--{name}-port")
            for name, _, what in _PORTS
        }
        # Tried when it comes to that: no Grafana is needed, and another one may be at that port.
        grafana = args.grafana_port or child.choose_port("Grafana", 0, "--grafana-port")
        self._place = servers.Place(args.data.absolute(), **ports, grafana=grafana)
        self._children: list[child.Child] = []

    def run(self) -> int:
        prometheus, alertmanager = programs.find("prometheus"), programs.find("alertmanager")
        servers.prepare(self._place)
        with ExitStack() as stack:
            inbox = stack.enter_context(told.listening(_show_told))
            _say(f"Data and logs in {self._place.data}")
            self._start(stack, servers.backend(self._place))
            self._start(stack, servers.alertmanager(self._place, alertmanager, inbox.url))
            self._start(stack, servers.prometheus(self._place, prometheus, self._args.scrape_interval))
            has_grafana = self._start_grafana(stack)
            if not self._args.no_traffic:
                self._start(stack, servers.traffic(self._place, self._args.pause, self._args.speed))
            if self._args.once:
                return self._check_once(inbox)
            self._show_places(watch.State(), has_grafana=has_grafana)
            self._stay()
        return 0

    def _start(self, stack: ExitStack, server: child.Server) -> None:
        _say(f"Starting {server.name} ...")
        self._children.append(stack.enter_context(child.running(server)))

    def _start_grafana(self, stack: ExitStack) -> bool:
        program = programs.find_grafana()
        if program is None or self._args.once:
            return False
        try:
            child.choose_port("Grafana", self._place.grafana, "--grafana-port")
            self._start(stack, servers.grafana(self._place, program))
        except child.ChildError as error:
            _say(f"Going on without Grafana: {error}")
            return False
        return True

    def _stay(self) -> None:
        """Until Ctrl-C, or until a server ends by itself."""
        while True:
            time.sleep(1)
            for one in self._children:
                one.check()

    def _check_once(self, inbox: told.Inbox) -> int:
        deadline = time.monotonic() + _ONCE_TIMEOUT_S
        while True:
            state = watch.look(self._place.prometheus_url, self._place.alertmanager_url)
            told_of = ", ".join(sorted(inbox.names())) or "nothing"
            if state.complete and inbox.names():
                self._show_places(state, has_grafana=False)
                _say(f"\nEverything works: {int(state.calls)} calls, {state.rules} rules, told of {told_of}")
                return 0
            for one in self._children:
                one.check()
            if time.monotonic() > deadline or state.unhealthy:
                _say(f"\nNOT WELL after {_ONCE_TIMEOUT_S:.0f} s at most: {state}, told of {told_of}")
                return 1
            time.sleep(0.5)

    def _show_places(self, state: watch.State, *, has_grafana: bool) -> None:
        place = self._place
        rows = [
            ("backend", place.backend_url, "OTEL_EXPORTER_OTLP_ENDPOINT of your applications"),
            ("", f"{child.HOST}:{place.grpc}", "the same by gRPC"),
            ("", f"{place.backend_url}/api/totals?by=model", "what was spent; or `tokentrail requests`"),
            ("", f"{place.backend_url}/metrics", "what Prometheus reads"),
            ("Prometheus", f"{place.prometheus_url}/alerts", "the rules, and what fires"),
            ("", f"{place.prometheus_url}/targets", "whether the backend is scraped"),
            ("Alertmanager", place.alertmanager_url, "what was told, silences"),
        ]
        if has_grafana:
            rows.append(("Grafana", f"{place.grafana_url}/dashboards", "folder LLM observability; admin, admin"))
        rows.append(("firing", ", ".join(state.firing) or "nothing yet", "shown here when somebody would be told"))
        rows.append(("logs", str(place.data / "logs"), ""))
        width = max(len(where) for _, where, _ in rows)
        _say()
        for name, where, what in rows:
            _say(f"  {name:<13} {where:<{width}}  {what}".rstrip())
        if not has_grafana:
            self._show_grafana()
        if not self._args.once:
            _say("\nPress Ctrl-C to end all of it.")

    def _show_grafana(self) -> None:
        _say("\nA Grafana of yours (11.6 or newer, docs/grafana.md) shows all of this when it is started so:")
        for name, value in servers.grafana_environment(self._place).items():
            if name.startswith(_SHOWN):
                _say(f"  export {name}={shlex.quote(value)}")


def _show_told(one: told.Told) -> None:
    _say(f"  [{one.receiver}] {one.status}: {one.name}: {one.summary}")


def _say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
