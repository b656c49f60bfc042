"""Finish reasons: the conventions' words for what providers say in their own.

Source: the well-known values of `gen_ai.response.finish_reasons`, and the API references of the providers.
"""

from typing import Final

STOP: Final = "stop"
LENGTH: Final = "length"
TOOL_CALL: Final = "tool_call"
CONTENT_FILTER: Final = "content_filter"
ERROR: Final = "error"
"""A choice that never finished, or that the provider gave up."""

_CANONICAL: Final[dict[str, str]] = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "complete", "eos", "eos_token", "completed"), STOP),
    **dict.fromkeys(("finish", "stop_criteria_met", "endoftext"), STOP),  # Titan, Jurassic
    **dict.fromkeys(
        (
            *("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"),
            "error_limit",
        ),
        LENGTH,
    ),
    **dict.fromkeys(("tool_call", "tool_calls", "tool-calls", "tool_use", "function_call"), TOOL_CALL),
    **dict.fromkeys(
        (
            *("content_filter", "content-filter", "content_filtered", "refusal", "guardrail_intervened", "safety"),
            *("recitation", "blocklist", "prohibited_content", "spii", "image_safety"),
            *("image_prohibited_content", "image_recitation", "model_armor"),
            "error_toxic",
        ),
        CONTENT_FILTER,
    ),
    **dict.fromkeys(("error", "failed", "cancelled", "user_cancel", "timeout", "malformed_function_call"), ERROR),
    **dict.fromkeys(("malformed_model_output", "malformed_tool_use"), ERROR),  # Bedrock
    "sensitive": CONTENT_FILTER,  # Zhipu, as the next
    "network_error": ERROR,
    **dict.fromkeys(("malformed_response", "unexpected_tool_call", "missing_thought_signature"), ERROR),  # Gemini
}


def canonical(reason: str) -> str:
    """The conventions' word for `reason`, whatever its case; a reason nobody knows stays as it is."""
    return _CANONICAL.get(reason.lower(), reason)
