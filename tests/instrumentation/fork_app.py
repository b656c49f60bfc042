"""A web application that calls a model for every request, to be loaded by gunicorn; `/<id>` is session `<id>`.

PROVIDER_URL      the provider of models
CALL_ON_LOAD      make a call while the application is loaded, as session `on-load`, and export its span
INSTRUMENT        set OpenTelemetry up here, rather than through opentelemetry-instrument
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import openai
from opentelemetry import trace

from tokentrail.instrumentation import TokentrailInstrumentor, properties, session


def _instrument() -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    TokentrailInstrumentor().instrument()


def _client() -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url=os.environ["PROVIDER_URL"] + "/v1", max_retries=0)


def _call(client: openai.OpenAI, session_id: str) -> None:
    with session(session_id), properties(pid=os.getpid()):
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}])


def app(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """WSGI: the answer is the process that gave it."""
    _call(_worker_client(), environ["PATH_INFO"].strip("/"))
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(os.getpid()).encode()]


_clients: dict[int, openai.OpenAI] = {}


def _worker_client() -> openai.OpenAI:
    # One for each process: a connection that was open before the fork would be everybody's.
    if os.getpid() not in _clients:
        _clients[os.getpid()] = _client()
    return _clients[os.getpid()]


if os.environ.get("INSTRUMENT"):
    _instrument()
if os.environ.get("CALL_ON_LOAD"):
    _call(_client(), "on-load")
    if os.environ["CALL_ON_LOAD"] == "exported":
        trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]  # the SDK's has it
