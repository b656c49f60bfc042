"""Attribute names and well-known values of GenAI spans.

`gen_ai.*` names follow the OpenTelemetry GenAI semantic conventions as they stand in late 2026
(https://github.com/open-telemetry/semantic-conventions-genai, still in development, no release). They are kept here
because `opentelemetry-semantic-conventions` 0.66b1 stops at the names of v1.41; this module can import them from
there once it follows. `tokentrail.*` names are the product's own, for what the conventions do not define.

Names that the conventions have replaced end in `_OLD`: they are read, and a few are written beside the current name
for backends that have not followed.
"""

from typing import Final

# Operation, provider, models -----------------------------------------------------------------------------------
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
SYSTEM_OLD: Final = "gen_ai.system"
"""Replaced by `gen_ai.provider.name` in v1.37."""
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
"""string[], one entry per choice, in the order of the choices."""
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
"""double, seconds, streams only: from issuing the request to the first chunk, whatever that carries."""
CONVERSATION_ID: Final = "gen_ai.conversation.id"
OUTPUT_TYPE: Final = "gen_ai.output.type"

# Request settings ----------------------------------------------------------------------------------------------
REQUEST_STREAM: Final = "gen_ai.request.stream"
"""bool, only ever true: absent means not streamed."""
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_TOP_K: Final = "gen_ai.request.top_k"
REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
REQUEST_PREVIOUS_RESPONSE_ID: Final = "gen_ai.request.previous_response.id"
REQUEST_ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
EMBEDDINGS_DIMENSION_COUNT: Final = "gen_ai.embeddings.dimension.count"

# Usage: totals include their subsets ---------------------------------------------------------------------------
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
"""int, all input, cache reads and cache writes included."""
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
"""int, all output, reasoning included."""
USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_CACHE_CREATION_INPUT_TOKENS_OLD: Final = "gen_ai.usage.cache_creation.input_tokens"
"""The name of v1.40 and v1.41 for cache writes, written beside the new one. Never add the two."""
USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
USAGE_AUDIO_INPUT_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
USAGE_AUDIO_OUTPUT_TOKENS: Final = "gen_ai.usage.audio.output_tokens"
USAGE_IMAGE_INPUT_TOKENS: Final = "gen_ai.usage.image.input_tokens"
USAGE_IMAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.image.output_tokens"
USAGE_AUDIO_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.audio.cache_read.input_tokens"
USAGE_PROMPT_TOKENS_OLD: Final = "gen_ai.usage.prompt_tokens"
USAGE_COMPLETION_TOKENS_OLD: Final = "gen_ai.usage.completion_tokens"
USAGE_CACHE_WRITE_1H_INPUT_TOKENS: Final = "tokentrail.usage.cache_write_1h.input_tokens"
"""int, the part of the cache writes that lives for an hour and costs more (Anthropic). The conventions have no TTL."""

# Cost, USD -----------------------------------------------------------------------------------------------------
USAGE_COST: Final = "gen_ai.usage.cost"
"""double, USD, the total. De facto name; absent, never 0, when the call has no known price."""
COST_COMPONENT_PREFIX: Final = "tokentrail.cost."
"""Prefix of the components (double, USD), by the names of `cost.COMPONENTS`; they add up to the total."""
PRICING_STATUS: Final = "tokentrail.pricing.status"
"""`priced`, or the reason why the call has no cost (see `cost.Reason`)."""
PRICING_SOURCE: Final = "tokentrail.pricing.source"
PRICING_VERSION: Final = "tokentrail.pricing.version"
PRICING_ENTRY: Final = "tokentrail.pricing.entry"
PRICING_TIER: Final = "tokentrail.pricing.tier"
PRICING_ASSUMPTIONS: Final = "tokentrail.pricing.assumptions"
"""string[], what was assumed to arrive at the price."""
PRICING_MODEL: Final = "tokentrail.pricing.model"
"""The model named by `Helicone-Model-Override`: it is priced in place of the request and response models."""

# Content, opt-in: JSON strings on spans ------------------------------------------------------------------------
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
INFERENCE_DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"

