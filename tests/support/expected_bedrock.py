"""The second reading of Bedrock's formats: its own `converse`, and `invoke` with the bodies of each family of models.

- Converse, ConverseStream: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
- InvokeModel, with the headers that count tokens where a body does not:
  https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
- bodies: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html, and for Nova
  https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from support import expected_anthropic
from support import expected_values as values
from support.expected_framings import chunks, frames
from support.expected_values import Choice, Expected, Json, ToolCall, finish_reason
from support.wire import Exchange, Format

_PROMPT_FIELDS: Final = ("prompt", "inputText")
"""Where a model that completes text is given it; the others are given messages, or the last one of a conversation."""


def read(exchange: Exchange) -> Expected:
    """Read an exchange with Bedrock."""
    request = exchange.request_json()
    completes = any(field in request for field in _PROMPT_FIELDS)
    expected = replace(
        values.base(
            exchange,
            "text_completion" if completes else "chat",
            unquote(exchange.path.split("/")[2]),
            stream=exchange.format in (Format.CONVERSE_STREAM, Format.INVOKE_STREAM),
        ),
        user_text=_asked(request),
        system_text=values.text_of(request.get("system")),
        request_id=exchange.response_headers.get("x-amzn-requestid", ""),
    )
    if exchange.status >= 400:
        return replace(
            expected,
            error_type=exchange.response_headers["x-amzn-errortype"].partition(":")[0],
            error_message=json.loads(exchange.response_body)["message"],
        )
    if exchange.format is Format.CONVERSE:
        return _read_converse(expected, json.loads(exchange.response_body))
    if exchange.format is Format.CONVERSE_STREAM:
        return _read_converse(expected, _converse_from(frames(exchange.response_body)))
    if exchange.format is Format.INVOKE_STREAM:
        return _read_invoke(expected, _streamed(list(chunks(exchange.response_body))), {})
    return _read_invoke(expected, json.loads(exchange.response_body), exchange.response_headers)


def _asked(request: Json) -> str:
    """The user's text: of the messages, or the only one there is."""
    for field in (*_PROMPT_FIELDS, "message"):
        if field in request:
            return str(request[field])
    return values.text_by(("user",), request.get("messages", ()))


# Converse, which Nova's own bodies follow -------------------------------------------------------------------------


def _read_converse(expected: Expected, body: Json) -> Expected:
    usage, parts = body["usage"], body["output"]["message"]["content"]
    # `converse` says `...Tokens`, Nova's own bodies say `...TokenCount`.
    read_tokens = usage.get("cacheReadInputTokens", usage.get("cacheReadInputTokenCount")) or 0
    write_tokens = usage.get("cacheWriteInputTokens", usage.get("cacheWriteInputTokenCount")) or 0
    return replace(
        expected,
        input_tokens=usage["inputTokens"] + read_tokens + write_tokens,
        output_tokens=usage["outputTokens"],
        cache_read_tokens=read_tokens or None,
        cache_write_tokens=write_tokens or None,
        finish_reasons=(finish_reason(body["stopReason"]),),
        choices=(
            Choice(
                text=values.text_of(parts),
                tool_calls=tuple(
                    ToolCall(call["toolUseId"], call["name"], call["input"])
                    for call in (part["toolUse"] for part in parts if "toolUse" in part)
                ),
            ),
        ),
    )


def _converse_from(events: Iterable[tuple[str, Json]]) -> Json:
    """An answer to `converse` as it would have come in one piece."""
    parts: dict[int, Json] = {}
    body: Json = {}
    for kind, event in events:
        if kind == "contentBlockStart":
            parts[event["contentBlockIndex"]] = {"toolUse": event["start"]["toolUse"] | {"input": ""}}
        elif kind == "contentBlockDelta":
            delta = event["delta"]
            part = parts.setdefault(event["contentBlockIndex"], {"text": ""})
            if "toolUse" in delta:
                part["toolUse"]["input"] += delta["toolUse"]["input"]
            else:
                part["text"] += delta["text"]
        elif kind in ("messageStop", "metadata"):
            body |= event
        else:
            assert kind in ("messageStart", "contentBlockStop"), f"unknown event {kind}"
    for part in parts.values():
        if "toolUse" in part:
            part["toolUse"]["input"] = json.loads(part["toolUse"]["input"])
    return body | {"output": {"message": {"content": [parts[index] for index in sorted(parts)]}}}


# Invoke: each family has bodies of its own ------------------------------------------------------------------------


def _streamed(parts: list[Json]) -> Json:
    """A streamed answer as it would have come in one piece, told by what its first event looks like."""
    if "type" in parts[0]:
        return expected_anthropic.message_from(parts)
    if "outputText" in parts[0]:
        last = parts[-1]
        result = {
            "outputText": "".join(part["outputText"] for part in parts),
            "tokenCount": last["totalOutputTextTokenCount"],
            "completionReason": last["completionReason"],
        }
        return {"inputTextTokenCount": parts[0]["inputTextTokenCount"], "results": [result]}
    return _converse_from((kind, event) for part in parts for kind, event in part.items() if "-" not in kind)


def _read_invoke(expected: Expected, body: Json, headers: Mapping[str, str]) -> Expected:
    family = next(field for field in _FAMILIES if field in body)
    counts = [headers.get(f"x-amzn-bedrock-{what}-token-count") for what in ("input", "output")]
    if counts[0] is not None and counts[1] is not None:
        expected = replace(expected, input_tokens=int(counts[0]), output_tokens=int(counts[1]))
    return _FAMILIES[family](expected, body)


def _read_titan(expected: Expected, body: Json) -> Expected:
    results = body["results"]
    return replace(
        expected,
        input_tokens=body["inputTextTokenCount"],
        output_tokens=sum(result["tokenCount"] for result in results),
        finish_reasons=tuple(finish_reason(result["completionReason"]) for result in results),
        choices=tuple(Choice(text=result["outputText"]) for result in results),
    )


def _read_llama(expected: Expected, body: Json) -> Expected:
    return replace(
        expected,
        input_tokens=body["prompt_token_count"],
        output_tokens=body["generation_token_count"],
        finish_reasons=(finish_reason(body["stop_reason"]),),
        choices=(Choice(text=body["generation"]),),
    )


def _read_mistral(expected: Expected, body: Json) -> Expected:
    return replace(
        expected,
        finish_reasons=tuple(finish_reason(output["stop_reason"]) for output in body["outputs"]),
        choices=tuple(Choice(text=output["text"]) for output in body["outputs"]),
    )


def _read_command(expected: Expected, body: Json) -> Expected:
    return replace(
        expected,
        response_id=body["id"],
        finish_reasons=tuple(finish_reason(generation["finish_reason"]) for generation in body["generations"]),
        choices=tuple(Choice(text=generation["text"]) for generation in body["generations"]),
    )


def _read_command_r(expected: Expected, body: Json) -> Expected:
    return replace(
        expected,
        response_id=body["response_id"],
        finish_reasons=(finish_reason(body["finish_reason"]),),
        choices=(Choice(text=body["text"]),),
    )


_FAMILIES: Final[Mapping[str, Callable[[Expected, Json], Expected]]] = {
    "content": expected_anthropic.read_message,
    "output": _read_converse,
    "results": _read_titan,
    "generation": _read_llama,
    "outputs": _read_mistral,
    "generations": _read_command,
    "generation_id": _read_command_r,
}
"""What reads a body, by a field that only bodies of one family have."""
