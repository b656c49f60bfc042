"""Calls that log records tell: counted where no span tells them, and never twice, in whatever order they come."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import otlp, otlp_records
from support.backend_process import BackendProcess, http_request
from support.faulty_backend import FAULTS_FILE, PROGRAM, set_faults
from support.recorded_logs import recorded

WAIT_S = 5
"""So long that spans that are sent at once come in time, however slow the machine."""
CLAUDE = "claude_code/anthropic-ai-claude-code-2.1.329_messages_stream"
CLAUDE_TOOL = "claude_code/anthropic-ai-claude-code-2.1.329_tool"
CODEX = "codex/openai-codex-0.169.0_responses_stream"
GEMINI = "gemini_cli/google-gemini-cli-0.61.0_generate_stream"
CHAT_EVENTS = "otel_genai/openai-v2-2.3b0_openai-2.54.0_chat"
DETAILS = "gen_ai.client.inference.operation.details"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    environment = {"TOKENTRAIL_EVENT_WAIT_S": str(WAIT_S)}
    with BackendProcess(tmp_path_factory.mktemp("events") / "data", environment) as process:
        yield process
        assert process.terminate() == 0


def send(backend: BackendProcess, signal: str, body: bytes, content_type: str = "application/json") -> None:
    answer = http_request(f"{backend.http}/v1/{signal}", body, {"content-type": content_type})
    assert (answer.status, answer.body in (b"", b"{}")) == (200, True), answer


def calls(backend: BackendProcess, session: str) -> list[dict[str, Any]]:
    return [row for row in backend.requests() if row["session_id"] == session]


class Decisions:
    """Counts the calls of events that were decided: counted, or told by a span."""

    def __init__(self, backend: BackendProcess) -> None:
        self._backend = backend
        self._before = self._count()

    def wait_for(self, calls: int) -> None:
        """Wait until so many were decided since this was made."""
        deadline_s = time.monotonic() + 60
        while (decided := self._count() - self._before) < calls:
            assert time.monotonic() < deadline_s, f"{decided} of {calls} calls were decided"
            time.sleep(0.1)
        assert decided == calls

    def _count(self) -> int:
        counted = len([row for row in self._backend.requests() if row["source"] == "event"])
        return counted + int(self._backend.metric("tokentrail_calls_left_out_total", reason="event"))


def new_session() -> str:
    return f"s-{os.urandom(4).hex()}"


# (fixture, the tokens of the calls that its events tell, calls that its spans tell); by hand, of the recordings.
AGENTS = [
    (CLAUDE, [(1300, 80)], 1),
    (CLAUDE_TOOL, [(1300, 80), (1300, 80)], 2),
    (CODEX, [(1200, 80)], 1),
    (GEMINI, [(1200, 80)], 1),
]
EVENTS = sum(len(tokens) for _, tokens, _ in AGENTS)


def told(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(row["input_tokens"], row["output_tokens"]) for row in rows]


def test_events_of_coding_agents_without_spans_are_calls(backend: BackendProcess) -> None:
    decisions = Decisions(backend)
    sessions = {fixture: new_session() for fixture, _, _ in AGENTS}

    for fixture, session in sessions.items():
        send(backend, "logs", recorded(fixture, ".logs.json", session=session))
        assert calls(backend, session) == [], "spans may come yet"

    decisions.wait_for(EVENTS)
    rows = {fixture: calls(backend, session) for fixture, session in sessions.items()}
    assert {fixture: told(each) for fixture, each in rows.items()} == {each[0]: each[1] for each in AGENTS}
    found = [row for each in rows.values() for row in each]
    assert {row["source"] for row in found} == {"event"}
    assert len({row["span_id"] for row in found}) == len(found)
    assert all(row["cost_usd"] > 0 for row in found)


def named_in_their_field(body: bytes) -> bytes:
    """Events whose name is in the field that log records have for it, and no attribute."""
    document = json.loads(body)
    scopes = (scope for each in document["resourceLogs"] for scope in each["scopeLogs"])
    for record in (record for scope in scopes for record in scope["logRecords"]):
        [name] = [each for each in record["attributes"] if each["key"] == "event.name"]
        record["attributes"].remove(name)
        record["eventName"] = name["value"]["stringValue"]
    return json.dumps(document).encode()


def test_the_name_of_an_event_may_be_in_its_own_field(backend: BackendProcess) -> None:
    decisions = Decisions(backend)
    sessions = {fixture: new_session() for fixture, _, _ in AGENTS}

    for fixture, session in sessions.items():
        send(backend, "logs", named_in_their_field(recorded(fixture, ".logs.json", session=session)))

    decisions.wait_for(EVENTS)
    rows = {fixture: calls(backend, session) for fixture, session in sessions.items()}
    assert {fixture: told(each) for fixture, each in rows.items()} == {each[0]: each[1] for each in AGENTS}


def test_events_and_spans_of_the_same_calls_count_once_in_either_order(backend: BackendProcess) -> None:
    decisions = Decisions(backend)
    requests = [("logs", ".logs.json"), ("traces", ".json")]
    sessions: dict[str, tuple[str, int]] = {}

    for fixture, _, spans in AGENTS:
        for order, sent in (("events first", requests), ("spans first", requests[::-1])):
            session = new_session()
            sessions[f"{fixture}, {order}"] = session, spans
            for signal, suffix in sent:
                send(backend, signal, recorded(fixture, suffix, session=session))

    decisions.wait_for(2 * EVENTS)
    rows = {name: calls(backend, session) for name, (session, _) in sessions.items()}
    assert {name: len(each) for name, each in rows.items()} == {name: spans for name, (_, spans) in sessions.items()}
    assert {row["source"] for each in rows.values() for row in each} == {""}


def test_spans_that_come_after_their_events_were_counted_make_no_rows_but_are_stored(backend: BackendProcess) -> None:
    session, at_ns, decisions = new_session(), time.time_ns(), Decisions(backend)
    send(backend, "logs", recorded(CLAUDE, ".logs.json", at_ns, session))
    decisions.wait_for(1)
    stored = backend.metric("tokentrail_spans_stored_total")

    send(backend, "traces", recorded(CLAUDE, ".json", at_ns, session))
    send(backend, "logs", recorded(CLAUDE_TOOL, ".logs.json", at_ns, session))

    decisions.wait_for(3)
    rows = calls(backend, session)
    assert {row["source"] for row in rows} == {"event"}
    assert len(rows) == 3, "events of the same session go on to count"
    assert backend.wait_for_metric("tokentrail_spans_stored_total", stored + 1) > stored


def details(backend: BackendProcess, response_id: str, **fields: Any) -> bytes:
    """The conventions' event, as `opentelemetry-util-genai` emits it."""
    attributes = {
        **otlp.CHAT,
        "gen_ai.response.id": response_id,
        "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "Say hello"}]}]',
        "gen_ai.output.messages": [],
    }
    record = otlp_records.log_record("", attributes, event_name=DETAILS, flags=1, **fields)
    return otlp_records.logs_request([record]).SerializeToString()