# Who and where -------------------------------------------------------------------------------------------------
USER_ID: Final = "user.id"
ENDUSER_ID: Final = "enduser.id"
SESSION_ID: Final = "session.id"
SESSION_NAME: Final = "tokentrail.session.name"
SESSION_PATH: Final = "tokentrail.session.path"
PROPERTY_PREFIX: Final = "tokentrail.property."
PROMPT_NAME: Final = "gen_ai.prompt.name"
PROMPT_VERSION: Final = "gen_ai.prompt.version"
REQUEST_ID: Final = "tokentrail.request.id"
"""The caller's own id of the request (`Helicone-Request-Id`)."""
NODE_ID: Final = "tokentrail.node.id"

# The exchange --------------------------------------------------------------------------------------------------
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
PROVIDER_REQUEST_ID: Final = "tokentrail.response.request_id"
"""The provider's id of the HTTP request, from `x-request-id`, `request-id` and the like: what its support asks for."""
TIME_TO_FIRST_TOKEN: Final = "tokentrail.response.time_to_first_token"  # noqa: S105  no password
"""double, seconds, streams only: from issuing the request to the first chunk with text, a tool call or reasoning."""
STREAM_EXIT: Final = "tokentrail.stream.exit"
"""How reading the response ended, streams only: a value of `StreamExit`."""
RETRY_COUNT: Final = "tokentrail.request.retry_count"
"""int, 0 for the first attempt, where the SDK tells it."""
FALLBACK_INDEX: Final = "tokentrail.request.fallback_index"
USAGE_STATUS: Final = "tokentrail.usage.status"
"""`missing` where a successful response carried no usage; absent otherwise. Nothing is ever estimated."""
BODY_STATUS: Final = "tokentrail.body.status"
"""Why the body of an exchange was not read in full: `too_large`, `undecodable`. Absent when it was."""
RATELIMIT_LIMIT_REQUESTS: Final = "tokentrail.ratelimit.limit_requests"
RATELIMIT_REMAINING_REQUESTS: Final = "tokentrail.ratelimit.remaining_requests"
RATELIMIT_LIMIT_TOKENS: Final = "tokentrail.ratelimit.limit_tokens"
RATELIMIT_REMAINING_TOKENS: Final = "tokentrail.ratelimit.remaining_tokens"
RETRY_AFTER: Final = "tokentrail.ratelimit.retry_after"
"""double, seconds."""
CACHE_HIT: Final = "tokentrail.cache.hit"
"""bool, a gateway answered from its own cache."""
HELICONE_ID: Final = "tokentrail.helicone.id"

# OpenAI refinements --------------------------------------------------------------------------------------------
OPENAI_API_TYPE: Final = "openai.api.type"
OPENAI_REQUEST_SERVICE_TIER: Final = "openai.request.service_tier"
OPENAI_RESPONSE_SERVICE_TIER: Final = "openai.response.service_tier"
OPENAI_RESPONSE_SYSTEM_FINGERPRINT: Final = "openai.response.system_fingerprint"
OPENAI_RESPONSE_SERVICE_TIER_OLD: Final = "gen_ai.openai.response.service_tier"
RESPONSE_SERVICE_TIER: Final = "tokentrail.response.service_tier"
"""string, the tier that served a request of any other provider than OpenAI (which has a name of its own)."""

# Resource ------------------------------------------------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
DEPLOYMENT_ENVIRONMENT_NAME: Final = "deployment.environment.name"
DEPLOYMENT_ENVIRONMENT_OLD: Final = "deployment.environment"


class Operation:
    """Values of `gen_ai.operation.name` that name a billable model call."""

    CHAT: Final = "chat"
    TEXT_COMPLETION: Final = "text_completion"
    GENERATE_CONTENT: Final = "generate_content"
    EMBEDDINGS: Final = "embeddings"


class StreamExit:
    """Values of `tokentrail.stream.exit`."""

    COMPLETE: Final = "complete"
    """Read to the end, or past the provider's closing event."""
    CLOSED: Final = "closed"
    """The application stopped reading and closed the response."""
    ABANDONED: Final = "abandoned"
    """Whoever read the response went away without closing it: it was dropped, or the generator around it was."""
    CANCELLED: Final = "cancelled"
    """The task that read the response was cancelled."""
    BROKEN: Final = "broken"
    """The connection failed, or the provider sent an error in the stream."""
    PROCESS_EXIT: Final = "process_exit"
    """The process ended while the response was open."""
