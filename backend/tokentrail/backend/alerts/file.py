"""The file of alerts: in force from the moment it is named, and again whenever it changes.

A version with errors changes nothing: the alerts that were in force stay, and what is wrong is logged and shown as a
metric.
"""

import logging
from pathlib import Path

from tokentrail.backend.alerts.definition import AlertFileError, AlertSet
from tokentrail.backend.alerts.read import read_alerts, shipped
from tokentrail.semconv.file_state import file_state

_log = logging.getLogger(__name__)


class AlertFile:
    """The alerts in force. Read by many threads, refreshed by one."""

    def __init__(self, path: Path | None) -> None:
        """Read `path`, or the shipped alerts where it is `None`. Raises `AlertFileError`."""
        self.path = path
        self.is_in_force = True
        """False while the file as it is now has errors."""
        self._seen = file_state(path) if path else None
        self.alerts: AlertSet = _read(path) if path else shipped()

    def refresh(self) -> None:
        """Read the file again where it has changed. Raises nothing."""
        if self.path is None or (state := file_state(self.path)) == self._seen:
            return
        self._seen = state
        try:
            self.alerts = _read(self.path)
        except AlertFileError as error:
            self.is_in_force = False
            _log.error("the alerts were not taken over, those of before stay in force: %s", error)
        else:
            self.is_in_force = True
            _log.info("%d alerts of %s are in force", len(self.alerts.definitions), self.path.name)


def _read(path: Path) -> AlertSet:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AlertFileError(path.name, ((0, f"the file cannot be read: {error.strerror}"),)) from error
    return read_alerts(data, path.name)
