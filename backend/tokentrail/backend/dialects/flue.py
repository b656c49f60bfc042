"""Flue: agents, whose spans had content in names of their own before version 2.

    gen_ai.*                                     model calls, agents and tools since version 2, all of it
    flue.turn.input                              JSON {"systemPrompt", "messages", "tools"} of a model call
    flue.turn.output                             JSON of one message; blocks text, thinking, toolCall, image
    flue.tool.name, .call_id, .arguments, .result
    flue.task.{id,agent,prompt,result}, flue.workflow.{name,payload,result}, flue.operation.{id,kind}, flue.compaction

Sources: @flue/opentelemetry 2.1.0, and the code of its versions before 1 with public readers' samples (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import parts_json, read_messages
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.semconv import finish, genai

_PREFIX: Final = "flue."
_KINDS: Final = (
    ("flue.tool.", kinds.TOOL),
    ("flue.task.", kinds.AGENT),
    ("flue.workflow.", kinds.WORKFLOW),
    ("flue.compaction", kinds.CHAIN),
    ("flue.operation.", kinds.CHAIN),
)
"""By the first prefix that an attribute has: spans tell what is around them, too, the outermost last."""
_TOOL_RESULT: Final = "toolResult"
_TOOL_CALL: Final = "toolCall"


class Flue:
    """The dialect."""

    name = "flue"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any attribute of its own."""
        return any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """What the span says in Flue's words: what it is, and the content of model calls."""
        attributes = span.attributes
        kind = _kind(span)
        request = coerce.fields(attributes, "flue.turn.input")
        asked = read_messages(_plain(request.get("messages")), "user")
        answer = _plain(coerce.fields(attributes, "flue.turn.output"))
        answered = read_messages(answer, "assistant") if answer else []
        reason = answer.get("stopReason") if isinstance(answer, Mapping) else None
        return Row(
            **frame(span),
            kind=kind,
            operation=identity.operation_of_kind(span, kind),
            provider="",
            request_model="",
            response_model="",
            finish_reasons=(finish.canonical(_snake(reason)),) if isinstance(reason, str) and reason else (),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
            input_messages=coerce.written(asked) if asked else "",
            output_messages=coerce.written(answered) if answered else "",
            system=parts_json(prompt) if isinstance(prompt := request.get("systemPrompt"), str) and prompt else "",
            tools=tools_json(request.get("tools")),
        )


def _kind(span: Span) -> str:
    if genai.OPERATION_NAME in span.attributes:
        return kinds.kind_of(identity.operation(span))
    keys = tuple(span.attributes)
    if genai.REQUEST_MODEL in keys:
        return kinds.LLM
    return next((kind for prefix, kind in _KINDS if any(key.startswith(prefix) for key in keys)), kinds.OTHER)


def _plain(value: object) -> object:
    """Messages with the names that others have for tool calls and their results."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("role") == _TOOL_RESULT:
        return {"role": "tool", "tool_call_id": value.get("toolCallId"), "content": value.get("content")}
    if value.get("type") == _TOOL_CALL:
        return {**value, "type": "tool_call"}
    return {**value, "content": _plain(value["content"])} if isinstance(value.get("content"), list) else value


def _snake(reason: str) -> str:
    """`toolUse` as `tool_use`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in reason)
