"""`tokentrail serve`: the backend in the foreground."""

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
from typing import Final

from tokentrail.backend import config as settings
from tokentrail.backend.app import (
    Endpoints,
    StartError,
    new_event_loop,
    open_access,
    open_store,
    serve,
    use_prices,
)
from tokentrail.backend.cli import flags

NAME: Final = "serve"
HELP: Final = "receive OTLP, store it and serve metrics and the API"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    flags.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON line with the addresses once ready")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted. 0 after a clean shutdown, 1 when it cannot start, 130 when interrupted before it did."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = flags.read_config(args)
        use_prices(config)
        access = open_access(config)
        store = open_store(config)

        def announce(endpoints: Endpoints, /) -> None:
            _collect_garbage_rarely()
            lines = _json_line(config, endpoints) if args.json else _friendly_lines(config, endpoints)
            sys.stdout.write(lines)
            sys.stdout.flush()

        with asyncio.Runner(loop_factory=new_event_loop()) as runner:
            runner.run(serve(config, store, announce, access=access))
    except (settings.ConfigError, StartError) as error:
        sys.stderr.write(f"tokentrail serve: {error}\n")
        return 1
    except KeyboardInterrupt:  # while the store was opened; later the server catches it
        return 130
    if not args.json:
        sys.stdout.write("Stopped. Everything that was acknowledged is stored.\n")
    return 0


def _collect_garbage_rarely() -> None:
    """Spans on their way are hundreds of thousands of objects, none of them in a cycle: do not walk them all the time.

    By default a tenth to a third of the whole time went there. What is there now stays, and is not looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _json_line(config: settings.Config, endpoints: Endpoints) -> str:
    line = {
        "http": _url(config, endpoints),
        "grpc": str(endpoints.grpc),
        "store": str(config.server or config.store_path.absolute()),
        "pid": os.getpid(),
    }
    return json.dumps(line) + "\n"


def _friendly_lines(config: settings.Config, endpoints: Endpoints) -> str:
    url = _url(config, endpoints)
    return (
        "Tokentrail is ready.\n"
        f"  OTLP/gRPC   {endpoints.grpc}{'' if config.tls is None else '   (TLS)'}\n"
        f"  OTLP/HTTP   {url}   (OTEL_EXPORTER_OTLP_ENDPOINT)\n"
        f"  metrics     {url}/metrics\n"
        f"  API         {url}/api/requests\n"
        f"  data        {config.server or config.store_path.absolute()}\n"
        f"  keys        {'none: this machine only' if config.keys is None else config.keys.absolute()}\n"
        "Press Ctrl-C to stop.\n"
    )


def _url(config: settings.Config, endpoints: Endpoints) -> str:
    return f"{'http' if config.tls is None else 'https'}://{endpoints.http}"
