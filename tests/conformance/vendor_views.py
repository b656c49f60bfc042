"""What the vendors' SDKs make of a response: everything as text, for comparison with itself, and a few facts of it.

The facts have the names of `Expected`, and are read from the SDK's objects, never from the body.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from support.wire import Format

View = dict[str, Any]
"""Some of: response_model, response_id, input_tokens, output_tokens, text, and tools, the names of those called."""

_BEDROCK_STREAMS: Final = {Format.CONVERSE_STREAM: "stream", Format.INVOKE_STREAM: "body"}


def pieces(form: Format, result: Any) -> Iterable[object]:
    """The result, or the events of a stream that it is, or holds."""
    if form in _BEDROCK_STREAMS:
        yield from result[_BEDROCK_STREAMS[form]]
    elif form is Format.INVOKE:
        yield result | {"body": result["body"].read()}
    elif hasattr(result, "__iter__") and not isinstance(result, dict) and not hasattr(result, "model_dump_json"):
        yield from result
    else:
        yield result


def dump(piece: Any) -> str:
    """The whole object; the type tells a model from a plain dict."""
    content = piece.model_dump_json() if hasattr(piece, "model_dump_json") else repr(piece)
    return f"{type(piece).__name__} {content}"


def view(sdk: str, form: Format, results: list[Any]) -> View:
    """What the SDK has read."""
    if form is Format.INTERACTIONS:
        return _interaction(results)
    if form is Format.BATCH_EMBED:
        return {}
    return _VIEWS[sdk](results)


def _google(chunks: list[Any]) -> View:
    last = chunks[-1]
    usage = last.usage_metadata
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or ()]
    return {
        "response_model": last.model_version,
        "response_id": last.response_id,
        "input_tokens": _sum(usage.prompt_token_count, usage.tool_use_prompt_token_count),
        "output_tokens": _sum(usage.candidates_token_count, usage.thoughts_token_count),
        "text": "".join(part.text or "" for part in parts if not part.thought),
        "tools": [call.name for chunk in chunks for call in chunk.function_calls or ()],
    }


def _interaction(results: list[Any]) -> View:
    last = results[-1].interaction if hasattr(results[-1], "interaction") else results[-1]
    usage = last.usage
    found: View = {"response_id": last.id, "response_model": last.model or ""}
    if usage:
        found["input_tokens"] = _sum(usage.total_input_tokens, usage.total_tool_use_tokens)
        found["output_tokens"] = _sum(usage.total_output_tokens, usage.total_thought_tokens)
    if len(results) == 1:
        found["text"] = last.output_text or ""
    return found


def _bedrock(results: list[Any]) -> View:
    if "output" in results[0]:
        parts = results[0]["output"]["message"]["content"]
        return {
            "output_tokens": results[0]["usage"]["outputTokens"],
            "text": "".join(part.get("text", "") for part in parts),
            "tools": [part["toolUse"]["name"] for part in parts if "toolUse" in part],
        }
    if "messageStart" in results[0]:
        starts = [event["contentBlockStart"]["start"] for event in results if "contentBlockStart" in event]
        return {
            "output_tokens": results[-1]["metadata"]["usage"]["outputTokens"],
            "text": "".join(
                event["contentBlockDelta"]["delta"].get("text", "") for event in results if "contentBlockDelta" in event
            ),
            "tools": [start["toolUse"]["name"] for start in starts],
        }
    return _counted(results[0]) if "body" in results[0] else {}


def _counted(answer: Any) -> View:
    """`invoke` gives the body as it came; what Bedrock itself says about it is in the headers."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return {
        f"{what}_tokens": int(headers[name])
        for what in ("input", "output")
        if (name := f"x-amzn-bedrock-{what}-token-count") in headers
    }


def _ollama(parts: list[Any]) -> View:
    last = parts[-1]
    return {
        "response_model": last.model,
        "input_tokens": last.prompt_eval_count,
        "output_tokens": last.eval_count,
        "text": "".join(part.message.content or "" for part in parts),
        "tools": [call.function.name for part in parts for call in part.message.tool_calls or ()],
    }


def _mistral(events: list[Any]) -> View:
    last = events[-1].data
    deltas = [choice.delta for event in events for choice in event.data.choices]
    return {
        "response_model": last.model,
        "response_id": last.id,
        "input_tokens": last.usage.prompt_tokens,
        "output_tokens": last.usage.completion_tokens,
        "text": "".join(delta.content or "" for delta in deltas),
        "tools": [call.function.name for delta in deltas for call in delta.tool_calls or ()],
    }


def _cohere(answers: list[Any]) -> View:
    return {"response_id": answers[0].id}


_VIEWS: Final[Mapping[str, Callable[[list[Any]], View]]] = {
    "google-genai": _google,
    "boto3": _bedrock,
    "ollama": _ollama,
    "mistralai": _mistral,
    "cohere": _cohere,
}


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
