"""Telling whether a file has changed without reading it."""

from pathlib import Path


def file_state(path: Path) -> object:
    """What is another when the file at `path` was written, replaced, removed or made; equal as long as it is the same.

    A file that cannot be looked at has a state, too: the reason why. Raises nothing.
    """
    try:
        stat = path.stat()
    except OSError as error:
        return error.errno
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
