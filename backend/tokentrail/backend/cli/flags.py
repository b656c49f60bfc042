"""The flags of a backend, for the commands that start one: each stands for a setting, and wins over its variable."""

import argparse
import os
from typing import Final

from tokentrail.backend import config as settings

_FLAGS: Final = (
    ("store", settings.STORE, "where the data is"),
    ("http", settings.HTTP_ADDRESS, "host:port of OTLP/HTTP, metrics and API"),
    ("grpc", settings.GRPC_ADDRESS, "host:port of OTLP/gRPC"),
    ("keys", settings.KEYS, "the file of keys (tokentrail keys)"),
    ("prices", settings.PRICES, "a price file that goes before the list prices"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--store`, `--http`, `--grpc`, `--keys` and `--prices`."""
    for flag, variable, what in _FLAGS:
        default = settings.DEFAULTS[variable] or "none"
        parser.add_argument(f"--{flag}", metavar="VALUE", help=f"{what}; ${variable}, default {default}")


def read_config(args: argparse.Namespace) -> settings.Config:
    """The settings that flags and environment make. Raises `settings.ConfigError`."""
    return settings.read_config(os.environ, {variable: getattr(args, flag) for flag, variable, _ in _FLAGS})
