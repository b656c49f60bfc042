"""Two calls as instrumentations tell them: every attribute written out by hand, from the producers' documentation.

The vocabularies of platforms are in `same_call_platforms`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """What happened."""

    provider: str
    asked: str
    answered: str
    uncached: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int

    @property
    def input(self) -> int:
        """All of the input."""
        return self.uncached + self.cache_read + self.cache_write


GPT: Final = Call("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", 176, 1024, 0, 80, 16)
CLAUDE: Final = Call("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", 200, 1000, 100, 80, 0)
CALLS: Final = {"gpt": GPT, "claude": CLAUDE}
COST: Final = 0.0042
FIRST_TOKEN_S: Final = 0.25
ASKED: Final = [{"role": "user", "content": "Say hello"}]
ANSWERED: Final = [{"role": "assistant", "content": "Hello!"}]
PARTS: Final = [
    [{"role": role, "parts": [{"type": "text", "content": text}]}]
    for role, text in (("user", "Say hello"), ("assistant", "Hello!"))
]


def some(told: Told) -> dict[str, Any]:
    """Without counts of nothing, which most producers leave out."""
    return {key: value for key, value in told.items() if value != 0}


def conventions(call: Call) -> Told:
    usage = {
        "cache_read.input_tokens": call.cache_read,
        "cache_creation.input_tokens": call.cache_write,
        "reasoning.output_tokens": call.reasoning,
    }
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.asked,
        "gen_ai.response.model": call.answered,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": call.input,
        "gen_ai.usage.output_tokens": call.output,
        **{f"gen_ai.usage.{name}": count for name, count in some(usage).items()},
        "gen_ai.usage.cost": COST,
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": FIRST_TOKEN_S,
        "user.id": "u-1",
        "session.id": "s-1",
        "gen_ai.prompt.name": "greet",
        "gen_ai.prompt.version": "7",
        "gen_ai.input.messages": json.dumps(PARTS[0]),
        "gen_ai.output.messages": json.dumps(PARTS[1]),
    }


def old_conventions(call: Call) -> Told:
    return {
        "gen_ai.system": call.provider,
        "gen_ai.request.model": call.asked,
        "gen_ai.response.model": call.answered,
        "gen_ai.response.finish_reasons": '["stop"]',
        "gen_ai.usage.prompt_tokens": str(call.input),
        "gen_ai.usage.completion_tokens": str(call.output),
        "gen_ai.prompt": json.dumps(ASKED),
        "gen_ai.completion": json.dumps(ANSWERED),
    }


def openllmetry(call: Call) -> Told:
    usage = {
        "cache_read_input_tokens": call.cache_read,
        "cache_creation_input_tokens": call.cache_write,
        "reasoning_tokens": call.reasoning,
    }
    return {
        "llm.request.type": "chat",
        "gen_ai.system": call.provider.capitalize(),
        "gen_ai.request.model": call.asked,
        "gen_ai.response.model": call.answered,
        "llm.is_streaming": True,
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "Say hello",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": "Hello!",
        "gen_ai.completion.0.finish_reason": "stop",
        "gen_ai.usage.prompt_tokens": call.input,
        "gen_ai.usage.completion_tokens": call.output,
        "llm.usage.total_tokens": call.input + call.output,
        **{f"gen_ai.usage.{name}": count for name, count in some(usage).items()},
        "traceloop.association.properties.user_id": "u-1",
        "traceloop.association.properties.session_id": "s-1",
        "traceloop.association.properties.plan": "pro",
        "traceloop.prompt.key": "greet",
        "traceloop.prompt.version": 7,
    }


def openinference(call: Call) -> Told:
    counts = {
        "prompt_details.cache_read": call.cache_read,
        "prompt_details.cache_write": call.cache_write,
        "completion_details.reasoning": call.reasoning,
    }
    return {
        "openinference.span.kind": "LLM",
        "llm.provider": call.provider,
        "llm.request.model_name": call.asked,
        "llm.model_name": call.answered,
        "llm.invocation_parameters": '{"stream": true}',
        "llm.token_count.prompt": call.input,
        "llm.token_count.completion": call.output,
        "llm.token_count.total": call.input + call.output,
        **{f"llm.token_count.{name}": count for name, count in some(counts).items()},
        "llm.cost.total": COST,
        "llm.finish_reason": "stop",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "Say hello",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "Hello!",
        "user.id": "u-1",
        "session.id": "s-1",
        "tag.tags": ("a", "b"),
        "metadata": '{"plan": "pro"}',
        "prompt.id": "greet",
        "llm.prompt_template.version": "7",
    }


def openlit(call: Call) -> Told:
    apart = call.provider == "anthropic"
    return {
        **conventions(call),
        "gen_ai.usage.input_tokens": call.uncached if apart else call.input,
        "gen_ai.client.token.usage": call.uncached + call.output,
        "gen_ai.request.user": "u-1",
        "gen_ai.session.id": "s-1",
    }


def vercel(call: Call) -> Told:
    metadata = {"userId": "u-1", "sessionId": "s-1", "tags": ("a", "b"), "plan": "pro"}
    details = {
        "inputTokenDetails.noCacheTokens": call.uncached,
        "inputTokenDetails.cacheReadTokens": call.cache_read,
        "inputTokenDetails.cacheWriteTokens": call.cache_write,
        "outputTokenDetails.reasoningTokens": call.reasoning,
    }
    return {
        "operation.name": "ai.streamText.doStream",
        "ai.operationId": "ai.streamText.doStream",
        "ai.model.id": call.asked,
        "ai.model.provider": f"{call.provider}.messages" if call.provider == "anthropic" else "openai.responses",
        "ai.response.model": call.answered,
        "ai.response.finishReason": "stop",
        "ai.response.text": "Hello!",
        "ai.response.msToFirstChunk": FIRST_TOKEN_S * 1000,
        "ai.prompt.messages": json.dumps(ASKED),
        "ai.usage.inputTokens": call.input,
        "ai.usage.outputTokens": call.output,
        "ai.usage.totalTokens": call.input + call.output,
        **{f"ai.usage.{name}": count for name, count in some(details).items()},
        **{f"ai.telemetry.metadata.{name}": value for name, value in metadata.items()},
        "ai.telemetry.metadata.langfusePrompt": '{"name": "greet", "version": 7}',
    }
