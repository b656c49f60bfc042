"""The compose files: valid by Compose's own schema, and what a schema cannot say."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stack import access
from tokentrail.backend import config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = ("compose.yaml", "compose.embedded.yaml")
SCHEMA = ROOT / "tests" / "fixtures" / "compose" / "compose-spec.json"
VARIABLE = re.compile(r"(?<!\$)\$\{?(\w+)(?::?([-?])([^}]*))?\}?")
"""As Compose fills in: `$NAME`, `${NAME:-default}`, `${NAME:?message}`; `$$` is a dollar sign."""
ELSEWHERE = {"TOKENTRAIL_GRAFANA_PASSWORD_NAME", "TOKENTRAIL_DASHBOARDS", "TOKENTRAIL_PROMETHEUS_URL"} | {
    f"TOKENTRAIL_CLICKHOUSE_{part}" for part in ("HOST", "PORT")
}
"""Variables of Grafana's provisioning, not of the backend."""


def _load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return document


def _services() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name in FILES:
        for service, definition in _load(name)["services"].items():
            yield name, service, definition


def _mounts() -> Iterator[tuple[str, str]]:
    """Source and target of each mount; all are written in the short form."""
    for _, _, definition in _services():
        for volume in definition.get("volumes", ()):
            source, target, *_ = volume.split(":")
            yield source, target


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_is_valid_by_the_schema(name: str) -> None:
    jsonschema.validate(_load(name), json.loads(SCHEMA.read_text()))


def test_the_schema_finds_a_mistake() -> None:
    document = _load("compose.yaml")
    document["services"]["backend"]["prots"] = []

    with pytest.raises(jsonschema.ValidationError, match="prots"):
        jsonschema.validate(document, json.loads(SCHEMA.read_text()))


def test_everything_that_is_mounted_is_there() -> None:
    volumes = _load("compose.yaml")["volumes"]
    mounted = {source for source, _ in _mounts()}

    assert {source for source in mounted if source.startswith(".") and not (DEPLOY / source).exists()} == set()
    assert {source for source in mounted if not source.startswith(".")} == set(volumes)


def test_files_of_the_repository_are_mounted_to_be_read_only() -> None:
    written = [
        volume
        for _, _, definition in _services()
        for volume in definition.get("volumes", ())
        if volume.startswith(".") and not volume.endswith(":ro")
    ]

    assert written == []


def test_ports_are_this_machines_own() -> None:
    ports = [port for _, _, definition in _services() for port in definition.get("ports", ())]

    assert len(ports) == 5
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-(\d+)\}:\1", port)] == []


