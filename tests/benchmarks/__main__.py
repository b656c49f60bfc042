"""The benchmarks' command line.

python -m benchmarks                       added CPU time of everything, about three minutes
python -m benchmarks --rounds 30 --json result.json --markdown table.md
python -m benchmarks --only tokentrail,genai-openai --cases plain,stream_50
python -m benchmarks --profile             where Tokentrail's time goes
python -m benchmarks --lag                 lateness of an event loop under 20 streams
python -m benchmarks --startup             what importing and switching on takes
python -m benchmarks --soak --calls 1000000    whether memory grows
python -m benchmarks --pricing             what finding a price takes
python -m benchmarks --ingest              what a span costs the backend; --against for another checkout beside it
python -m benchmarks --ingest --minutes 30     the same while a load goes on: merges, memory
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import others, pricing, render
from benchmarks.cases import CASES, Case, case
from benchmarks.contenders import CONTENDERS, contender
from benchmarks.driver import Mode, Setup, measure
from benchmarks.ingest import report as ingest
from benchmarks.ingest import steady
from benchmarks.result import EmptyRunError, rows
from support.rivals import OPENAI_2, OPENAI_3

_ROUNDS: Final = 30


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What instrumentations add to a call.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"blocks of each case for each mode ({_ROUNDS})")
    parser.add_argument("--only", default="", help="contenders beside `none`: " + ", ".join(c.name for c in CONTENDERS))
    parser.add_argument("--cases", default="plain,plain_large,stream_50,stream_500", help=_names(CASES))
    parser.add_argument("--content", choices=("off", "on", "both"), default="both")
    parser.add_argument("--openai", choices=("3", "2"), default="3", help="major version of the SDK")
    parser.add_argument("--signals", choices=("traces", "all"), default="traces", help="all: metrics and logs too")
    parser.add_argument("--json", type=Path, help="file for everything that was measured")
    parser.add_argument(
        "--markdown", type=Path, help="file for the table of the README, placed between its marks if it has any"
    )
    parser.add_argument("--profile", action="store_true", help="profile Tokentrail")
    parser.add_argument("--lag", action="store_true", help="lateness of an event loop")
    parser.add_argument("--startup", action="store_true", help="import and switching on")
    parser.add_argument("--soak", action="store_true", help="memory over many calls")
    parser.add_argument("--pricing", action="store_true", help="the cost of one call")
    parser.add_argument("--ingest", action="store_true", help="spans a second of the backend")
    parser.add_argument("--against", type=Path, help="checkout of another version, for the ingest")
    parser.add_argument("--loads", default="", help="numbers of the ingest's loads, from 0; all of them unless given")
    parser.add_argument("--minutes", type=float, help="of the ingest: a steady load for so long, in place of the loads")
    parser.add_argument("--rate", type=int, default=2000, help="spans a second of the steady load (2000)")
    parser.add_argument("--calls", type=int, default=0, help="of the profile (1000) or the soak (20000)")
    parser.add_argument("--streams", type=int, default=20, help="at once, for the lag")
    return parser


def _names(cases: Sequence[Case]) -> str:
    return ", ".join(each.name for each in cases)


def _modes(arguments: argparse.Namespace) -> list[Mode]:
    """Those asked for, and the uninstrumented one."""
    wanted = [contender(name) for name in arguments.only.split(",") if name] or list(CONTENDERS)
    modes = {Mode("none", content=False): None}
    for each in wanted:
        for content in {"off": (False,), "on": (True,), "both": (False, True)}[arguments.content]:
            if each.has_content or not content:
                modes[Mode(each.name, content)] = None
    return list(modes)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure what the command line asks for; 1 when something that was asked for could not be measured."""
    arguments = _parser().parse_args()
    setup = Setup({"3": OPENAI_3, "2": OPENAI_2}[arguments.openai], arguments.signals)
    cases = [case(name) for name in arguments.cases.split(",")]
    ours = [mode for mode in _modes(arguments) if arguments.only or mode.name in ("none", "tokentrail")]
    if arguments.ingest and arguments.minutes:
        steady.steady(arguments.rate, arguments.minutes, arguments.json, _say)
        return 0
    if arguments.ingest:
        loads = [ingest.LOADS[int(number)] for number in arguments.loads.split(",") if number] or ingest.LOADS
        rounds = 1 if arguments.rounds == _ROUNDS else arguments.rounds
        return ingest.report(rounds, arguments.against, loads, arguments.json, _say)
    if arguments.pricing:
        return pricing.report(print)
    if arguments.profile:
        return others.profile(ours, cases, arguments.calls or 1000, setup, _say)
    if arguments.lag:
        return others.lag(ours, arguments.rounds, arguments.streams, setup, _say)
    if arguments.startup:
        return others.startup(_modes(arguments), arguments.rounds, setup, _say)
    if arguments.soak:
        return others.soak(ours, arguments.calls or 20_000, setup, _say)
    run = measure(_modes(arguments), cases, arguments.rounds, setup, _say)
    try:
        found = rows(run)
    except EmptyRunError as error:
        _say(f"nothing to compare with: {error}")
        return 1
    print(render.text(run, found))
    if arguments.json:
        arguments.json.write_text(json.dumps(render.as_json(run, found), indent=1) + "\n", encoding="utf-8")
    if arguments.markdown:
        known = arguments.markdown.read_text(encoding="utf-8") if arguments.markdown.exists() else ""
        arguments.markdown.write_text(render.placed(known, render.markdown(run, found)), encoding="utf-8")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
