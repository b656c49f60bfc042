"""Calls of Bedrock with the real boto3, in a process of its own: prints what the application and the exporter got.

    python tests/support/botocore_worker.py      with boto3 and the folder of `support` on `PYTHONPATH`

One line of JSON: by scenario `without` and `seen`, what the application got without and with the instrumentation, the
`spans` (name, attributes, status) and the `requests` (path, header names, whether `Helicone-User-Id` came). The client
believes that it talks to AWS by way of a plain proxy, which is the local server: nothing leaves the machine.
"""

import base64
import gc
import json
import struct
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import boto3  # type: ignore[import-not-found, import-untyped, unused-ignore]  # not in the environment of the checks
from botocore.config import Config as ClientConfig  # type: ignore[import-not-found, import-untyped, unused-ignore]

from support.span_log import Spans
from support.sse_server import Reply, Reset, SseServer, Step, json_reply, serving
from tokentrail.instrumentation import TokentrailInstrumentor, guard
from tokentrail.instrumentation.config import Capture, Config

HOST: Final = "bedrock-runtime.us-east-1.amazonaws.com"
NOVA: Final = "amazon.nova-micro-v1:0"
CLAUDE: Final = "us.anthropic.claude-3-5-sonnet-20240620-v1:0"
PROFILE: Final = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
ASKED: Final = [{"role": "user", "content": [{"text": "Hi"}]}]
CLAUDE_BODY: Final = json.dumps(
    {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
)
ANSWER: Final = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10},
    "metrics": {"latencyMs": 5},
}


def frame(payload: object, headers: Mapping[str, str]) -> bytes:
    """One message of an event stream."""
    encoded = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    data = json.dumps(payload).encode()
    prelude = struct.pack(">II", len(encoded) + len(data) + 16, len(encoded))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + encoded + data
    return message + struct.pack(">I", zlib.crc32(message))


def event(name: str, payload: object) -> bytes:
    """An event of a stream."""
    kinds = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(payload, kinds)


def chunk(payload: object) -> bytes:
    """A chunk of a model's own stream."""
    return event("chunk", {"bytes": base64.b64encode(json.dumps(payload).encode()).decode()})


OPENING: Final = (
    event("messageStart", {"role": "assistant"}),
    event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hel"}}),
)
REST: Final = (
    event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "lo"}}),
    event("contentBlockStop", {"contentBlockIndex": 0}),
    event("messageStop", {"stopReason": "end_turn"}),
    event("metadata", {"usage": ANSWER["usage"], "metrics": {"latencyMs": 5}}),
)
THROTTLED: Final = frame(
    {"message": "Too many tokens"},
    {":exception-type": "throttlingException", ":content-type": "application/json", ":message-type": "exception"},
)
CLAUDE_CHUNKS: Final = (
    chunk(
        {
            "type": "message_start",
            "message": {
                "id": "msg_bdrk_1",
                "type": "message",
                "role": "assistant",
                "model": "claude-3-5-sonnet-20240620",
                "content": [],
                "stop_reason": None,
                "usage": {"input_tokens": 25, "output_tokens": 1},
            },
        }
    ),
    chunk({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    chunk({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}),
    chunk({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}}),
    chunk(
        {
            "type": "message_stop",
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 25, "outputTokenCount": 12},
        }
    ),
)


def stream(*steps: Step) -> Reply:
    """A streamed response."""
    headers = {"content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "request-1"}
    return Reply((*steps, b""), 200, headers)


def refusal(status: int, kind: str, message: str) -> Reply:
    """An error in place of a response."""
    return json_reply({"message": message}, status, x_amzn_errortype=f"{kind}:http://internal.amazon.com/x/")


def converse(client: Any, server: SseServer) -> object:
    """A plain answer."""
    server.script(json_reply(ANSWER, x_amzn_requestid="request-1"))
    response = client.converse(modelId=NOVA, messages=ASKED, inferenceConfig={"maxTokens": 10})
    return [response["output"], response["usage"], response["stopReason"]]


def converse_profile(client: Any, server: SseServer) -> object:
    """A model that is named by an ARN."""
    server.script(json_reply(ANSWER))
    return client.converse(modelId=PROFILE, messages=ASKED)["stopReason"]


def converse_stream(client: Any, server: SseServer) -> object:
    """A stream that is read to its end."""
    server.script(stream(*OPENING, 0.05, *REST))
    return list(client.converse_stream(modelId=NOVA, messages=ASKED)["stream"])


def stream_closed(client: Any, server: SseServer) -> object:
    """A stream that is closed in the middle."""
    server.script(stream(*OPENING, *REST))
    events = client.converse_stream(modelId=NOVA, messages=ASKED)["stream"]
    seen = [next(iter(events))]
    events.close()
    return seen


def stream_dropped(client: Any, server: SseServer) -> object:
    """A stream that nobody reads further."""
    server.script(stream(*OPENING, *REST))
    seen = []
    for each in client.converse_stream(modelId=NOVA, messages=ASKED)["stream"]:
        seen.append(each)
        break
    gc.collect()
    return seen


def stream_exception(client: Any, server: SseServer) -> object:
    """A stream that the service breaks off."""
    server.script(stream(*OPENING, THROTTLED))
    told = _failure(lambda: list(client.converse_stream(modelId=NOVA, messages=ASKED)["stream"]))
    gc.collect()  # botocore's stream and its generator hold each other, and with them the response
    return told


def stream_reset(client: Any, server: SseServer) -> object:
    """A stream whose connection breaks."""
    server.script(stream(*OPENING, 0.05, Reset))
    return _failure(lambda: list(client.converse_stream(modelId=NOVA, messages=ASKED)["stream"]))


def invoke(client: Any, server: SseServer) -> object:
    """Claude's own bodies."""
    body = {
        "id": "msg_bdrk_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-3-5-sonnet-20240620",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 25, "output_tokens": 12},
    }
    server.script(json_reply(body))
    return json.loads(client.invoke_model(modelId=CLAUDE, body=CLAUDE_BODY)["body"].read())


