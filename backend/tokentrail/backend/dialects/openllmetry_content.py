"""Messages and tools of OpenLLMetry until 0.53, flattened into attributes, as JSON texts of the row.

    gen_ai.prompt.0.role, .content                       content: a text, or JSON of OpenAI's or Anthropic's blocks
    gen_ai.prompt.0.user                                 the prompt of a completion
    gen_ai.prompt.1.tool_calls.0.id, .name, .arguments
    gen_ai.prompt.2.role = tool, .tool_call_id
    gen_ai.completion.0.role, .content, .reasoning, .finish_reason, .tool_calls.*
    llm.request.functions.0.name, .description, .parameters or .input_schema

`gen_ai.prompt.name`, `.version` and `.variable.*` are of the conventions, and no messages. Later versions write the
conventions' message attributes, which `otel_genai` reads.
"""

from typing import Final

from tokentrail.backend.dialects import coerce, indexed
from tokentrail.backend.dialects.content import Content
from tokentrail.backend.dialects.messages import messages_json
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.span import Attributes
from tokentrail.semconv import finish

_PROMPT: Final = "gen_ai.prompt."
_COMPLETION: Final = "gen_ai.completion."
_FINISH: Final = tuple(f"{of}.response.{name}" for name in ("finish_reason", "stop_reason") for of in ("gen_ai", "llm"))
_FIELDS: Final[tuple[str, ...]] = ("role", "tool_call_id", "tool_calls", "finish_reason")
_THINKING: Final = "thinking"
"""The role of Anthropic's thinking, which is a message of its own here."""


def read_content(attributes: Attributes) -> Content:
    """The captured content, empty where it is told in other words or not at all."""
    return Content(
        input_messages=_messages(attributes, _PROMPT, "user"),
        output_messages=_messages(attributes, _COMPLETION, "assistant"),
        tools=tools_json(indexed.items(attributes, "llm.request.functions.")),
    )


def finish_reasons(attributes: Attributes) -> tuple[str, ...]:
    """The reason of each choice, in the conventions' words."""
    last = "finish_reason"
    told = [
        coerce.text(attributes, key) for key in attributes if key.startswith(_COMPLETION) and key.endswith(last)
    ] or [coerce.text(attributes, *_FINISH)]
    return tuple(finish.canonical(reason) for reason in told if reason)


def _messages(attributes: Attributes, prefix: str, role: str) -> str:
    items = indexed.items(attributes, prefix)
    return messages_json([_message(item) for item in items], role) if items else ""


def _message(item: dict[str, object]) -> dict[str, object]:
    content = item.get("content", item.get("user"))
    if item.get("role") == _THINKING:
        return {"role": "assistant", "content": [{"type": _THINKING, "thinking": content}]}
    message = {name: item[name] for name in _FIELDS if name in item}
    if reasoning := _reasoning(item.get("reasoning")):
        message["reasoning"] = reasoning
    return {**message, "content": content}


def _reasoning(raw: object) -> str:
    """The summaries of a reasoning item of OpenAI's Responses, which are JSON, or any other text as it is."""
    parsed = coerce.parse_json(raw) if isinstance(raw, str) else raw
    if not isinstance(parsed, list):
        return raw if isinstance(raw, str) else ""
    texts = [each.get("text") for each in parsed if isinstance(each, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
