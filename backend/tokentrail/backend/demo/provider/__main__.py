"""`python -m tokentrail.backend.demo.provider`: the local provider alone, until Ctrl-C."""

import argparse
import sys
import threading

from tokentrail.backend.demo.provider import ServedProvider, Settings


def main() -> int:
    """Serve until interrupted; 1 when the port or a setting is no good."""
    parser = argparse.ArgumentParser(prog="python -m tokentrail.backend.demo.provider", description=__doc__)
    parser.add_argument("--port", type=int, default=8090, help="port on 127.0.0.1 (default %(default)s, 0 for any)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same answers (default %(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="factor on the pace (default %(default)s)")
    parser.add_argument("--faults", type=float, default=0.0, help="share of failing requests (default %(default)s)")
    options = parser.parse_args()
    try:
        settings = Settings(options.seed, options.speed, options.faults)
        with ServedProvider(settings, options.port) as served:
            sys.stdout.write(
                f"Local provider at {served.url}\n"
                f"  TOKENTRAIL_DEMO_PROVIDER={served.url} opentelemetry-instrument python app.py\n"
                f"  {served.url}/ledger tells what it sent; Ctrl-C stops it.\n"
            )
            sys.stdout.flush()
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The local provider cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
