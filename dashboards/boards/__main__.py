"""`python -m boards` writes the dashboards; with `--check` it says which files are not current and exits with 1."""

import argparse
import sys
from pathlib import Path

from boards.document import text
from boards.pages import BOARDS

DIRECTORY = Path(__file__).parents[1] / "grafana" / "dashboards"


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="boards", description="Write the Grafana dashboards as JSON.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file is not current")
    check: bool = parser.parse_args().check
    wanted = {DIRECTORY / board.file_name: text(board) for board in BOARDS}
    stale = [path for path, content in wanted.items() if not path.exists() or path.read_text("utf-8") != content]
    left = [path for path in sorted(DIRECTORY.glob("*.json")) if path not in wanted]
    for path in [*stale, *left]:
        if not check:
            path.write_text(wanted[path], "utf-8") if path in wanted else path.unlink()
        print(f"{'not current' if check else 'written' if path in wanted else 'removed'}: {path.name}")  # noqa: T201
    if check and (stale or left):
        print("Run `make dashboards` and commit what it writes.")  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
