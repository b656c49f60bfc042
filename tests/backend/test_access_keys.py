"""Keys: what is made, what is kept, what is read of a file of them and of a header, and what is refused."""

import base64
import hashlib
import hmac
import json
import logging
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tokentrail.backend.__main__ import main
from tokentrail.backend.access import watched
from tokentrail.backend.access.caller import ANYONE, Caller, Right, Role, stored_project
from tokentrail.backend.access.credentials import read_authorization
from tokentrail.backend.access.errors import (
    ForbiddenError,
    KeyFileError,
    MalformedKeyError,
    MissingKeyError,
    UnknownKeyError,
)
from tokentrail.backend.access.gate import Gate
from tokentrail.backend.access.key import Key, new_key
from tokentrail.backend.access.key_file import MAX_BYTES, add_key, load_keys, read_keys, remove_key
from tokentrail.backend.access.keyring import Keyring

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
ZEROS = f"tt_0123456789ab_{'0' * 64}"


def add(path: Path, name: str, role: Role = Role.READ, project: str = "shop") -> str:
    key, text = new_key(name, role, project, AT)
    add_key(path, key)
    return text


def entry(**changes: object) -> str:
    values: dict[str, object] = {
        "name": "one",
        "role": "read",
        "project": "shop",
        "id": "0123456789ab",
        "sha256": "0" * 64,
        **changes,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None]
    return "\n".join(["[[key]]", *lines, "created = 2026-11-21T10:00:00Z", ""])


# Keys ------------------------------------------------------------------------------------------------------------


def test_a_key_has_256_random_bits_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"

    texts = [add(path, f"key-{number}") for number in range(20)]

    secrets = {text.split("_")[2] for text in texts}
    assert len(secrets) == 20
    assert all(re.fullmatch(r"[0-9a-f]{64}", secret) for secret in secrets)
    content = path.read_text()
    assert not [secret for secret in secrets if secret in content]
    assert all(hashlib.sha256(text.encode()).hexdigest() in content for text in texts)
    assert path.stat().st_mode & 0o777 == 0o600


def test_hashes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = add(tmp_path / "keys.toml", "one")
    keyring = Keyring(tmp_path / "keys.toml")
    compared: list[tuple[Any, Any]] = []
    real = hmac.compare_digest

    def watch(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr("tokentrail.backend.access.key.hmac.compare_digest", watch)

    keyring.caller(text)
    for wrong in (text[:-1] + ("0" if text[-1] != "0" else "1"), f"tt_{'f' * 12}_{'0' * 64}"):
        with pytest.raises(UnknownKeyError):
            keyring.caller(wrong)

    assert len(compared) == 3, "also where there is no such id"
    assert {len(each) for pair in compared for each in pair} == {64}


# The file --------------------------------------------------------------------------------------------------------


def test_a_file_holds_what_was_put_into_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    one, _ = new_key("one", Role.INGEST, "default", AT)
    two, _ = new_key("two", Role.ADMIN, "*", AT)

    add_key(path, one)
    add_key(path, two)

    assert load_keys(path) == (one, two)
    assert remove_key(path, "one") == one
    assert remove_key(path, two.id) == two
    assert load_keys(path) == ()
    assert list(tmp_path.iterdir()) == [path]


def test_two_commands_at_once_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    threads = [threading.Thread(target=add, args=(path, f"key-{number}")) for number in range(12)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(load_keys(path)) == 12


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "schema = 1"),
        ("schema = 2", "schema = 1"),
        ("schema = 1\nkeys = 3", "other things"),
        ("schema = 1\nkey = 3", "other things"),
        ("schema = 1\nkey = [3]", "no table"),
        ("schema = 1\n[[key]", "not valid TOML"),
        ("schema = 1\n" + entry(role="root"), "ingest, read, admin"),
        ("schema = 1\n" + entry(role=3), "role is no text"),
        ("schema = 1\n" + entry(role=None), "exactly the fields"),
        ("schema = 1\n" + entry(secret="s"), "exactly the fields"),
        ("schema = 1\n" + entry(project=""), "project is ''"),
        ("schema = 1\n" + entry(project="a b"), "project is 'a b'"),
        ("schema = 1\n" + entry(name="x" * 65), "1 to 64"),
        ("schema = 1\n" + entry(role="ingest", project="*"), "needs one project"),
        ("schema = 1\n" + entry(id="x"), "hex digits"),
        ("schema = 1\n" + entry(sha256="A" * 64), "hex digits"),
        ("schema = 1\n" + entry() + entry(id="ba9876543210"), "two keys with the name 'one'"),
        ("schema = 1\n" + entry() + entry(name="two"), "two keys with the id"),
        ("schema = 1\n" + entry().replace("Z\n", "\n"), "time zone"),
        ("#" * (MAX_BYTES + 1), "more than"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_words(content: str, words: str) -> None:
    with pytest.raises(KeyFileError, match=re.escape(words)):
        read_keys(content.encode(), "keys.toml")


def test_a_key_that_was_pasted_in_place_of_its_hash_is_not_repeated() -> None:
    for field in ("id", "sha256"):
        with pytest.raises(KeyFileError) as failure:
            read_keys(("schema = 1\n" + entry(**{field: ZEROS})).encode(), "keys.toml")
        assert "0" * 64 not in str(failure.value)


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    add(path, "one")
    path.chmod(0o666)

    with pytest.raises(KeyFileError, match="chmod 600"):
        load_keys(path)


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "ä", "-a", "a\n"])
def test_names_that_could_break_the_file_are_not_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / "keys.toml"

    with pytest.raises(KeyFileError):
        add(path, name)
    with pytest.raises(KeyFileError):
        add(path, "one", project=name)
    assert not path.exists()


