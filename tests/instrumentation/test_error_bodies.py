"""A failed request is an error with the provider's message, whatever its body is."""

import json
from collections.abc import Callable

import pytest
from opentelemetry.trace import StatusCode

from support.http_shells import Shell, run
from support.span_log import Spans, attributes
from support.sse_server import CHAT_REQUEST, Reply, SseServer

pytestmark = pytest.mark.usefixtures("quiet")

HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center>nginx</center></body>\r\n</html>\r\n"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json", json.dumps({"error": {"message": "Slow down"}}).encode(), "Slow down"),
        ("text/html", HTML, None),
        ("text/plain", b"upstream connect error", None),
        ("application/json", b"", None),
        ("application/json", b'{"error": {"mess', None),
        ("application/json", b"[1, 2]", None),
        ("application/json", b"null", None),
        ("application/octet-stream", b"\xff\xfe\x00\x80", None),
    ],
    ids=["json", "html", "text", "empty", "cut off", "list", "null", "binary"],
)
def test_a_failed_request_is_one_error(
    instrument: Callable[..., Spans],
    server: SseServer,
    shell: Shell,
    status: int,
    content_type: str,
    body: bytes,
    message: str | None,
) -> None:
    spans = instrument()
    server.script(Reply((body,), status, {"content-type": content_type, "retry-after": "7"}))
    got: list[bytes] = []

    async def scenario() -> None:
        async with shell.client() as client:
            got.append((await shell.post(client, server.chat_url, json=CHAT_REQUEST)).content)

    run(scenario())

    span = spans.one()
    assert got == [body]
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == str(status)
    assert attributes(span)["http.response.status_code"] == status
    assert attributes(span)["tokentrail.ratelimit.retry_after"] == 7.0
    assert message is None or span.status.description == message
    assert "gen_ai.usage.cost" not in attributes(span)