def by_response(backend: BackendProcess, response_id: str) -> list[dict[str, Any]]:
    return [row for row in backend.requests() if row["response_id"] == response_id]


def test_the_details_of_a_call_are_its_content_and_a_call_only_where_no_span_comes(backend: BackendProcess) -> None:
    decisions = Decisions(backend)
    alone, beside = os.urandom(16), os.urandom(16)
    span_id = os.urandom(8)
    span = otlp.span({**otlp.CHAT, "gen_ai.response.id": "beside"}, trace_id=beside, span_id=span_id)
    kind = "application/x-protobuf"

    send(backend, "logs", details(backend, "beside", trace_id=beside, span_id=span_id), kind)
    send(backend, "logs", details(backend, "alone", trace_id=alone, span_id=span_id), kind)
    send(backend, "logs", details(backend, "without context"), kind)
    send(backend, "traces", otlp.request([span]).SerializeToString(), kind)

    decisions.wait_for(3)
    found = {name: by_response(backend, name) for name in ("beside", "alone", "without context")}
    assert {name: [row["source"] for row in rows] for name, rows in found.items()} == {
        "beside": [""],
        "alone": ["event"],
        "without context": ["event"],
    }
    assert found["alone"][0]["span_id"] == span_id.hex()
    for rows in found.values():
        assert json.loads(rows[0]["input_messages"])[0]["parts"][0]["content"] == "Say hello"
    without = backend.get("/api/requests?limit=100").body.decode()
    assert "Say hello" not in without, "content is shown to who asks for it"


def test_a_call_that_its_event_told_is_not_told_again_by_its_late_span(backend: BackendProcess) -> None:
    """The event's row is of the time at which the call ended, the span's of that at which it began."""
    decisions = Decisions(backend)
    trace_id, span_id, now_ns = os.urandom(16), os.urandom(8), time.time_ns()
    span = otlp.span(
        {**otlp.CHAT, "gen_ai.response.id": "late span"},
        trace_id=trace_id,
        span_id=span_id,
        start_time_unix_nano=now_ns - 90 * 10**9,
        end_time_unix_nano=now_ns,
    )
    kind = "application/x-protobuf"
    send(backend, "logs", details(backend, "late span", trace_id=trace_id, span_id=span_id), kind)
    decisions.wait_for(1)
    before = backend.metric("tokentrail_requests_total")

    send(backend, "traces", otlp.request([span]).SerializeToString(), kind)

    assert [row["source"] for row in by_response(backend, "late span")] == ["event"]
    assert backend.metric("tokentrail_requests_total") == before