# Headers ---------------------------------------------------------------------------------------------------------


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer " + ZEROS.encode(),
        b"bearer   " + ZEROS.encode() + b" ",
        basic("", ZEROS),
        basic("grafana", ZEROS),
        basic("tt", ZEROS).replace(b"Basic", b"BASIC"),
    ],
)
def test_a_key_comes_as_a_bearer_token_or_as_a_password(value: bytes) -> None:
    assert read_authorization([value]) == ZEROS


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"Bearer"],
        [b"Digest x"],
        [b"Basic not-base64!"],
        [b"Basic " + b"A" * 2000],
        [b"Bearer " + b"x" * 2000],
        [b"Bearer a", b"Bearer b"],
        [b"Bearer \xff\xfe"],
        [basic("x", "")],
    ],
)
def test_headers_that_have_no_key_are_malformed(tmp_path: Path, values: list[bytes]) -> None:
    add(tmp_path / "keys.toml", "one")
    refused: list[str] = []
    gate = Gate(Keyring(tmp_path / "keys.toml"), refused.append)

    with pytest.raises(MalformedKeyError):
        gate.admit(values, Right.READ)
    assert refused == ["malformed"]


# Who may what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "project", "rights"),
    [
        (Role.INGEST, "shop", {Right.INGEST}),
        (Role.READ, "shop", {Right.READ}),
        (Role.READ, "*", {Right.READ, Right.METRICS}),
        (Role.ADMIN, "shop", {Right.INGEST, Right.READ, Right.CHANGE}),
        (Role.ADMIN, "*", set(Right)),
    ],
)
def test_a_role_may_what_it_is_for_and_nothing_else(
    tmp_path: Path, role: Role, project: str, rights: set[Right]
) -> None:
    text = add(tmp_path / "keys.toml", "one", role, project)
    refused: list[str] = []
    gate = Gate(Keyring(tmp_path / "keys.toml"), refused.append)
    header = [b"Bearer " + text.encode()]

    for right in Right:
        if right in rights:
            assert gate.admit(header, right) == Caller("one", role, stored_project(project))
        else:
            with pytest.raises(ForbiddenError):
                gate.admit(header, right)

    assert refused == ["forbidden"] * (len(Right) - len(rights))


def test_without_keys_everybody_who_gets_here_may_everything() -> None:
    gate = Gate(None)

    assert [gate.admit([], right) for right in Right] == [ANYONE] * len(Right)
    assert gate.is_open


def test_what_the_default_project_is_called_and_how_it_is_stored() -> None:
    assert [stored_project(name) for name in ("default", "shop", "*")] == ["", "shop", None]
    assert Caller("", Role.ADMIN, None).own_project == ""


