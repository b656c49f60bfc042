"""Baggage: what scopes set reaches the user's other services, and no provider of models."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from opentelemetry import baggage, propagate
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from support.otlp_sink import SentSpan, listening
from support.span_log import Spans
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, SseServer, json_reply
from tokentrail.instrumentation import context, prompt, properties, session, user
from tokentrail.instrumentation.context import Tags, baggage_tags, current_tags, without_baggage

pytestmark = pytest.mark.usefixtures("nothing_left_behind", "quiet")


@pytest.fixture
def used() -> Iterator[None]:
    """Baggage is opted in."""
    context.use_baggage(True)
    yield
    context.use_baggage(False)


def sent() -> dict[str, str]:
    """The entries of the `baggage` header that a request made here carries."""
    carrier: dict[str, str] = {}
    W3CBaggagePropagator().inject(carrier)
    pairs = (entry.split("=", 1) for entry in carrier.get("baggage", "").split(",") if entry)
    return {unquote_plus(name): unquote_plus(value) for name, value in pairs}


# Writing -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("used")
def test_what_scopes_set_is_in_the_baggage_as_long_as_they_last() -> None:
    with session("s", name="research", path="plan"), user("ü, 1=2;%"), properties(Feature="chat"), prompt("p", 3):
        inside = sent()
        with session(path="search"):
            nested = sent()

    assert inside == {
        "session.id": "s",
        "tokentrail.session.name": "research",
        "tokentrail.session.path": "/plan",
        "user.id": "ü, 1=2;%",
        "tokentrail.property.Feature": "chat",
        "gen_ai.prompt.name": "p",
        "gen_ai.prompt.version": "3",
    }
    assert nested == {**inside, "tokentrail.session.path": "/plan/search"}
    assert sent() == {}


def test_without_being_asked_nothing_is_in_the_baggage() -> None:
    with session("s"), user("u"):
        assert sent() == {}
        assert without_baggage(otel_context.get_current()) is otel_context.get_current()


def test_the_setting_switches_it_on_and_switching_off_ends_it(instrument: Callable[..., Spans]) -> None:
    from tokentrail.instrumentation import TokentrailInstrumentor

    instrument(baggage=True)
    with user("u"):
        assert sent() == {"user.id": "u"}
    TokentrailInstrumentor().uninstrument()

    with user("u"):
        assert sent() == {}


@pytest.mark.usefixtures("used")
def test_another_session_leaves_nothing_of_the_one_around_it() -> None:
    with session("outer", name="n", path="a"), session("inner"):
        assert sent() == {"session.id": "inner", "tokentrail.session.path": "/"}


@pytest.mark.usefixtures("used")
def test_what_came_from_another_process_goes_on_unless_it_is_set_here() -> None:
    arrived = {"session.id": "s", "tokentrail.session.path": "/plan", "user.id": "theirs", "tenant": "t"}
    inbound = Context()
    for name, value in arrived.items():
        inbound = baggage.set_baggage(name, value, inbound)

    token = otel_context.attach(inbound)
    with session(path="search"), user("ours"):
        inside, tags = sent(), current_tags()
    otel_context.detach(token)

    assert inside == {**arrived, "tokentrail.session.path": "/plan/search", "user.id": "ours"}
    assert tags == Tags(user="ours", session_id="s", session_path="/plan/search")


# Limits --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("used")
def test_64_entries_travel_those_of_others_first() -> None:
    token = otel_context.attach(baggage.set_baggage("tenant", "t", Context()))
    with user("u"), properties({f"Key{number}": "v" for number in range(64)}):
        entries = sent()
    otel_context.detach(token)

    assert len(entries) == 64
    assert entries["tenant"] == "t"
    assert entries["user.id"] == "u"
    assert "tokentrail.property.Key61" in entries
    assert "tokentrail.property.Key62" not in entries


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("character", ["x", "é", "東"])
def test_8192_bytes_travel(character: str) -> None:
    with user("u"), properties({f"Key{number}": character * 150 for number in range(64)}):
        carrier: dict[str, str] = {}
        propagate.inject(carrier)  # `quiet`: the propagator has nothing to complain about
        entries = sent()

    used_bytes = 150 * {"x": 1, "é": 6, "東": 9}[character] + len("tokentrail.property.Key10=,")
    assert len(carrier["baggage"]) <= 8192 < len(carrier["baggage"]) + used_bytes
    assert set(entries.values()) == {"u", character * 150}


@pytest.mark.usefixtures("used")
def test_a_value_too_long_for_an_entry_stays_here_and_the_others_travel() -> None:
    with user("u" * 4096), session("s"):
        assert sent() == {"session.id": "s", "tokentrail.session.path": "/"}
        assert current_tags().user == "u" * 4096


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("name", ["two words", "a=b", "a,b", "ключ", "100%", "a+b", 'say "x"'])
def test_a_property_that_is_no_token_stays_here(name: str) -> None:
    with properties({name: "v", "Feature": "chat"}):
        assert sent() == {"tokentrail.property.Feature": "chat"}


# Calls of models -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("used")
def test_a_call_of_a_model_is_made_without_ours_and_with_the_baggage_of_others() -> None:
    inbound = baggage.set_baggage("tenant", "t", Context())
    inbound = baggage.set_baggage("tokentrail.property.From", "afar", inbound)
    token = otel_context.attach(inbound)
    with session("s"), user("u"):
        bare = without_baggage(otel_context.get_current())
    otel_context.detach(token)

    assert dict(baggage.get_all(bare)) == {"tenant": "t"}
    assert current_tags(bare) == Tags(user="u", session_id="s", session_path="/", properties={"From": "afar"})
    assert baggage_tags(bare) == Tags()


_CLIENT = """
import os, httpx
from tokentrail.instrumentation import prompt, properties, session, user
from opentelemetry import baggage, context

