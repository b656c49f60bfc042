"""Traffic of two days, made up once and for all: what dashboards are tested on, and drawn from.

The list of calls is the truth: what a panel should show is worked out from it, in plain Python. Costs are formulas over
list prices written down here (OpenAI's and Anthropic's pages, November 2026), not what the product says.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from support.otlp import key_values

HOUR_NS: Final = 3_600 * 10**9
SECOND_NS: Final = 10**9

PRICES: Final[Mapping[str, tuple[str, str, str]]] = {
    # USD per million tokens: input, cached input, output.
    "gpt-4o": ("2.50", "1.25", "10.00"),
    "gpt-4o-mini": ("0.15", "0.075", "0.60"),
    "claude-sonnet-4-5": ("3.00", "0.30", "15.00"),
}
PROVIDERS: Final = {"gpt-4o": "openai", "gpt-4o-mini": "openai", "claude-sonnet-4-5": "anthropic", "house-7b": "openai"}
UNPRICED: Final = "house-7b"
"""A model that no list knows."""


@dataclass(frozen=True)
class Call:
    """One model call."""

    start_ns: int
    duration_ns: int
    model: str
    service: str
    environment: str
    user: str
    tier: str
    feature: str
    session: str
    session_name: str
    path: str
    prompt: str
    prompt_version: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    ttft_ns: int | None
    """Streams only."""
    status: int
    error_type: str
    finish: str
    retries: int
    remaining_requests: int
    trace: bytes
    span: bytes
    parent: bytes
    version: str

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.duration_ns

    @property
    def provider(self) -> str:
        return PROVIDERS[self.model]

    @property
    def cost(self) -> Fraction | None:
        """US dollars; nothing for what failed or has no price."""
        if self.error_type or self.model not in PRICES:
            return None
        plain, cached, out = (Fraction(price) / 10**6 for price in PRICES[self.model])
        fresh = self.input_tokens - self.cached_tokens
        return plain * fresh + cached * self.cached_tokens + out * self.output_tokens


@dataclass(frozen=True)
class Seed:
    """All calls, in the order of their starts, none of them after `now_ns`."""

    now_ns: int
    calls: Sequence[Call] = field(repr=False)

    def within(self, start_ns: int, end_ns: int) -> list[Call]:
        """Those that ended in a time."""
        return [call for call in self.calls if start_ns <= call.end_ns <= end_ns]


_ERRORS: Final = ((429, "rate_limit_exceeded"), (500, "api_error"), (503, "503"), (400, "invalid_request_error"))
_FEATURES: Final = ("chat", "search", "summarize", "triage")
_STEPS: Final = ("/plan", "/research", "/research/fetch", "/research/rank", "/answer")
_TIERS: Final = ("free", "pro", "enterprise")


def seed(now_ns: int, *, days: float = 2.0, per_hour: int = 24, number: int = 7) -> Seed:
    """The same calls for the same arguments. The last hours have an incident: errors and slowness of one model."""
    rng = random.Random(number)
    calls: list[Call] = []
    hours = int(days * 24)
    for hour in range(hours):
        start_ns = now_ns - (hours - hour) * HOUR_NS
        busy = 1.6 if 8 <= (start_ns // HOUR_NS) % 24 <= 18 else 0.7
        for index in range(int(per_hour * busy)):
            calls += _session(rng, start_ns + int(rng.random() * HOUR_NS), hours - hour, index)
    calls = [call for call in calls if call.end_ns <= now_ns - SECOND_NS]
    return Seed(now_ns, sorted(calls, key=lambda call: (call.start_ns, call.span)))


def _session(rng: random.Random, start_ns: int, hours_ago: int, index: int) -> Iterator[Call]:
    """One to five calls of one user that belong together."""
    user = f"user-{min(int(rng.expovariate(0.12)), 60):02d}"
    tier = _TIERS[int(user[-2:]) % 3]
    feature = rng.choices(_FEATURES, (6, 3, 2, 1))[0]
    agent = feature in ("search", "triage")
    steps = _STEPS[: rng.randint(2, 5)] if agent else ("/",)
    service, environment = ("assistant", "production") if rng.random() < 0.8 else ("batch", "staging")
    key = f"{start_ns}-{index}-{user}".encode()
    session = hashlib.sha256(key).hexdigest()[:12]
    trace = hashlib.sha256(key + b"t").digest()[:16]
    root = hashlib.sha256(key + b"r").digest()[:8]
    for step, path in enumerate(steps):
        model = rng.choices(list(PROVIDERS), (4, 5, 3, 0.4))[0]
        incident = model == "gpt-4o" and hours_ago <= 2 and environment == "production"
        failed = rng.random() < (0.25 if incident else 0.02)
        status, error = rng.choice(_ERRORS) if failed else (200, "")
        streamed = feature == "chat" or rng.random() < 0.3
        duration = rng.lognormvariate(0.4 if not incident else 1.6, 0.6)
        tokens = 0 if failed else int(rng.lognormvariate(6.5, 0.8)) + 20
        cached = int(tokens * rng.choice((0, 0, 0.5, 0.8)))
        out = 0 if failed else int(rng.lognormvariate(5.2, 0.7)) + 5
        yield Call(
            start_ns=start_ns,
            duration_ns=int(duration * SECOND_NS),
            model=model,
            service=service,
            environment=environment,
            user=user,
            tier=tier,
            feature=feature,
            session=session,
            session_name=feature,
            path=path,
            prompt=f"{feature}-prompt",
            prompt_version=str(1 + (hours_ago < 12)),
            input_tokens=tokens,
            cached_tokens=cached,
            output_tokens=out,
            ttft_ns=int(duration * 0.2 * SECOND_NS) if streamed and not failed else None,
            status=status,
            error_type=error,
            finish="length" if rng.random() < 0.04 else "stop",
            retries=1 if rng.random() < 0.03 else 0,
            remaining_requests=rng.randint(20 if incident else 200, 500),
            trace=trace,
            span=hashlib.sha256(key + bytes([step])).digest()[:8],
            parent=root,
            version="1.4.0" if hours_ago > 10 else "1.5.0",
        )
        start_ns += int(duration * SECOND_NS) + int(rng.random() * 2 * SECOND_NS)


def spans(calls: Iterable[Call]) -> ExportTraceServiceRequest:
    """The calls as an application with Tokentrail's instrumentation sends them, below a span of the application."""
    message = ExportTraceServiceRequest()
    by_source: dict[tuple[str, str, str], list[Span]] = {}
    roots: dict[bytes, tuple[tuple[str, str, str], Span]] = {}
    for call in calls:
        source = (call.service, call.environment, call.version)
        by_source.setdefault(source, []).append(_span(call))
        root = roots.setdefault(call.trace, (source, _root(call)))[1]
        root.end_time_unix_nano = max(root.end_time_unix_nano, call.end_ns)
    for source, root in roots.values():
        by_source[source].append(root)
    for (service, environment, version), told in by_source.items():
        resource = message.resource_spans.add()
        named = {
            "service.name": service,
            "deployment.environment.name": environment,
            "service.version": version,
        }
        resource.resource.attributes.extend(key_values(named))
        scope = resource.scope_spans.add()
        scope.scope.name = "tokentrail.instrumentation"
        scope.spans.extend(told)
    return message