def test_images_are_pinned_to_a_version() -> None:
    images = {definition["image"] for name, _, definition in _services() if name == FILES[0]}
    ours = {"tokentrail:local"}

    assert [image for image in images - ours if not re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(\.\d+)?", image)] == []
    assert re.search(r"^FROM python:\d+\.\d+\.\d+-slim$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)


def test_no_secret_is_written_down() -> None:
    for _, service, definition in _services():
        for name, value in definition.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN$|_KEY", name):
                # Names of files, and names of names; ClickHouse and Grafana get what is in them when they start.
                assert value == "" or value.startswith("/access/") or name.endswith("_NAME"), (service, name)
    for path in (*(DEPLOY / name for name in FILES), DEPLOY / ".env.example"):
        assert not re.search(r"tt_[0-9a-f]{12}_|://[^/\s]*:[^/\s@]*@", path.read_text())


def test_every_setting_of_the_backend_exists() -> None:
    named = {
        name
        for _, _, definition in _services()
        for name in definition.get("environment", {})
        if name.startswith("TOKENTRAIL_")
    }

    assert named - ELSEWHERE <= set(config.DEFAULTS)
    assert named >= {config.KEYS, config.STORE, config.INSTANCE, config.HTTP_ADDRESS}


@pytest.mark.parametrize("files", [FILES[:1], FILES])
def test_the_backend_takes_the_settings(files: tuple[str, ...], tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    settings: dict[str, str] = {}
    for name in files:
        settings |= _load(name)["services"]["backend"]["environment"]
    settings = {name: VARIABLE.sub(lambda match: match[3], value) for name, value in settings.items()}
    if settings[config.STORE_PASSWORD_FILE]:
        settings[config.STORE_PASSWORD_FILE] = str(password)

    read = config.read_config(settings, {})

    assert (read.http.host, read.http.port, read.grpc.port) == ("0.0.0.0", 4318, 4317)
    assert (read.server is None) is (len(files) == 2)
    assert str(read.journal).startswith("/var/lib/tokentrail/")
    assert read.server is not None or str(read.store_path).startswith("/var/lib/tokentrail/")


def test_every_variable_has_a_default_and_is_in_the_example() -> None:
    text = "\n".join((DEPLOY / name).read_text() for name in FILES)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    asked = {match[1]: match[2] for match in VARIABLE.finditer("\n".join(lines))}
    offered = set(re.findall(r"^#(\w+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))

    assert {name for name, kind in asked.items() if kind != "-"} == set()
    assert offered - {"COMPOSE_FILE"} == set(asked)


def test_the_store_is_the_only_thing_that_the_second_file_changes() -> None:
    whole, embedded = _load(FILES[0])["services"], _load(FILES[1])["services"]

    assert set(embedded) == {"backend", "clickhouse", "grafana"}
    for service in ("backend", "grafana"):
        assert set(embedded[service]["environment"]) <= set(whole[service]["environment"])
    targets = [volume.split(":")[1] for volume in whole["grafana"]["volumes"]]
    assert [volume.split(":")[1] in targets for volume in embedded["grafana"]["volumes"]] == [True]


def _started_with(service: str, access: Path, start: str) -> dict[str, str]:
    """The environment that the image's own entry point `start` is run in, by the one of the compose file."""
    definition = _load(FILES[0])["services"][service]
    shell, option, script = definition["entrypoint"]
    (access / "start").write_text("#!/bin/sh\nenv -0\n")
    (access / "start").chmod(0o755)
    script = (
        script.replace("$$", "$").replace("/access/", f"{access}/").replace(f"exec {start}", f"exec {access}/start")
    )
    done = subprocess.run(
        [Path(shell).name, option, script],
        env={"PATH": os.environ["PATH"], **definition["environment"]},
        capture_output=True,
        check=True,
    )
    return dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if pair)


def test_clickhouse_gets_the_hashes_that_its_users_read(tmp_path: Path) -> None:
    me = os.getuid()
    access.make(tmp_path, access.Users(me, me, me, me))
    wanted = set(re.findall(r'from_env="(\w+)"', (DEPLOY / "clickhouse" / "users.xml").read_text()))

    environment = _started_with("clickhouse", tmp_path, "/entrypoint.sh")

    assert {name: environment[name] for name in wanted} == {
        "TOKENTRAIL_DB_PASSWORD_SHA256": (tmp_path / "store_password.sha256").read_text(),
        "TOKENTRAIL_READER_PASSWORD_SHA256": (tmp_path / "reader_password.sha256").read_text(),
    }
    assert environment["CLICKHOUSE_DB"] == "tokentrail"


def test_grafana_gets_what_its_provisioning_reads(tmp_path: Path) -> None:
    me = os.getuid()
    access.make(tmp_path, access.Users(me, me, me, me))
    provisioning = ROOT / "dashboards" / "grafana" / "provisioning"
    read = {
        name for path in provisioning.rglob("*.yaml") for name in re.findall(r": \$(TOKENTRAIL_\w+)", path.read_text())
    }

    environment = _started_with("grafana", tmp_path, "/run.sh")

    assert len(read) == 5
    assert all(environment[name] for name in read)
    assert environment["TOKENTRAIL_GRAFANA_PASSWORD"] == (tmp_path / "reader_password").read_text()


def test_the_image_has_what_its_file_copies() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    let_in = set(re.findall(r"^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
    sources = {source for line in copied for source in line.split()}

    assert {source for source in sources if not (ROOT / source).exists()} == set()
    assert sources <= let_in
