"""An application that ends while streams of every format are open: `open_streams_worker.py PORT OUTCOMES`.

Each is read up to its opening by a synchronous and an asynchronous client of httpx and of httpx2, whose requests go to
`PORT` of this machine. One JSON object for each is appended to `OUTCOMES`: `{"case", "shell"}`.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from support.http_shells import SHELLS, Shell
from support.reroute import async_transport, sync_transport
from support.stream_cases import CASE_HEADER, CASES, REPLY_HEADER

SHELL_HEADER = "Tokentrail-Property-Shell"
_KEPT: list[Any] = []
"""What the application still has when it ends."""


async def _open_all(shell: Shell, port: int, outcomes: Path) -> None:
    make_transport = async_transport if shell.asynchronous else sync_transport
    client = shell.make(transport=make_transport(shell.library, port))
    for case in CASES:
        headers = {REPLY_HEADER: case.fixture, CASE_HEADER: case.fixture, SHELL_HEADER: shell.name}
        response = await shell.open(client, case.url, json=case.content["request"], headers=headers)
        await shell.first(response, case.opening_bytes)
        _KEPT.extend((client, response))
        with outcomes.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"case": case.fixture, "shell": shell.name}) + "\n")


def main() -> None:
    """Open them all."""
    port, outcomes = int(sys.argv[1]), Path(sys.argv[2])
    # Not `asyncio.run`, which closes what was left open.
    loop = asyncio.new_event_loop()
    _KEPT.append(loop)
    for shell in SHELLS:
        loop.run_until_complete(_open_all(shell, port, outcomes))


main()