def _root(call: Call) -> Span:
    return Span(
        trace_id=call.trace,
        span_id=call.parent,
        name=f"POST /{call.feature}",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=call.start_ns - 5_000_000,
        end_time_unix_nano=call.end_ns + 5_000_000,
        attributes=key_values({"http.request.method": "POST", "url.path": f"/{call.feature}"}),
    )


def _span(call: Call) -> Span:
    attributes: dict[str, object] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.model,
        "server.address": f"api.{call.provider}.com",
        "user.id": call.user,
        "session.id": call.session,
        "tokentrail.session.name": call.session_name,
        "tokentrail.session.path": call.path,
        "tokentrail.property.Feature": call.feature,
        "tokentrail.property.UserTier": call.tier,
        "gen_ai.prompt.name": call.prompt,
        "gen_ai.prompt.version": call.prompt_version,
        "http.response.status_code": call.status,
        "tokentrail.ratelimit.limit_requests": 500,
        "tokentrail.ratelimit.remaining_requests": call.remaining_requests,
        "tokentrail.ratelimit.limit_tokens": 200_000,
        "tokentrail.ratelimit.remaining_tokens": 100_000 + call.remaining_requests * 200,
        "gen_ai.request.stream": call.ttft_ns is not None,
    }
    attributes |= _further_properties(call)
    if call.status == 429:
        attributes["tokentrail.ratelimit.retry_after"] = 20.0
    if call.span[0] % 5 == 0:
        attributes["tokentrail.cache.hit"] = False  # a gateway that had no answer
    if call.retries:
        attributes["tokentrail.request.retry_count"] = call.retries
    if call.error_type:
        attributes["error.type"] = call.error_type
    else:
        attributes |= {
            "gen_ai.response.model": call.model,
            "gen_ai.response.finish_reasons": [call.finish],
            "gen_ai.usage.input_tokens": call.input_tokens,
            "gen_ai.usage.output_tokens": call.output_tokens,
            "gen_ai.input.messages": _messages("user", f"What about {call.feature}?"),
            "gen_ai.output.messages": _messages("assistant", f"This about {call.feature}."),
        }
        if call.cached_tokens:
            attributes["gen_ai.usage.cache_read.input_tokens"] = call.cached_tokens
    if call.ttft_ns is not None:
        attributes["tokentrail.response.time_to_first_token"] = call.ttft_ns / 1e9
        attributes["gen_ai.response.time_to_first_chunk"] = call.ttft_ns / 1e9
        attributes["tokentrail.stream.exit"] = "complete"
    return Span(
        trace_id=call.trace,
        span_id=call.span,
        parent_span_id=call.parent,
        name=f"chat {call.model}",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=call.start_ns,
        end_time_unix_nano=call.end_ns,
        attributes=key_values(attributes),
        status=Status(
            code=Status.STATUS_CODE_ERROR if call.error_type else Status.STATUS_CODE_UNSET,
            message=f"the provider answered {call.status}" if call.error_type else "",
        ),
    )


