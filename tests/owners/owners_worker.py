"""An application with any mix of instrumentations, which makes every kind of call and writes down the spans of each.

    python owners_worker.py '{"switches": ["genai-openai", "tokentrail"], "calls": ["chat", ...]}' outcomes.jsonl

Instrumentations are switched on in the order given; `anthropic-sdk` stands for the spans that the SDK makes itself.
Each line of `outcomes.jsonl` is one call: `{"call", "mode", "requests", "result", "spans": [...]}`, a span being
`{"name", "scope", "span_id", "parent_id", "trace_id", "status", "attributes"}` in the order in which they ended.
"""

import asyncio
import contextlib
import dataclasses
import faulthandler
import gc
import importlib
import inspect
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from owners.calls import CALLS, Call
from support.reroute import async_transport, sync_transport
from support.rivals import rival
from support.sse_server import Reply, SseServer, serving
from tokentrail.instrumentation import TokentrailInstrumentor, user

KEYS: Final = {"openai": "sk-test-1234567890", "anthropic": "sk-ant-test-12345678"}


def switch_on(name: str, provider: TracerProvider) -> None:
    """Switch one instrumentation on, the way its documentation says."""
    if name == "anthropic-sdk":
        return
    if name == "tokentrail":
        TokentrailInstrumentor().instrument(tracer_provider=provider)
        return
    module, attribute = rival(name).instrumentor
    switch = getattr(importlib.import_module(module), attribute)
    if name == "openlit":
        # Its prices would be fetched from the network.
        prices = Path(sys.argv[2]).with_suffix(".prices.json")
        prices.write_text("{}", encoding="utf-8")
        switch(disable_metrics=True, disable_events=True, pricing_json=str(prices))
    else:
        switch().instrument(tracer_provider=provider, skip_dep_check=True)


def client_of(call: Call, server: SseServer, *, asynchronous: bool, sdk_spans: bool) -> Any:
    """A client of the SDK that `call` is made with, whose requests go to `server` whatever host they name."""
    sdk = importlib.import_module(call.sdk)
    library = importlib.import_module(sdk.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
    transport = (async_transport if asynchronous else sync_transport)(library, server.server_port)
    http = (sdk.DefaultAsyncHttpxClient if asynchronous else sdk.DefaultHttpxClient)(transport=transport)
    names = {"openai": ("OpenAI", "AsyncOpenAI"), "anthropic": ("Anthropic", "AsyncAnthropic")}
    make = getattr(sdk, names[call.sdk][asynchronous])
    settings: dict[str, Any] = {"api_key": KEYS[call.sdk], "max_retries": call.retries, "http_client": http}
    if "open_telemetry" in inspect.signature(make).parameters and not sdk_spans:
        settings["open_telemetry"] = {"traces": False}
    return make(**settings)


def make(call: Call, server: SseServer, *, asynchronous: bool, sdk_spans: bool) -> str:
    """Make `call`; what the application saw of it, as text: the name of the error where there was one."""
    server.requests.clear()
    server.script(*(_with_new_ids(reply) for reply in call.replies))

    async def scenario() -> str:
        with contextlib.ExitStack() as stack:
            if asynchronous:  # as frameworks do: their agent's span is around the call, and no call itself
                agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o-mini"}
                tracer = trace.get_tracer("framework")
                stack.enter_context(tracer.start_as_current_span("invoke_agent", attributes=agent))
            stack.enter_context(user("u-1"))
            return await ask()

    async def ask() -> str:
        client = client_of(call, server, asynchronous=asynchronous, sdk_spans=sdk_spans)
        try:
            return str(await call.make(client, asynchronous))
        except Exception as error:
            return type(error).__name__
        finally:
            closing = client.close()
            if inspect.isawaitable(closing):
                await closing

    return asyncio.run(scenario())


_numbers: Final = itertools.count(100)


def _with_new_ids(reply: Reply) -> Reply:
    """`reply` with an id of its own for a response: OpenLLMetry keeps what it has seen by id."""
    number = f'"resp_{next(_numbers)}"'.encode()
    steps = [re.sub(rb'"resp_\d+"', number, step) if isinstance(step, bytes) else step for step in reply.steps]
    return dataclasses.replace(reply, steps=steps)


def plain(span: ReadableSpan) -> dict[str, Any]:
    """`span` as JSON."""
    return {
        "name": span.name,
        "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
        "span_id": f"{span.context.span_id:016x}" if span.context else "",
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else "",
        "trace_id": f"{span.context.trace_id:032x}" if span.context else "",
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
    }


def main(order: dict[str, Any], outcomes: Path) -> None:
    """Switch everything on, make the calls, one after the other, and write `outcomes`."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    switches: list[str] = order["switches"]
    for name in switches:
        switch_on(name, provider)
    with serving() as server, outcomes.open("w", encoding="utf-8") as out:
        for name in order["calls"]:
            for asynchronous in (False, True):
                sdk_spans = "anthropic-sdk" in switches
                result = make(CALLS[name], server, asynchronous=asynchronous, sdk_spans=sdk_spans)
                gc.collect()  # a span that nobody ends may be in a cycle (OpenLIT's of a raw stream)
                gc.freeze()  # what is left is not looked at again: the modules of an SDK take a tenth of a second
                provider.force_flush()
                line = {
                    "call": name,
                    "mode": "async" if asynchronous else "sync",
                    "requests": len(server.requests),
                    "result": result,
                    "spans": [plain(span) for span in exporter.get_finished_spans()],
                }
                exporter.clear()
                out.write(json.dumps(line, default=list) + "\n")
    provider.shutdown()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(150, exit=True)  # a call that hangs: say where
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
