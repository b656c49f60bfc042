"""Renders `docs/demo.svg`, the picture in the README, from a real run: `python docs/render_demo.py`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 190
TARGET = Path(__file__).with_name("demo.svg")


def main() -> None:
    """Run the demo on ports of its own and keep what it printed."""
    with tempfile.TemporaryDirectory() as directory:
        command = [str(Path(sys.executable).parent / "tokentrail"), "demo", "--http", "127.0.0.1:5318"]
        command += ["--grpc", "127.0.0.1:5317", "--store", f"chdb://{directory}/tokentrail-data"]
        environ = {**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
        shown = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout  # noqa: S603
    # As somebody sees it who followed the README: default ports, data in the current directory.
    shown = shown.replace(":5318", ":4318").replace(":5317", ":4317").replace(directory, "./").replace(".//", "./")
    tables = shown[shown.index("[4/4]") :].partition("\n")[2]
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print("[bold]$ make demo[/bold]", highlight=False)
    console.print(Text.from_ansi(tables))
    console.save_svg(str(TARGET), title="tokentrail demo")


if __name__ == "__main__":
    main()