def workflow_of(call: Call) -> str:
    """Of the calls of agents; empty for others."""
    return f"{call.feature}-agent" if call.path != "/" else ""


def _further_properties(call: Call) -> dict[str, object]:
    """Some calls have a workflow and a step, and one service says its region: some misspelt, some in another case."""
    said: dict[str, object] = {}
    if workflow := workflow_of(call):
        said |= {"tokentrail.property.Workflow": workflow, "tokentrail.property.Step": call.path.strip("/")}
    if call.service == "assistant":
        key = "Regoin" if call.user.endswith("7") else "Region"
        said[f"tokentrail.property.{key}"] = "EU-West" if call.tier == "pro" else "eu-west"
    return said


def _messages(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def events(calls: Iterable[Call]) -> ExportLogsServiceRequest:
    """An evaluation of every fifth call that went well, and a log line beside every one that failed."""
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add()
    resource.resource.attributes.extend(
        key_values({"service.name": "assistant", "deployment.environment.name": "production"})
    )
    records = resource.scope_logs.add().log_records
    for index, call in enumerate(calls):
        if call.error_type:
            record = records.add(severity_text="ERROR", severity_number=17)
            record.body.string_value = f"{call.feature} failed: {call.status}"
        elif index % 5 == 0:
            record = records.add(event_name="gen_ai.evaluation.result")
            score = score_of(call)
            record.attributes.extend(
                key_values(
                    {
                        "gen_ai.evaluation.name": "helpfulness",
                        "gen_ai.evaluation.score.value": score,
                        "gen_ai.evaluation.score.label": "pass" if score > 0.5 else "fail",
                    }
                )
            )
        else:
            continue
        record.time_unix_nano = record.observed_time_unix_nano = call.end_ns
        record.trace_id, record.span_id = call.trace, call.span
    return message


def score_of(call: Call) -> float:
    """Of the evaluation of a call."""
    return (call.span[0] % 100) / 100