def test_several_calls_within_one_span_of_something_else_all_count(backend: BackendProcess) -> None:
    decisions = Decisions(backend)
    context = {"trace_id": os.urandom(16), "span_id": os.urandom(8)}
    kind = "application/x-protobuf"

    for number in range(3):
        send(backend, "logs", details(backend, f"within-{number}", **context), kind)

    decisions.wait_for(3)
    rows = [row for number in range(3) for row in by_response(backend, f"within-{number}")]
    assert len(rows) == 3
    assert len({row["span_id"] for row in rows}) == 3
    assert {row["trace_id"] for row in rows} == {context["trace_id"].hex()}


@pytest.mark.parametrize("suffix", ["", "_tools", "_stream"])
@pytest.mark.parametrize("order", ["events first", "spans first"])
def test_per_message_events_are_the_content_of_their_span(backend: BackendProcess, order: str, suffix: str) -> None:
    trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()

    def body(kind: str) -> bytes:
        text = recorded(f"{CHAT_EVENTS}{suffix}", kind).decode()
        return text.replace("0" * 31 + "1", trace_id).replace("0" * 15 + "2", span_id).encode()

    counters = ("tokentrail_log_records_stored_total", "tokentrail_spans_stored_total")
    stored = {name: backend.metric(name) for name in counters}
    requests = [("logs", ".logs.json"), ("traces", ".json")]
    for signal, kind in requests if order == "events first" else reversed(requests):
        send(backend, signal, body(kind))

    for name in counters:
        assert backend.wait_for_metric(name, stored[name] + 1) > stored[name]
    (row,) = [row for row in backend.requests() if (row["trace_id"], row["span_id"]) == (trace_id, span_id)]
    asked, answered = json.loads(row["input_messages"]), json.loads(row["output_messages"])
    if suffix == "_tools":
        assert [message["role"] for message in asked] == ["user", "assistant", "tool"]
        assert asked[1]["parts"][0]["type"] == "tool_call"
        assert asked[2]["parts"] == [{"type": "tool_call_response", "id": "call_0", "response": "21 C"}]
        assert answered[0]["parts"][0]["type"] == "tool_call"
    else:
        assert [(each["role"], each["parts"][0]["content"]) for each in asked] == [
            ("system", "Be brief"),
            ("user", "Say hello"),
        ]
        assert answered[0]["role"] == "assistant"
        assert answered[0]["parts"][0]["type"] == "text"
    assert row["source"] == ""


def test_what_was_not_decided_when_the_backend_stopped_is_decided_by_the_next(tmp_path: Path) -> None:
    session, other = new_session(), new_session()
    patient = BackendProcess(tmp_path / "data", {"TOKENTRAIL_EVENT_WAIT_S": "600"})
    with patient:
        send(patient, "logs", recorded(CLAUDE_TOOL, ".logs.json", session=session))
        send(patient, "logs", named_in_their_field(recorded(CODEX, ".logs.json", session=other)))
        send(
            patient,
            "logs",
            details(patient, "restarted", trace_id=b"\7" * 16, span_id=b"\7" * 8),
            "application/x-protobuf",
        )
        patient.kill()  # nothing is tidied up

    for again in (False, True):
        with BackendProcess(tmp_path / "data", {"TOKENTRAIL_EVENT_WAIT_S": "1"}) as process:
            if again:
                time.sleep(3)  # they are decided again, and found
            assert process.wait_for_metric("tokentrail_requests_total", 4) == 4
            assert len(calls(process, session)) == 2
            assert len(calls(process, other)) == 1
            assert len(by_response(process, "restarted")) == 1
            assert process.terminate() == 0


def test_a_span_that_is_acknowledged_but_not_stored_when_its_event_is_due_tells_the_call(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    environment = {FAULTS_FILE: str(faults), "TOKENTRAIL_EVENT_WAIT_S": "2"}
    with BackendProcess(tmp_path / "data", environment, program=PROGRAM) as process:
        set_faults(faults, insert_s=4)
        decisions, kind = Decisions(process), "application/x-protobuf"
        send(process, "logs", details(process, "slow"), kind)
        assert process.wait_for_metric("tokentrail_log_records_stored_total", 1) == 1

        send(process, "traces", otlp.body(otlp.span({**otlp.CHAT, "gen_ai.response.id": "slow"})), kind)

        decisions.wait_for(1)
        assert [row["source"] for row in by_response(process, "slow")] == [""]
        set_faults(faults)
        assert process.terminate() == 0