def invoke_counted_in_headers(client: Any, server: SseServer) -> object:
    """A model whose bodies count nothing, read piece by piece."""
    counts = {"x_amzn_bedrock_input_token_count": "6", "x_amzn_bedrock_output_token_count": "10"}
    server.script(json_reply({"outputs": [{"text": "A man", "stop_reason": "length"}]}, 200, **counts))
    body = client.invoke_model(
        modelId="mistral.mistral-7b-instruct-v0:2", body=json.dumps({"prompt": "Say this", "max_tokens": 10})
    )["body"]
    return b"".join(body.iter_chunks(7)).decode()


def invoke_embeddings(client: Any, server: SseServer) -> object:
    """Embeddings."""
    server.script(json_reply({"embedding": [0.5], "inputTextTokenCount": 5}))
    body = json.dumps({"inputText": "Say this", "dimensions": 256})
    return client.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)["body"].read().decode()


def invoke_stream(client: Any, server: SseServer) -> object:
    """Claude's own chunks."""
    server.script(stream(*CLAUDE_CHUNKS))
    response = client.invoke_model_with_response_stream(modelId=CLAUDE, body=CLAUDE_BODY)
    return [json.loads(each["chunk"]["bytes"]) for each in response["body"]]


def refused(client: Any, server: SseServer) -> object:
    """A request that is wrong."""
    server.script(refusal(400, "ValidationException", "The provided model identifier is invalid."))
    return _failure(lambda: client.converse(modelId="does-not-exist", messages=ASKED))


def retried(client: Any, server: SseServer) -> object:
    """Two failures, and a success."""
    busy = refusal(429, "ThrottlingException", "Too many requests")
    server.script(busy, refusal(503, "ServiceUnavailableException", "Not now"), json_reply(ANSWER))
    return client.converse(modelId=NOVA, messages=ASKED)["stopReason"]


def tagged(client: Any, server: SseServer) -> object:
    """A metadata header, which is signed like all others."""
    server.script(json_reply(ANSWER))

    def tag(request: Any, **_: object) -> None:
        request.headers["Helicone-User-Id"] = "ann"

    client.meta.events.register("before-sign.bedrock-runtime.Converse", tag, unique_id="tag")
    try:
        return client.converse(modelId=NOVA, messages=ASKED)["stopReason"]
    finally:
        client.meta.events.unregister("before-sign.bedrock-runtime.Converse", unique_id="tag")


def no_model_calls(client: Any, server: SseServer) -> object:
    """What Bedrock does beside calling models."""
    server.script(json_reply({"inputTokens": 5}), json_reply({"action": "NONE", "usage": {}, "outputs": []}))
    counted = client.count_tokens(modelId=CLAUDE, input={"converse": {"messages": ASKED}})["inputTokens"]
    content = [{"text": {"text": "Hi"}}]
    judged = client.apply_guardrail(guardrailIdentifier="g", guardrailVersion="1", source="INPUT", content=content)
    return [counted, judged["action"]]


SCENARIOS: Final[tuple[Callable[[Any, SseServer], object], ...]] = (
    *(converse, converse_profile, converse_stream, stream_closed, stream_dropped, stream_exception, stream_reset),
    *(invoke, invoke_counted_in_headers, invoke_embeddings, invoke_stream, refused, retried, tagged, no_model_calls),
)


def _failure(call: Callable[[], object]) -> list[str]:
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error)]
    return []


def _client(port: int) -> Any:
    config = ClientConfig(
        proxies={"http": f"http://127.0.0.1:{port}"}, retries={"mode": "standard", "max_attempts": 3}, read_timeout=10
    )
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.Session().client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=f"http://{HOST}", config=config, **keys
    )


def _run(scenario: Callable[[Any, SseServer], object], client: Any, server: SseServer) -> dict[str, Any]:
    without = scenario(client, server)
    server.requests.clear()
    spans = Spans()
    TokentrailInstrumentor().instrument(
        tracer_provider=spans.provider,
        logger_provider=spans.logger_provider,
        config=Config(capture=Capture.SPAN_ONLY),
    )
    try:
        seen = scenario(client, server)
        calls = [
            {"name": span.name, "attributes": dict(span.attributes or {}), "status": span.status.status_code.name}
            for span in spans.calls()
        ]
    finally:
        TokentrailInstrumentor().uninstrument()
        spans.shutdown()
    requests = [
        {"path": each.path, "signed": each.header("authorization") or "", "user": each.header("helicone-user-id")}
        for each in server.requests
    ]
    return {"without": without, "seen": seen, "spans": calls, "requests": requests}


def main() -> None:
    """Run every scenario."""
    guard.strict = True
    sleep = time.sleep
    with serving() as server:
        client = _client(server.server_port)
        results = {}
        for scenario in SCENARIOS:
            if scenario is retried:
                time.sleep = lambda _: None  # botocore waits between attempts
            results[scenario.__name__] = _run(scenario, client, server)
            time.sleep = sleep
        client.close()
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
