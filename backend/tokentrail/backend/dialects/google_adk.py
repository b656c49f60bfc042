"""Google's Agent Development Kit (ADK).

    invocation, invoke_workflow, invoke_agent <name>       around it all: gen_ai.*
      call_llm                                             until schema 2: gen_ai.system = gcp.vertex.agent
        gcp.vertex.agent.llm_request, .llm_response        JSON, "{}" where content is off; not where the call failed
        gcp.vertex.agent.session_id, .invocation_id, .event_id
        generate_content <model>                           the same call in the conventions' words
      execute_tool <name>                                  gcp.vertex.agent.tool_call_args, .tool_response

`gcp.vertex.agent` is no provider. The request's messages are Gemini's `contents`; the response's usage is Gemini's
`usage_metadata`, whose candidates leave the thoughts out, as do the output tokens that 1.14 has in attributes, where
it tells nothing of the cache either: the response goes first. `call_llm` is a model call, also around a
`generate_content`: earlier versions have only it, and of two spans of one call the inner one counts.

Source: spans of google-adk 1.14.0, and of 2.13.0 in both of its schemas (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.dialects.messages import messages_json, parts_json
from tokentrail.backend.dialects.tokens import as_totals, read_usage
from tokentrail.backend.dialects.tool_definitions import tools_json
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Span
from tokentrail.semconv import finish, genai
from tokentrail.semconv.usage import Usage

_SCOPE: Final = "gcp.vertex.agent"
_PREFIX: Final = "gcp.vertex.agent."
_REQUEST: Final = "gcp.vertex.agent.llm_request"
_RESPONSE: Final = "gcp.vertex.agent.llm_response"
_SESSION: Final = (genai.SESSION_ID, genai.CONVERSATION_ID, "gcp.vertex.agent.session_id")
_CALL: Final = "call_llm"
_KINDS: Final = {
    _CALL: kinds.LLM,
    "execute_tool": kinds.TOOL,
    "invoke_agent": kinds.AGENT,
    "agent_run": kinds.AGENT,
    "invocation": kinds.WORKFLOW,
}
"""By the first word of the span's name: `call_llm` and `invocation` name no operation."""


class GoogleADK:
    """The dialect."""

    name = "google_adk"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for ADK's tracer and for its attributes."""
        return scope == _SCOPE or any(key.startswith(_PREFIX) for key in keys)

    def read(self, span: Span) -> Row | None:
        """The span's row, of whatever kind."""
        attributes = span.attributes
        kind, operation = _identity(span)
        request, response = coerce.fields(attributes, _REQUEST), coerce.fields(attributes, _RESPONSE)
        response_model = coerce.text(attributes, genai.RESPONSE_MODEL) or _text(response.get("model_version"))
        request_model = coerce.text(attributes, genai.REQUEST_MODEL)
        config = request.get("config")
        config = config if isinstance(config, Mapping) else {}
        usage = _usage(attributes, response)
        reason = _text(response.get("finish_reason"))
        contents, content = request.get("contents"), response.get("content")
        return Row(
            **frame(span),
            kind=kind,
            operation=operation,
            provider=identity.provider(span, response_model or request_model),
            request_model=request_model,
            response_model=response_model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            finish_reasons=(finish.canonical(reason),) if reason else (),
            user_id=coerce.text(attributes, genai.USER_ID, genai.ENDUSER_ID),
            session_id=coerce.text(attributes, *_SESSION),
            input_messages=messages_json(contents, "user") if contents else "",
            output_messages=messages_json(content, "assistant") if content else "",
            system=parts_json(config.get("system_instruction")) if config.get("system_instruction") else "",
            tools=tools_json(config.get("tools")) if config.get("tools") else "",
        )


def _identity(span: Span) -> tuple[str, str]:
    """Kind and operation: ADK's own spans by their names, others as they say."""
    word = span.name.partition(" ")[0]
    if coerce.text(span.attributes, genai.OPERATION_NAME) or (span.scope_name != _SCOPE and word != _CALL):
        operation = identity.operation(span)
        return kinds.kind_of(operation), operation
    kind = _KINDS.get(word, kinds.OTHER)
    return kind, genai.Operation.GENERATE_CONTENT if kind == kinds.LLM else ""


def _usage(attributes: Attributes, response: Mapping[str, object]) -> Usage:
    """What Gemini's response tells, else what the attributes do, which lack a part of it in earlier versions."""
    raw = response.get("usage_metadata")
    if not isinstance(raw, Mapping) or not raw:
        return read_usage(attributes)
    counts = {key: value for key, value in raw.items() if isinstance(value, int | float | str)}
    prompt, tool_prompt = (
        coerce.count(counts, "prompt_token_count"),
        coerce.count(counts, "tool_use_prompt_token_count"),
    )
    candidates, thoughts = coerce.count(counts, "candidates_token_count"), coerce.count(counts, "thoughts_token_count")
    return as_totals(
        Usage(
            input_tokens=_sum(prompt, tool_prompt),
            output_tokens=_sum(candidates, thoughts),
            cache_read_tokens=coerce.count(counts, "cached_content_token_count"),
            reasoning_tokens=thoughts,
        ),
        cache_apart=False,
    )


def _sum(*counts: int | None) -> int | None:
    """The sum of the counts that are told; a wrong one stays wrong."""
    told = [each for each in counts if each is not None]
    wrong = [each for each in told if each < 0]
    return (wrong[0] if wrong else sum(told)) if told else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
