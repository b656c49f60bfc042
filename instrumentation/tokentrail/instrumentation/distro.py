"""What `opentelemetry-instrument` sets up when Tokentrail is installed: traces to an OTLP endpoint, over HTTP.

Everything can be changed by the ordinary `OTEL_*` variables; only what they leave open is decided here. Where the
OpenTelemetry distribution (`opentelemetry-distro`) is installed as well, its choices are made, as they were before
Tokentrail came.
"""

import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

_OPTIONS_WITH_VALUE: Final = ("-W", "-X", "--check-hash-based-pycs")
"""Of the interpreter."""
_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_MAIN_NAME: Final = "_TOKENTRAIL_SERVICE_NAME"
"""Tells processes of `multiprocessing` the name of the service they are part of: their own command does not."""


class TokentrailDistro(BaseDistro):
    """Environment defaults. Names itself `tokentrail` in `OTEL_PYTHON_DISTRO`."""

    def _configure(self, **kwargs: Any) -> None:
        standard = _installed("opentelemetry-distro")
        # Metrics and logs are off unless asked for: Tokentrail draws its metrics from spans.
        others = "otlp" if standard else "none"
        os.environ.setdefault("OTEL_TRACES_EXPORTER", "otlp")
        os.environ.setdefault("OTEL_METRICS_EXPORTER", others)
        os.environ.setdefault("OTEL_LOGS_EXPORTER", others)
        use_grpc = _installed("opentelemetry-exporter-otlp-proto-grpc") and (standard or _endpoint_is_grpc())
        os.environ.setdefault(_PROTOCOL, "grpc" if use_grpc else "http/protobuf")


class TokentrailConfigurator(_OTelSDKConfigurator):
    """The SDK as the environment describes it, with the script's name for a service that has none."""

    def _configure(self, **kwargs: Any) -> None:
        resource = dict(kwargs.pop("resource_attributes", None) or {})
        named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        if not os.environ.get("OTEL_SERVICE_NAME") and not named and (name := _name(sys.orig_argv)):
            resource["service.name"] = name
        super()._configure(resource_attributes=resource, **kwargs)  # type: ignore[no-untyped-call]  # the SDK's


def _name(command: list[str]) -> str:
    """The name for this process, and for those of `multiprocessing` that it will start by running Python anew."""
    if any(argument.startswith("from multiprocessing.") for argument in command):
        return os.environ.get(_MAIN_NAME, "")
    name = service_name(command)
    os.environ[_MAIN_NAME] = name
    return name


def service_name(command: list[str]) -> str:
    """A name for the service that `command` runs: the script or module, without its ending; empty when unclear."""
    arguments = iter(command[1:])
    for argument in arguments:
        if argument in _OPTIONS_WITH_VALUE:
            next(arguments, "")
            continue
        if argument == "-m":
            return next(arguments, "").partition(".")[0]
        if argument == "-c":
            return ""
        if not argument.startswith("-"):
            path = Path(argument)
            return path.parent.name if path.stem == "__main__" else path.stem
    return ""


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _endpoint_is_grpc() -> bool:
    """True when an endpoint names the port that OTLP over gRPC is known by."""
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if endpoint := os.environ.get(variable):
            return endpoint.rstrip("/").endswith(":4317")
    return False
