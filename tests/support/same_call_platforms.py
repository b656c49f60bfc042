"""The calls of `same_call` as platforms, gateways and frameworks tell them."""

import json

from support.same_call import ANSWERED, ASKED, COST, FIRST_TOKEN_S, PARTS, Call, Told, openllmetry, some


def langfuse(call: Call) -> Told:
    buckets = {
        "input": call.uncached,
        "cache_read_input_tokens": call.cache_read,
        "cache_creation_input_tokens": call.cache_write,
        "output": call.output - call.reasoning,
        "output_reasoning_tokens": call.reasoning,
        "total": call.input + call.output,
    }
    return {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": call.asked,
        "langfuse.observation.usage_details": json.dumps(some(buckets)),
        "langfuse.observation.cost_details": json.dumps({"total": COST}),
        "langfuse.observation.completion_start_time": json.dumps("2027-01-15T08:00:00.250000Z"),
        "langfuse.observation.prompt.name": "greet",
        "langfuse.observation.prompt.version": 7,
        "langfuse.observation.input": json.dumps(ASKED),
        "langfuse.observation.output": json.dumps("Hello!"),
        "langfuse.observation.metadata.plan": "pro",
        "langfuse.trace.tags": ("a", "b"),
        "langfuse.user.id": "u-1",
        "langfuse.session.id": "s-1",
    }


def langsmith(call: Call) -> Told:
    details = {"cache_read": call.cache_read, "cache_creation": call.cache_write}
    return {
        "langsmith.span.kind": "llm",
        "langsmith.span.tags": "a, b",
        "langsmith.metadata.ls_provider": call.provider,
        "langsmith.metadata.user_id": "u-1",
        "langsmith.metadata.thread_id": "s-1",
        "langsmith.metadata.plan": "pro",
        "langsmith.request.streaming": True,
        "langsmith.trace.session_id": "project",
        "gen_ai.system": call.provider,
        "gen_ai.request.model": call.asked,
        "gen_ai.response.model": call.answered,
        "gen_ai.response.finish_reasons": "stop",
        "gen_ai.usage.input_tokens": call.input,
        "gen_ai.usage.output_tokens": call.output,
        "gen_ai.usage.total_tokens": call.input + call.output,
        "gen_ai.usage.input_token_details": json.dumps(some(details)),
        "gen_ai.usage.output_token_details": json.dumps(some({"reasoning": call.reasoning})),
        "gen_ai.prompt": json.dumps({"messages": ASKED}),
        "gen_ai.completion": json.dumps({"choices": [{"message": ANSWERED[0], "finish_reason": "stop"}]}),
    }


def mlflow(call: Call) -> Told:
    usage = {
        "input_tokens": call.input,
        "output_tokens": call.output,
        "total_tokens": call.input + call.output,
        "cache_read_input_tokens": call.cache_read,
        "cache_creation_input_tokens": call.cache_write,
    }
    told: dict[str, object] = {
        "mlflow.spanType": "CHAT_MODEL",
        "mlflow.llm.model": call.asked,
        "mlflow.llm.provider": call.provider,
        "mlflow.chat.tokenUsage": some(usage),
        "mlflow.llm.cost": {"total_cost": COST},
        "mlflow.linkedPrompts": [{"name": "greet", "version": "7"}],
        "mlflow.spanInputs": {"messages": ASKED, "stream": True},
        "mlflow.spanOutputs": {"choices": [{"message": ANSWERED[0], "finish_reason": "stop"}]},
    }
    return {
        **{name: json.dumps(value) for name, value in told.items()},
        "mlflow.traceTag.plan": "pro",
        "user.id": "u-1",
        "session.id": "s-1",
    }


def logfire(call: Call) -> Told:
    details = {"cache_read_tokens": call.cache_read, "cache_write_tokens": call.cache_write}
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": call.provider,
        "gen_ai.request.model": call.asked,
        "gen_ai.response.model": call.answered,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": call.input,
        "gen_ai.usage.output_tokens": call.output,
        **{f"gen_ai.usage.details.{name}": count for name, count in some(details).items()},
        **some({"gen_ai.usage.details.reasoning_tokens": call.reasoning}),
        "operation.cost": COST,
        "model_request_parameters": "{}",
        "logfire.json_schema": "{}",
        "gen_ai.input.messages": json.dumps(PARTS[0]),
        "gen_ai.output.messages": json.dumps(PARTS[1]),
    }