def test_a_flood_of_wrong_keys_is_counted_and_logged_once_in_a_while_without_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = add(tmp_path / "keys.toml", "one")
    refused: list[str] = []
    gate = Gate(Keyring(tmp_path / "keys.toml"), refused.append)
    caplog.set_level(logging.DEBUG)

    for number in range(1000):
        with pytest.raises(UnknownKeyError):
            gate.admit([f"Bearer {text[:15]}_{number:064x}".encode()], Right.READ)
    with pytest.raises(MissingKeyError):
        gate.admit([], Right.READ)
    assert len(caplog.records) == 1
    gate._log_from_s = 0  # a while later
    with pytest.raises(MissingKeyError):
        gate.admit([], Right.READ)

    assert refused.count("unknown") == 1000
    assert "999 with a key that is unknown" in caplog.records[1].getMessage()
    assert "2 with a key that is missing" in caplog.records[1].getMessage()
    assert text[3:15] not in caplog.text


# A file that changes ---------------------------------------------------------------------------------------------


@pytest.fixture
def always_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "CHECK_S", 0.0)


@pytest.mark.usefixtures("always_looks")
def test_keys_are_rotated_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    old = add(path, "old")
    keyring = Keyring(path)

    new = add(path, "new")
    assert {keyring.caller(old).name, keyring.caller(new).name} == {"old", "new"}
    remove_key(path, "old")

    assert keyring.caller(new).name == "new"
    with pytest.raises(UnknownKeyError):
        keyring.caller(old)


@pytest.mark.usefixtures("always_looks")
@pytest.mark.parametrize("broken", ["schema = 1\n[[key", "", None])
def test_a_file_that_breaks_leaves_the_keys_of_before(
    tmp_path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.toml"
    text = add(path, "one")
    keyring = Keyring(path)
    assert keyring.is_current()

    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)

    assert keyring.caller(text).name == "one"
    assert not keyring.is_current()
    assert [record.levelname for record in caplog.records] == ["ERROR"], "told once, not at every look"
    path.unlink(missing_ok=True)
    other = add(path, "two")
    assert keyring.caller(other).name == "two"
    assert keyring.is_current()


def test_a_file_that_is_broken_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read"):
        Keyring(tmp_path / "none.toml")


def test_the_hash_is_sha256_of_the_whole_text() -> None:
    key = Key("0123456789ab", "one", Role.READ, "shop", hashlib.sha256(ZEROS.encode()).hexdigest(), AT)

    assert key.matches(ZEROS)
    assert not key.matches(ZEROS[:-1] + "1")


# The command -----------------------------------------------------------------------------------------------------


def test_the_command_shows_a_key_once_and_lists_and_revokes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.toml"
    monkeypatch.setenv("TOKENTRAIL_KEYS", str(path))

    assert main(["keys", "create", "checkout", "--role", "ingest", "--project", "shop"]) == 0
    shown = capsys.readouterr().out.strip()
    assert Keyring(path).caller(shown) == Caller("checkout", Role.INGEST, "shop")
    assert main(["keys", "create", "all", "--role", "admin", "--project", "*", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert Keyring(path).caller(made["key"]) == Caller("all", Role.ADMIN, None)

    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [
        ["checkout", "ingest", "shop"],
        ["all", "admin", "*"],
    ]
    assert shown.split("_")[2] not in listed
    assert main(["keys", "list", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out.splitlines()[0])) == {"name", "role", "project", "id", "created"}

    assert main(["keys", "revoke", "checkout"]) == 0
    assert [key.name for key in load_keys(path)] == ["all"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "one", "--role", "ingest", "--project", "*"], "needs one project"),
        (["create", "taken", "--role", "read"], "two keys with the name"),
        (["create", "a b", "--role", "read"], "expected 1 to 64"),
        (["revoke", "nobody"], "no key has"),
        (["list", "--file", "/nowhere/keys.toml"], "cannot be read"),
        (["create", "one", "--role", "read", "--file", "/nowhere/keys.toml"], "cannot be used"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    path = tmp_path / "keys.toml"
    add(path, "taken")
    before = path.read_bytes()
    monkeypatch.setenv("TOKENTRAIL_KEYS", str(path))

    assert main(["keys", *arguments]) == 1

    assert words in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_command_asks_which_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENTRAIL_KEYS", raising=False)

    assert main(["keys", "list"]) == 1
    assert "TOKENTRAIL_KEYS" in capsys.readouterr().err
