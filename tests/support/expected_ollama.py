"""The second reading of Ollama's chat: https://github.com/ollama/ollama/blob/main/docs/api.md (November 2026)"""

import json
from dataclasses import replace

from support import expected_values as values
from support.expected_framings import lines
from support.expected_values import Choice, Expected, Json, ToolCall, finish_reason
from support.wire import Exchange


def read(exchange: Exchange) -> Expected:
    """Read an exchange with Ollama. It streams unless it is asked not to, one object a line."""
    request = exchange.request_json()
    expected = replace(
        values.base(exchange, "chat", request["model"], stream=request.get("stream", True) is True),
        user_text=values.text_by(("user",), request["messages"]),
        system_text=values.text_by(("system",), request["messages"]),
    )
    if exchange.status >= 400:
        message = json.loads(exchange.response_body)["error"]
        return replace(expected, error_type=str(exchange.status), error_message=message)
    parts = lines(exchange.response_body)
    last = parts[-1]
    assert last["done"] is True
    return replace(
        expected,
        response_model=last["model"],
        input_tokens=last["prompt_eval_count"],
        output_tokens=last["eval_count"],
        finish_reasons=(finish_reason(last["done_reason"]),),
        choices=(_choice([part["message"] for part in parts]),),
    )


def _choice(messages: list[Json]) -> Choice:
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    return Choice(
        text="".join(message["content"] for message in messages),
        reasoning="".join(message.get("thinking", "") for message in messages),
        tool_calls=tuple(
            ToolCall(call.get("id", ""), call["function"]["name"], call["function"]["arguments"]) for call in calls
        ),
    )