def litellm(call: Call) -> Told:
    usage = {"cache_read_input_tokens": call.cache_read, "cache_creation_input_tokens": call.cache_write}
    return {
        "llm.request.type": "acompletion",
        "llm.is_streaming": "True",
        "llm.user": "u-1",
        "gen_ai.operation.name": "chat",
        "gen_ai.system": call.provider,
        "gen_ai.request.model": call.asked,
        "gen_ai.response.model": call.answered,
        "gen_ai.response.finish_reasons": '["stop"]',
        "gen_ai.usage.input_tokens": call.input,
        "gen_ai.usage.output_tokens": call.output,
        "gen_ai.usage.total_tokens": call.input + call.output,
        **{f"gen_ai.usage.{name}": count for name, count in some(usage).items()},
        "gen_ai.cost.total_cost": COST,
        "metadata.plan": "pro",
        "hidden_params": "{}",
        "gen_ai.input.messages": json.dumps(PARTS[0]),
        "gen_ai.output.messages": json.dumps(PARTS[1]),
    }


def litellms_second(call: Call) -> Told:
    usage = {"cache_read.input_tokens": call.cache_read, "cache_creation.input_tokens": call.cache_write}
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.asked,
        "gen_ai.response.model": call.answered,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": FIRST_TOKEN_S,
        "gen_ai.conversation.id": "s-1",
        "gen_ai.usage.input_tokens": call.input,
        "gen_ai.usage.output_tokens": call.output,
        **{f"gen_ai.usage.{name}": count for name, count in some(usage).items()},
        "litellm.call_type": "acompletion",
        "litellm.cost.total": COST,
        "litellm.request.streaming": True,
        "litellm.end_user.id": "u-1",
        "litellm.metadata.plan": "pro",
        "gen_ai.input.messages": json.dumps(ASKED),
        "gen_ai.output.messages": json.dumps(ANSWERED),
    }


def sentry(call: Call) -> Told:
    usage = {
        "input_tokens.cached": call.cache_read,
        "input_tokens.cache_write": call.cache_write,
        "output_tokens.reasoning": call.reasoning,
    }
    return {
        "gen_ai.operation.type": "ai_client",
        "gen_ai.system": call.provider,
        "gen_ai.request.model": call.asked,
        "gen_ai.response.model": call.answered,
        "gen_ai.response.finish_reasons": '["stop"]',
        "gen_ai.response.streaming": True,
        "gen_ai.response.time_to_first_token": FIRST_TOKEN_S,
        "gen_ai.usage.input_tokens": call.input,
        "gen_ai.usage.output_tokens": call.output,
        **{f"gen_ai.usage.{name}": count for name, count in some(usage).items()},
        "gen_ai.cost.total_tokens": COST,
        "gen_ai.request.messages": json.dumps(ASKED),
        "gen_ai.response.text": "Hello!",
    }


def laminar(call: Call) -> Told:
    return {
        **openllmetry(call),
        "lmnr.span.type": "LLM",
        "lmnr.association.properties.user_id": "u-1",
        "lmnr.association.properties.session_id": "s-1",
        "lmnr.association.properties.tags": ("a", "b"),
        "lmnr.association.properties.metadata.plan": "pro",
        "gen_ai.usage.cost": COST,
    }


def braintrust(call: Call) -> Told:
    metrics = {
        "prompt_tokens": call.input,
        "completion_tokens": call.output,
        "prompt_cached_tokens": call.cache_read,
        "prompt_cache_creation_tokens": call.cache_write,
        "completion_reasoning_tokens": call.reasoning,
        "time_to_first_token": FIRST_TOKEN_S,
    }
    metadata = {"provider": call.provider, "model": call.asked, "stream": True}
    return {
        "braintrust.span_attributes": json.dumps({"type": "llm"}),
        "braintrust.metadata": json.dumps(metadata),
        "braintrust.metrics": json.dumps(some(metrics)),
        "braintrust.tags": ("a", "b"),
        "braintrust.input_json": json.dumps(ASKED),
        "braintrust.output_json": json.dumps([{"message": ANSWERED[0], "finish_reason": "stop"}]),
        "user.id": "u-1",
        "session.id": "s-1",
    }


def bare(call: Call) -> Told:
    counts = {"cache_read_tokens": call.cache_read, "reasoning_tokens": call.reasoning}
    return {
        "model": call.asked,
        "provider": call.provider,
        "input_tokens": call.input,
        "output_tokens": call.output,
        **some(counts),
        "cost_usd": COST,
        "user.id": "u-1",
        "session.id": "s-1",
    }
