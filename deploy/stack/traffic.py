"""`python -m stack.traffic`: the demo's application against a local provider, round after round.

No key of a vendor is used, whatever the environment holds: nothing here costs money. The backend is the one that
OTEL_EXPORTER_OTLP_ENDPOINT or `--endpoint` names, with the key in `--key-file` where it has keys.
"""

import argparse
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from tokentrail.backend.demo import process
from tokentrail.backend.demo.provider import ServedProvider, Settings

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_VENDOR_KEYS: Final = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
_FAULTS: Final = 0.08
_PAUSE_S: Final = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `--rounds` rounds, by default until interrupted. 0; with `--rounds` the exit code of one that failed."""
    parser = argparse.ArgumentParser(prog="python -m stack.traffic", description=__doc__.splitlines()[0])
    parser.add_argument("--endpoint", default=os.environ.get(ENDPOINT, "http://127.0.0.1:4318"), help="of the backend")
    parser.add_argument("--key-file", type=Path, help="file with a key of the role `ingest`")
    parser.add_argument("--rounds", type=int, default=0, help="how many; 0, the default, for without end")
    parser.add_argument("--pause", type=float, default=_PAUSE_S, help="seconds between two (default %(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="pace of the local provider (default %(default)s)")
    parser.add_argument(
        "--faults", type=float, default=_FAULTS, help="share of requests that fail (default %(default)s)"
    )
    args = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    try:
        return _run(args)
    except KeyboardInterrupt:
        return 0
    except (OSError, ValueError) as error:
        sys.stderr.write(f"stack.traffic: {error}\n")
        return 1


def environment(outer: Mapping[str, str], endpoint: str, provider: str, key: str) -> dict[str, str]:
    """The environment of one round: that of the demo's application, without keys of vendors, with the backend's."""
    free = {name: value for name, value in outer.items() if name not in _VENDOR_KEYS}
    made = process.environment(free, endpoint=endpoint, provider=provider, run=secrets.token_hex(4))
    return made | ({"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{key}"} if key else {})


def _run(args: argparse.Namespace) -> int:
    key = args.key_file.read_text().strip() if args.key_file else ""
    done = 0
    # A seed by the time: the same answers in every round would be a dull picture.
    with ServedProvider(Settings(int(time.time()), args.speed, args.faults)) as served:
        while True:
            code = process.run_application(environment(os.environ, args.endpoint, served.url, key), sys.stdout)
            done += 1
            # Without an end, a backend that was away for a round is no reason to stop.
            if args.rounds and (code != 0 or done == args.rounds):
                return code
            time.sleep(args.pause)


def _leave(number: int, frame: FrameType | None) -> None:
    """End like any other way out, so that the application ends, too."""
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
