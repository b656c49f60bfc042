"""One contender in a process of its own: calls the real SDK when it is told to and says what that cost.

    python -m benchmarks.worker <contender> <on|off> <httpx|httpx2> <traces|all> <ports as JSON>

Commands come on stdin and answers leave on stdout, each one JSON object a line. An answer with `error` says what is
wrong with the contender. The first answer comes without a command, when it is switched on.
"""

import gc
import importlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import IO, Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from benchmarks import lag, profiling, soak
from benchmarks.cases import HOST, INPUT_TOKENS, case
from benchmarks.contenders import Around, Contender, Kind, Stage, contender, copies, has_mark
from benchmarks.signals import set_others
from benchmarks.spans import CountingExporter, size, tokens, values

_QUEUE: Final = 20_000
"""Spans; more than any block makes, so that none is dropped."""
_CHARACTERS_A_BYTE: Final = 0.95
"""Of a prompt, at least: characters that are not ASCII take more than one byte."""


class CheckError(Exception):
    """The contender does not do what it is measured for."""


class _Loud(logging.Handler):
    """Keeps what is logged at warning and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.name}: {record.getMessage()}"[:300])


class Worker:
    """The SDK with one contender switched on. Lives as long as the process."""

    def __init__(self, mode: tuple[Contender, bool], library_name: str, signals: str, ports: dict[str, int]) -> None:
        self.contender, self.content = mode
        self.ports = ports
        self.library = importlib.import_module(library_name)
        self.exporter = CountingExporter()
        self.provider = TracerProvider()
        if not self.contender.own_processor:
            self.provider.add_span_processor(BatchSpanProcessor(self.exporter, max_queue_size=_QUEUE))
        trace.set_tracer_provider(self.provider)
        self.logs = set_others() if signals == "all" else None
        self.loud = _Loud()
        logging.getLogger().addHandler(self.loud)
        self.sdk = importlib.import_module("openai")
        self.startup: dict[str, object] = {}
        self._around = self._switch_on()
        self._calls: dict[str, Callable[[], object]] = {}

    def _stage(self) -> Stage:
        return Stage(self.provider, self.exporter, self.library, self.logs is not None)

    def _switch_on(self) -> Around | None:
        modules = set(sys.modules)
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        around = self.contender.switch_on(self._stage(), self.content)
        self.startup = {
            "sdk": self.sdk.__version__,
            "cpu_ns": time.process_time_ns() - cpu,
            "wall_ns": time.perf_counter_ns() - wall,
            "modules": len(set(sys.modules) - modules),
        }
        return around

    def call(self, name: str) -> Callable[[], object]:
        """A function that makes one call of the case `name` and reads its whole answer."""
        if name not in self._calls:
            made = self._made(name)
            self._calls[name] = self._around(made) if self._around else made
        return self._calls[name]

    def _made(self, name: str) -> Callable[[], object]:
        called = case(name)
        client: Any = self.sdk.OpenAI(api_key="sk-benchmark", base_url=self.base_url(name), max_retries=0)
        create = client.embeddings.create if called.embedding else client.chat.completions.create
        arguments = called.arguments()
        if not called.chunks:
            return lambda: create(**arguments)

        def stream() -> int:
            count = 0
            for _ in create(**arguments):
                count += 1
            return count

        return stream

    def base_url(self, name: str) -> str:
        """Where the case `name` is answered."""
        return f"http://{HOST}:{self.ports[name]}/v1"

    def flush(self) -> None:
        """Have everything that was put off done."""
        self.provider.force_flush()
        if self.logs is not None:
            self.logs.force_flush()

    def check(self, name: str) -> dict[str, object]:
        """Make a few calls of the case and look at what became of them. Raises `CheckError` where it is wrong."""
        called, calls = case(name), 3
        self.flush()
        self.exporter.keep, self.exporter.kept, self.exporter.count = True, [], 0
        results = [self.call(name)() for _ in range(calls)]
        self.flush()
        self.exporter.keep = False
        spans = self.exporter.kept
        if called.chunks and results != [called.chunks] * calls:
            raise CheckError(f"the application got {results} chunks instead of {called.chunks} each")
        if len(spans) != calls * self.contender.spans:
            raise CheckError(f"{len(spans)} spans for {calls} calls: {sorted({span.name for span in spans})}")
        if self.contender.name == "copy" and (len(copies.calls) < calls or not all(copies.calls[-1])):
            raise CheckError(f"{len(copies.calls)} calls copied instead of {calls}")
        expected = (INPUT_TOKENS, called.output_tokens)
        for span in spans if self.contender.has_usage else []:
            if tokens(span) != expected:
                raise CheckError(f"{span.name!r} says {tokens(span)} tokens instead of {expected}")
            seen = any(has_mark(value) for value in values(span))
            if seen != self.content:
                raise CheckError(f"content is {'on' if seen else 'not on'} {span.name!r}")
            if self.content and size(span) < called.prompt_bytes * _CHARACTERS_A_BYTE:
                raise CheckError(
                    f"{span.name!r} holds {size(span)} characters of a prompt of {called.prompt_bytes} bytes"
                )
        if self.contender.kind is Kind.OURS and self.loud.messages:
            raise CheckError(f"logged: {self.loud.messages[0]}")
        return {
            "characters": size(spans[0]) if spans else 0,
            "attributes": len(spans[0].attributes or ()) if spans else 0,
            "logged": self.loud.messages[:3],
        }

    def block(self, name: str, calls: int) -> dict[str, object]:
        """Make `calls` calls; what they took, and how many spans came of them."""
        call = self.call(name)
        thread_time_ns = time.thread_time_ns
        self.flush()
        self.exporter.count = foreground = 0
        start = time.process_time_ns()
        for _ in range(calls):
            before = thread_time_ns()
            call()
            foreground += thread_time_ns() - before
        self.flush()
        total = time.process_time_ns() - start
        if self.exporter.count != calls * self.contender.spans:
            raise CheckError(f"{self.exporter.count} spans for {calls} calls of a block{self._logged()}")
        return {"total_ns": total, "foreground_ns": foreground}

    def soak(self, calls: int, traced: bool) -> dict[str, object]:
        """Make many calls; what memory did. Raises `CheckError` when they did not come to one span each."""
        self.exporter.count = 0
        found = soak.run(self.library, calls, traced, self.flush)
        if self.contender.kind is Kind.OURS and self.exporter.count != found["made"]:
            raise CheckError(f"{self.exporter.count} spans for {found['made']} calls{self._logged()}")
        return found

    def _logged(self) -> str:
        return f"; logged: {self.loud.messages[-1]}" if self.loud.messages else ""

    def answer(self, command: dict[str, Any]) -> dict[str, object]:
        """Do what `command` says."""
        match command["do"]:
            case "check":
                return self.check(command["case"])
            case "block":
                return self.block(command["case"], command["calls"])
            case "settle":
                # What is loaded now stays: a collection in the middle of a block looks at what the calls made only.
                gc.collect()
                gc.freeze()
                return {}
            case "lag":
                return lag.measure(self.sdk, self.base_url("trickle"), command["streams"], self.flush)
            case "profile":
                return profiling.profiled(self.call(command["case"]), command["calls"], self.flush)
            case "soak":
                return self.soak(command["calls"], command["traced"])
            case other:
                raise CheckError(f"no such command: {other}")


def _resolve_locally() -> None:
    """Have the provider's name lead to this machine, and no other name anywhere.

    Connections are kept, so this is no part of what is measured.
    """
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (HOST, "127.0.0.1"):
            raise socket.gaierror(socket.EAI_NONAME, f"{name} is not looked up in a benchmark")
        return resolve("127.0.0.1", *arguments, **named)

    socket.getaddrinfo = getaddrinfo


def _attempt(work: Callable[[], dict[str, object]]) -> dict[str, object]:
    try:
        return work()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _serve(answers: IO[str]) -> None:
    name, content, library, signals, ports = sys.argv[1:]
    made: list[Worker] = []

    def start() -> dict[str, object]:
        made.append(Worker((contender(name), content == "on"), library, signals, json.loads(ports)))
        return made[0].startup

    print(json.dumps(_attempt(start)), file=answers, flush=True)
    for line in sys.stdin if made else ():
        command = json.loads(line)
        print(json.dumps(_attempt(lambda command=command: made[0].answer(command))), file=answers, flush=True)  # type: ignore[misc]  # mypy cannot infer a lambda with a default


def main() -> None:
    """Serve, with the answers on what was stdout: libraries print there too."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        _resolve_locally()
        _serve(answers)
    # Exporters of some contenders would go on trying to reach their servers.
    os._exit(0)


if __name__ == "__main__":
    main()
