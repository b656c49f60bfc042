"""`tokentrail demo`: the whole way of a call, from an example application to the tables."""

import argparse
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.request import ProxyHandler, build_opener

from rich.console import Console

from tokentrail.backend import config as settings
from tokentrail.backend.cli import ask, flags, output
from tokentrail.backend.demo import check, process
from tokentrail.backend.demo.backend import Addresses, DemoError, Found, OwnBackend, probe
from tokentrail.backend.demo.check import Record
from tokentrail.backend.demo.provider import ServedProvider, Settings
from tokentrail.backend.query import record
from tokentrail.semconv import providers

NAME: Final = "demo"
HELP: Final = "run an example application and show what it did"

MISSING: Final = 'The example application needs the SDKs: pip install "tokentrail[backend,demo]"'
ARRIVAL_TIMEOUT_S: Final = 15.0
"""How long the calls may take to arrive once the application has ended."""
FAULT_RATE: Final = 0.08
SEED: Final = 7
_BY: Final = (("model", "Totals by model"), ("user", "Totals by user"), ("session_path", "Totals by session path"))
_KEYS: Final = {"OPENAI_API_KEY": providers.OPENAI, "ANTHROPIC_API_KEY": providers.ANTHROPIC}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    flags.add_arguments(parser)
    parser.add_argument("--keep", action="store_true", help="leave the backend running until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print calls, totals and the check, one JSON object a line")
    parser.add_argument("--speed", type=float, default=1.0, help="pace of the local provider, 0.1 to 1000 (default 1)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"same seed, same answers (default {SEED})")
    parser.add_argument(
        "--faults", type=float, default=FAULT_RATE, help=f"share of requests that fail, 0 to 1 (default {FAULT_RATE})"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo. 0 when all figures agree, 1 when they do not or it cannot run."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        _check_sdks()
        return _Demo(args).run()
    except (DemoError, ask.AskError, settings.ConfigError) as error:
        print(f"tokentrail demo: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_sdks() -> None:
    if find_spec("openai") is None or find_spec("anthropic") is None:
        raise DemoError(MISSING)


def _leave(number: int, frame: FrameType | None) -> None:
    """End like any other way out, so that every child is stopped."""
    raise SystemExit(128 + number)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a run left behind. `lines` are answers of the API as they came, with every digit."""

    rows: list[Record]
    entries: list[Record]
    totals: dict[str, list[Record]]
    grand: Record
    all_time: Record


class _Demo:
    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._config = flags.read_config(args)
        if self._config.keys or self._config.tls:
            raise DemoError(
                f"the demo has no key and speaks no TLS: unset {settings.KEYS} and {settings.TLS_CERT}, and give it "
                "ports and a store of its own (--http, --grpc, --store) beside a backend that has them"
            )
        try:
            self._provider = Settings(args.seed, args.speed, args.faults)
        except ValueError as error:
            raise DemoError(str(error)) from error
        self._run = secrets.token_hex(4)
        # With --json, standard output belongs to the objects.
        self._console = Console(stderr=True, highlight=False) if args.json else output.console()

    def run(self) -> int:
        with ExitStack() as stack:
            own, addresses = self._find_backend(stack)
            outcome = self._produce(addresses)
            ok = self._show(outcome, addresses)
            if self._args.keep:
                self._keep(own, addresses)
        return 0 if ok else 1

    def _say(self, text: str = "") -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _find_backend(self, stack: ExitStack) -> tuple[OwnBackend | None, Addresses]:
        endpoint = f"http://{self._config.http}"
        found = Found.NOTHING if self._config.http.port == 0 else probe(endpoint)
        if found is Found.READY:
            self._say(f"[1/4] Backend      runs already at {endpoint}")
            return None, Addresses(endpoint, str(self._config.grpc), "")
        if found is Found.STRANGER:
            raise DemoError(
                f"something else than Tokentrail listens at {endpoint}; choose other ports with "
                "--http 127.0.0.1:5318 --grpc 127.0.0.1:5317, or stop it"
            )
        if found is Found.BUSY:
            raise DemoError(f"the backend at {endpoint} is starting or stopping; try again in a moment")
        self._say("[1/4] Backend      starting ...")
        own = stack.enter_context(OwnBackend(self._config, self._args.store))
        self._say(f"                   ready at {own.addresses.http}, data in {own.addresses.store}")
        return own, own.addresses

    def _produce(self, addresses: Addresses) -> _Outcome:
        with ServedProvider(self._provider) as served:
            self._say(f"[2/4] Provider     {served.url}, a local one that invents its answers")
            self._say("[3/4] Application  opentelemetry-instrument python " + str(_shown(process.APPLICATION)))
            environ = process.environment(os.environ, endpoint=addresses.http, provider=served.url, run=self._run)
            code = process.run_application(environ, sys.stderr if self._args.json else sys.stdout)
            if code != 0:
                raise DemoError(f"the example application ended with exit code {code}; its message is above")
            self._say("[4/4] Calls        waiting for the last of them")
            rows, entries = self._wait_for_calls(addresses, served.url)
        return _Outcome(
            rows=rows,
            entries=check.heard(entries, rows),
            totals={by: self._ask(addresses, "/api/totals", by=by, own=True) for by, _ in _BY},
            grand=self._ask(addresses, "/api/totals", own=True)[0],
            all_time=self._ask(addresses, "/api/totals")[0],
        )

    def _ask(self, addresses: Addresses, path: str, *, own: bool = False, **params: str) -> list[Record]:
        """Objects of the API; with `own`, of this run only."""
        if own:
            params["property.Demo-Run"] = self._run
        answer = ask.ask(ask.Place(addresses.http, None), path, params)
        return [json.loads(line, parse_float=Decimal) for line in answer.splitlines()]

    def _wait_for_calls(self, addresses: Addresses, provider: str) -> tuple[list[Record], list[Record]]:
        """The calls of this run, the oldest first, and the ledger, once there are as many of the one as of the other.

        When they do not come to agree in time both are returned as they are: the check will say what is missing.
        """
        deadline = time.monotonic() + ARRIVAL_TIMEOUT_S
        known = -1
        while True:
            with build_opener(ProxyHandler({})).open(f"{provider}/ledger", timeout=10) as answer:
                entries: list[Record] = json.load(answer)["entries"]
            rows = self._ask(addresses, "/api/requests", own=True, limit="10000")
            complete = len(_local(rows)) >= len(entries) and all(entry["outcome"] != "open" for entry in entries)
            # Calls to a real vendor are in no ledger: they are all there when no more arrive.
            settled = len(rows) == known or not _real_vendors()
            if (complete and settled and rows) or time.monotonic() > deadline:
                return rows[::-1], entries
            known = len(rows)
            time.sleep(0.5 if _real_vendors() else 0.1)

    def _show(self, outcome: _Outcome, addresses: Addresses) -> bool:
        found = _find_differences(outcome)
        if self._args.json:
            _print_json(outcome, found)
            return not found
        self._say()
        output.print_requests(outcome.rows, self._console)
        for by, title in _BY:
            self._say()
            output.print_totals(title, by, outcome.totals[by], self._console)
        self._say()
        self._say("All runs so far:  " + _line(check.of_totals([outcome.all_time])))
        self._say("This run:         " + _line(check.of_totals([outcome.grand])))
        if outcome.entries:
            self._say("Provider's word:  " + _line(check.of_ledger(outcome.entries)))
        if found:
            self._say("Check: NOT OK")
            for difference in found:
                self._say(f"  {difference}")
        else:
            self._say("Check: OK, the calls, their totals and what the local provider sent are the same")
        self._show_places(addresses)
        return not found

    def _show_places(self, addresses: Addresses) -> None:
        running = self._args.keep or not addresses.store
        lines = (
            ("metrics", f"{addresses.http}/metrics"),
            ("OTLP/HTTP", f"{addresses.http}   (OTEL_EXPORTER_OTLP_ENDPOINT)"),
            ("OTLP/gRPC", addresses.grpc),
            ("data", addresses.store or "where the running backend keeps it"),
            ("next", "tokentrail requests --user ada" if running else "tokentrail serve, or make up"),
            ("", "opentelemetry-instrument python your_app.py"),
        )
        self._say()
        self._say("The backend runs:" if running else "The backend stops now; `tokentrail serve` brings it back:")
        for name, place in lines:
            self._say(f"  {name:<10} {place}")

    def _keep(self, own: OwnBackend | None, addresses: Addresses) -> None:
        if own is None:
            self._say("The backend was running before and goes on.")
            return
        self._say(f"The backend goes on at {addresses.http}. Press Ctrl-C to stop.")
        try:
            code = own.wait()
        except KeyboardInterrupt:
            return
        raise DemoError(f"the backend ended with exit code {code}")


def _shown(path: Path) -> Path:
    """`path` as short as it can be written here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _real_vendors() -> set[str]:
    """Providers that the application calls for real, because there is a key."""
    return {provider for key, provider in _KEYS.items() if os.environ.get(key)}


def _local(rows: Sequence[Record]) -> list[Record]:
    real = _real_vendors()
    return [row for row in rows if row["provider"] not in real]


def _find_differences(outcome: _Outcome) -> list[str]:
    if not outcome.rows:
        return ["no call of this run arrived at the backend"]
    rows = check.of_rows(outcome.rows)
    grand = check.of_totals([outcome.grand])
    found = check.differences("the calls", rows, "the grand total", grand)
    for by, _ in _BY:
        found += check.differences(f"the totals by {by}", check.of_totals(outcome.totals[by]), "the grand total", grand)
    local = _local(outcome.rows)
    unequal = check.differences(
        "the calls", check.of_rows(local), "the local provider", check.of_ledger(outcome.entries)
    )
    found += unequal + (check.suspects(local, outcome.entries) if unequal else [])
    return found + check.leaks(outcome.entries)


def _line(figures: check.Figures) -> str:
    parts = [
        f"{figures.calls:,} calls, {figures.errors:,} errors",
        f"{figures.input_tokens:,} input tokens ({figures.cache_read_tokens:,} cached)",
        f"{figures.output_tokens:,} output tokens",
    ]
    return ", ".join([*parts, *([output.format_cost(figures.cost_usd)] if figures.cost_usd is not None else [])])


def _print_json(outcome: _Outcome, found: list[str]) -> None:
    """Objects on standard output, each with what it is in `record`."""
    lines: list[Record] = [{"record": "request", **row} for row in outcome.rows]
    for by, _ in _BY:
        lines += [{"record": f"totals_by_{by}", **row} for row in outcome.totals[by]]
    lines.append({"record": "totals", **outcome.grand})
    lines.append({"record": "all_time_totals", **outcome.all_time})
    lines.append(
        {
            "record": "check",
            "ok": not found,
            "differences": found,
            "requests": asdict(check.of_rows(outcome.rows)),
            "provider": asdict(check.of_ledger(outcome.entries)),
        }
    )
    for line in lines:
        sys.stdout.write(record.dump(line) + "\n")
