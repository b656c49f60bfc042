"""Settings: defaults, precedence, and errors that name the variable and what is expected."""

from pathlib import Path

import pytest

from tokentrail.backend.config import Address, ConfigError, read_config


def test_the_defaults_are_those_of_the_design() -> None:
    config = read_config({}, {})

    assert config.store_path == Path("tokentrail-data")
    assert (str(config.http), str(config.grpc)) == ("127.0.0.1:4318", "127.0.0.1:4317")
    assert config.max_body_bytes == 64 * 1024 * 1024


def test_a_flag_wins_over_its_variable_and_an_empty_variable_is_not_set() -> None:
    environment = {"TOKENTRAIL_HTTP_ADDRESS": "127.0.0.1:1", "TOKENTRAIL_GRPC_ADDRESS": ""}

    config = read_config(environment, {"TOKENTRAIL_HTTP_ADDRESS": "[::1]:2", "TOKENTRAIL_GRPC_ADDRESS": None})

    assert config.http == Address("::1", 2)
    assert str(config.http) == "[::1]:2"
    assert config.grpc == Address("127.0.0.1", 4317)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("chdb:///./tokentrail-data", "tokentrail-data"),
        ("chdb:///../x", "../x"),
        ("chdb:///var/lib/tokentrail", "/var/lib/tokentrail"),
        ("chdb:////var/lib/tokentrail", "/var/lib/tokentrail"),
    ],
)
def test_the_store_is_a_relative_or_an_absolute_path(url: str, path: str) -> None:
    assert read_config({"TOKENTRAIL_STORE": url}, {}).store_path == Path(path)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TOKENTRAIL_STORE", "/var/lib/x", "expected a URL"),
        ("TOKENTRAIL_STORE", "sqlite:///x", "sqlite"),
        ("TOKENTRAIL_STORE", "chdb://", "chdb:///"),
        ("TOKENTRAIL_HTTP_ADDRESS", "0.0.0.0:4318", "without keys"),
        ("TOKENTRAIL_HTTP_ADDRESS", "192.168.1.5:4318", "without keys"),
        ("TOKENTRAIL_GRPC_ADDRESS", "example.com:4317", "without keys"),
        ("TOKENTRAIL_GRPC_ADDRESS", "4317", "expected host:port"),
        ("TOKENTRAIL_GRPC_ADDRESS", "127.0.0.1:70000", "expected host:port"),
        ("TOKENTRAIL_GRPC_ADDRESS", "127.0.0.1:x", "expected host:port"),
        ("TOKENTRAIL_MAX_BODY_BYTES", "0", "at least 1"),
        ("TOKENTRAIL_MAX_BODY_BYTES", "64MB", "at least 1"),
        ("TOKENTRAIL_MAX_BODY_BYTES", str(2**31), "at most"),
        ("TOKENTRAIL_MAX_QUEUE_SPANS", "-1", "at least 1"),
        ("TOKENTRAIL_MAX_QUEUE_BYTES", "9" * 30, "at least 1"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_is_expected(variable: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError) as failure:
        read_config({variable: value}, {})

    assert variable in str(failure.value)
    assert words in str(failure.value)
    assert "secret" not in str(failure.value)