context.attach(baggage.set_baggage("tenant", "acme"))
with session("s-1", name="research", path="/plan"), user("José"), properties(Feature="chat"), prompt("p", version=2):
    httpx.get(os.environ["SERVICE"]).raise_for_status()
"""

_SERVICE = """
import http.server, json, os, httpx
from opentelemetry import context, propagate
from tokentrail.instrumentation import session

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        token = context.attach(propagate.extract(dict(self.headers.items())))
        with session(path="answer"):
            httpx.post(os.environ["CHAT_URL"], json=json.loads(os.environ["CHAT_BODY"])).raise_for_status()
        context.detach(token)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args): pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.handle_request()
server.server_close()
"""


def two_processes(server: SseServer, directory: Path, opted_in: str) -> SentSpan:
    """The span of the model call that a service makes for a client, both instrumented, httpx too."""
    pytest.importorskip("opentelemetry.instrumentation.httpx")
    server.script(json_reply(CHAT_RESPONSE))
    (directory / "client.py").write_text(_CLIENT)
    (directory / "service.py").write_text(_SERVICE)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOKENTRAIL_"))}
    instrument = [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable]
    with listening() as sink:
        environment = {
            **clean,
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
            "CHAT_URL": server.chat_url,
            "CHAT_BODY": json.dumps(CHAT_REQUEST),
            "TOKENTRAIL_BAGGAGE": opted_in,
        }
        with subprocess.Popen(
            [*instrument, str(directory / "service.py")], env=environment, stdout=subprocess.PIPE, text=True
        ) as service:
            assert service.stdout is not None
            port = service.stdout.readline().strip()
            asked = subprocess.run(
                [*instrument, str(directory / "client.py")],
                env={**environment, "SERVICE": f"http://127.0.0.1:{port}/"},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert (asked.returncode, asked.stderr) == (0, "")
            assert service.wait(30) == 0
        spans = sink.spans()
    assert len({span.trace_id for span in spans}) == 1, "one trace"
    (call,) = [span for span in spans if span.scope == "tokentrail.instrumentation"]
    assert call.service == "service"
    return call


def test_a_service_knows_whose_call_it_makes_and_the_provider_does_not(server: SseServer, tmp_path: Path) -> None:
    call = two_processes(server, tmp_path, "true")

    (request,) = server.requests
    assert {
        name: call.attributes.get(name)
        for name in (
            *("user.id", "session.id", "tokentrail.session.name", "tokentrail.session.path"),
            *("tokentrail.property.Feature", "gen_ai.prompt.name", "gen_ai.prompt.version"),
        )
    } == {
        "user.id": "José",
        "session.id": "s-1",
        "tokentrail.session.name": "research",
        "tokentrail.session.path": "/plan/answer",
        "tokentrail.property.Feature": "chat",
        "gen_ai.prompt.name": "p",
        "gen_ai.prompt.version": "2",
    }
    assert request.header("traceparent") is not None
    assert request.header("baggage") == "tenant=acme"


def test_without_opting_in_a_service_knows_nothing(server: SseServer, tmp_path: Path) -> None:
    call = two_processes(server, tmp_path, "false")

    (request,) = server.requests
    assert "user.id" not in call.attributes
    assert "session.id" not in call.attributes
    assert request.header("baggage") == "tenant=acme"
