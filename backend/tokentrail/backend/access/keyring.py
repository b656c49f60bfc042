"""The keys in force: those of the file, as it is now or as it was when it last could be read."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tokentrail.backend.access.caller import EVERY_PROJECT, Caller, Role
from tokentrail.backend.access.errors import KeyFileError, MalformedKeyError, UnknownKeyError
from tokentrail.backend.access.key import Key, id_of
from tokentrail.backend.access.key_file import load_keys
from tokentrail.backend.access.watched import Watched

_log = logging.getLogger(__name__)

_NOBODY: Final = Key("0" * 12, "nobody", Role.READ, EVERY_PROJECT, "0" * 64, datetime.fromtimestamp(0, UTC))
"""Compared where there is no such id, so that nobody can tell ids by the time it takes. Nothing has this hash."""


class Keyring:
    """The keys of a file. The constructor raises `KeyFileError`, nothing else does later. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Watched[Mapping[str, Key]] = Watched([path], self._read, KeyFileError, self._changed)

    def caller(self, text: str) -> Caller:
        """Who has the key `text`. Raises `MalformedKeyError` and `UnknownKeyError`.

        One look-up and one hash, whatever the text is.
        """
        identifier = id_of(text)
        if identifier is None:
            raise MalformedKeyError("this is no key: keys look like tt_<id>_<secret>")
        key = self._file.get().get(identifier, _NOBODY)
        if not key.matches(text):
            raise UnknownKeyError("the key is not known here, or was revoked")
        return key.caller

    def is_current(self) -> bool:
        """Whether the file as it is now is in force."""
        self._file.refresh()
        return self._file.is_current

    def loaded_at_s(self) -> float:
        """When the keys in force were read, seconds since the epoch."""
        return self._file.loaded_at_s

    def _read(self) -> Mapping[str, Key]:
        return {key.id: key for key in load_keys(self._path)}

    def _changed(self, error: Exception | None) -> None:
        if error is None:
            _log.info("the keys in %s are in force", self._path)
        else:
            _log.error("the file of keys was not taken over, the keys of before stay in force: %s", error)
