"""The first keys and passwords of the containers."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from stack import access
from tokentrail.backend.access.key_file import load_keys

ME = os.getuid()
USERS = access.Users(backend=ME, prometheus=ME, grafana=ME, root=ME)
SECRETS = ("applications", "prometheus", "grafana", "grafana_admin", "store_password", "reader_password")


def _contents(directory: Path) -> Mapping[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_each_key_is_in_its_file_and_opens_what_it_is_for(tmp_path: Path) -> None:
    made = access.make(tmp_path / "access", USERS)

    keys = {key.name: key for key in load_keys(tmp_path / "access" / "keys" / "keys.toml")}
    assert set(made) == set(SECRETS)
    assert {name: (str(key.role), key.project) for name, key in keys.items()} == {
        "applications": ("ingest", "default"),
        "prometheus": ("read", "*"),
        "grafana": ("read", "*"),
    }
    assert all(key.matches((tmp_path / "access" / name).read_text()) for name, key in keys.items())


def test_passwords_come_with_the_hash_that_clickhouse_reads(tmp_path: Path) -> None:
    access.make(tmp_path, USERS)

    for name in ("store_password", "reader_password"):
        password = (tmp_path / name).read_bytes()
        assert len(password) >= 40
        assert (tmp_path / f"{name}.sha256").read_text() == hashlib.sha256(password).hexdigest()
    assert len({(tmp_path / name).read_text() for name in SECRETS}) == len(SECRETS)


def test_nobody_but_its_user_can_read_a_secret(tmp_path: Path) -> None:
    access.make(tmp_path, USERS)

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes.pop("keys.toml") == 0o600
    assert set(modes.values()) == {0o400}


@pytest.mark.skipif(ME != 0, reason="only root can give files to others")
def test_each_secret_belongs_to_the_user_of_its_container(tmp_path: Path) -> None:
    access.make(tmp_path, access.Users(backend=10001, prometheus=65534, grafana=472))

    assert {path.name: path.stat().st_uid for path in (tmp_path, *tmp_path.rglob("*"))} == {
        tmp_path.name: 0,
        "keys": 10001,
        "keys.toml": 10001,
        "applications": 10001,
        "prometheus": 65534,
        "grafana": 472,
        "grafana_admin": 472,
        "store_password": 10001,
        "store_password.sha256": 0,
        "reader_password": 472,
        "reader_password.sha256": 0,
    }


def test_what_is_there_stays(tmp_path: Path) -> None:
    access.make(tmp_path, USERS)
    before = _contents(tmp_path)

    assert access.make(tmp_path, USERS) == []
    assert _contents(tmp_path) == before


def test_a_key_whose_file_was_deleted_is_revoked_and_made_anew(tmp_path: Path) -> None:
    access.make(tmp_path, USERS)
    lost = (tmp_path / "prometheus").read_text()
    (tmp_path / "prometheus").unlink()

    assert access.make(tmp_path, USERS) == ["prometheus"]
    keys = load_keys(tmp_path / "keys" / "keys.toml")
    assert not any(key.matches(lost) for key in keys)
    assert sorted(key.name for key in keys) == ["applications", "grafana", "prometheus"]


def test_a_broken_file_of_keys_is_told_and_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "keys.toml").write_text("nonsense")

    code = access.main([str(tmp_path), f"--backend={ME}", f"--prometheus={ME}", f"--grafana={ME}"])

    assert code == 1
    assert "not valid TOML" in capsys.readouterr().err
    assert (tmp_path / "keys" / "keys.toml").read_text() == "nonsense"


@pytest.mark.skipif(ME != 0, reason="the command gives some files to root, which only root can")
def test_the_command_names_what_it_made_and_shows_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = access.main([str(tmp_path), f"--backend={ME}", f"--prometheus={ME}", f"--grafana={ME}"])

    said = capsys.readouterr().out
    assert code == 0
    assert all(name in said for name in SECRETS)
    assert not any((tmp_path / name).read_text() in said for name in SECRETS)
