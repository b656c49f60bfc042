"""The servers of a stack on this machine: how each is started, with which files, and how it is known to be there."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack import child, files, programs

_DEPLOY: Final = programs.ROOT / "deploy"
_GRAFANA: Final = programs.ROOT / "dashboards" / "grafana"
_GRAFANA_HOME: Final = Path("/usr/share/grafana")
"""Where packages have what Grafana's server needs beside it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything is: the directory of data and logs, and ports of 127.0.0.1."""

    data: Path
    http: int
    grpc: int
    prometheus: int
    alertmanager: int
    grafana: int

    @property
    def backend_address(self) -> str:
        """`host:port` of the backend's HTTP."""
        return f"{child.HOST}:{self.http}"

    @property
    def backend_url(self) -> str:
        """Base URL of the backend, as the next ones without a trailing slash."""
        return f"http://{self.backend_address}"

    @property
    def prometheus_url(self) -> str:
        """Base URL of Prometheus."""
        return f"http://{child.HOST}:{self.prometheus}"

    @property
    def alertmanager_url(self) -> str:
        """Base URL of Alertmanager."""
        return f"http://{child.HOST}:{self.alertmanager}"

    @property
    def grafana_url(self) -> str:
        """Base URL of Grafana."""
        return f"http://{child.HOST}:{self.grafana}"

    def log(self, name: str) -> Path:
        """The log file of a server."""
        return self.data / "logs" / f"{name}.log"


def prepare(place: Place) -> None:
    """Make the directories, the file of alerts, and its rules, as a user would. Raises `ChildError`, `OSError`."""
    for directory in ("", "logs", "prometheus", "alertmanager", "grafana"):
        (place.data / directory).mkdir(parents=True, exist_ok=True)
    alerts = place.data / "alerts.yaml"
    alerts.write_text(files.ALERTS)
    command = _own("tokentrail.backend", "alerts", "render", str(alerts), "--output", str(place.data / "rules.yml"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  this program
    if done.returncode:
        raise child.ChildError(f"the rules could not be rendered: {done.stderr.strip()}")


def backend(place: Place) -> child.Server:
    """The backend, with the embedded store and without keys."""
    return child.Server(
        "the backend",
        (
            *_own("tokentrail.backend", "serve", "--store", f"chdb://{place.data / 'store'}"),
            *("--http", place.backend_address, "--grpc", f"{child.HOST}:{place.grpc}"),
        ),
        place.log("backend"),
        f"{place.backend_url}/readyz",
        {**_unset(), "TOKENTRAIL_ALERTS": str(place.data / "alerts.yaml")},
    )


def alertmanager(place: Place, program: programs.Program, receiver: str) -> child.Server:
    """Alertmanager as shipped, with every receiver at the URL `receiver`."""
    config = place.data / "alertmanager.yml"
    config.write_text(files.alertmanager((_DEPLOY / "alertmanager" / "alertmanager.yml").read_text(), receiver))
    return child.Server(
        "Alertmanager",
        (
            *program.command,
            f"--config.file={config}",
            f"--storage.path={place.data / 'alertmanager'}",
            f"--web.listen-address={child.HOST}:{place.alertmanager}",
            "--cluster.listen-address=",  # or it would open a port for others of its kind
            "--log.level=warn",
        ),
        place.log("alertmanager"),
        f"{place.alertmanager_url}/-/ready",
        directory=program.directory,
    )


def prometheus(place: Place, program: programs.Program, interval: str) -> child.Server:
    """Prometheus as shipped, scraping and evaluating every `interval`."""
    config = place.data / "prometheus.yml"
    text = files.prometheus(
        (_DEPLOY / "prometheus" / "prometheus.yml").read_text(),
        backend=place.backend_address,
        alertmanager=f"{child.HOST}:{place.alertmanager}",
        rules=str(place.data / "rules.yml"),
        interval=interval,
    )
    config.write_text(text)
    return child.Server(
        "Prometheus",
        (
            *program.command,
            f"--config.file={config}",
            f"--storage.tsdb.path={place.data / 'prometheus'}",
            "--storage.tsdb.retention.time=30d",
            f"--web.listen-address={child.HOST}:{place.prometheus}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ),
        place.log("prometheus"),
        f"{place.prometheus_url}/-/ready",
        directory=program.directory,
    )


def grafana_environment(place: Place) -> Mapping[str, str]:
    """What a Grafana on this machine needs in its environment to show the stack."""
    return files.grafana_environment(
        prometheus_url=place.prometheus_url,
        backend=place.backend_address,
        dashboards=str(_GRAFANA / "dashboards"),
        provisioning=str(_GRAFANA / "provisioning"),
        data=str(place.data / "grafana"),
        port=place.grafana,
    )


def grafana(place: Place, program: programs.Program) -> child.Server:
    """Grafana with the provisioning of this repository."""
    home = (f"--homepath={_GRAFANA_HOME}",) if _GRAFANA_HOME.exists() else ()
    return child.Server(
        "Grafana",
        (*program.command, *home),
        place.log("grafana"),
        f"{place.grafana_url}/api/health",
        grafana_environment(place),
    )


def traffic(place: Place, pause_s: float, speed: float) -> child.Server:
    """The demo's calls, round after round."""
    paths = [str(_DEPLOY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return child.Server(
        "the demo's calls",
        _own("stack.traffic", "--endpoint", place.backend_url, "--pause", str(pause_s), "--speed", str(speed)),
        place.log("traffic"),
        environment={**_unset(), "PYTHONPATH": os.pathsep.join(paths)},
    )


def _own(*module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *module)


def _unset() -> dict[str, str]:
    """Settings that this shell has for another backend are not meant for this one."""
    return {name: "" for name in os.environ if name.startswith("TOKENTRAIL_")}
