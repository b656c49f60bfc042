"""What a span is: a model call that somebody bills, or a part of an application around such calls."""

from typing import Final

from tokentrail.semconv import genai

LLM: Final = "llm"
EMBEDDING: Final = "embedding"
RERANK: Final = "rerank"
MODERATION: Final = "moderation"
BILLABLE: Final = frozenset({LLM, EMBEDDING, RERANK, MODERATION})

RETRIEVAL: Final = "retrieval"
TOOL: Final = "tool"
AGENT: Final = "agent"
WORKFLOW: Final = "workflow"
CHAIN: Final = "chain"
PROMPT: Final = "prompt"
GUARDRAIL: Final = "guardrail"
EVALUATOR: Final = "evaluator"
MEMORY: Final = "memory"
OTHER: Final = "span"
"""None of these, which nobody bills either."""

RERANK_OPERATION: Final = "rerank"
"""In use by several producers; the conventions have no such operation."""

OPERATION_OF: Final = {
    LLM: genai.Operation.CHAT,
    EMBEDDING: genai.Operation.EMBEDDINGS,
    RERANK: RERANK_OPERATION,
    MODERATION: genai.Operation.MODERATION,
}
"""The operation of a billable kind whose sender names no operation."""

_KIND_OF: Final[dict[str, str]] = {
    genai.Operation.CHAT: LLM,
    genai.Operation.TEXT_COMPLETION: LLM,
    genai.Operation.GENERATE_CONTENT: LLM,
    genai.Operation.EMBEDDINGS: EMBEDDING,
    RERANK_OPERATION: RERANK,
    genai.Operation.MODERATION: MODERATION,
    **dict.fromkeys(("retrieval", "vector_db_retrieve", "vectordb"), RETRIEVAL),
    **dict.fromkeys(("execute_tool", "tool_call"), TOOL),
    **dict.fromkeys(("invoke_agent", "create_agent", "agent_call", "agent"), AGENT),
    **dict.fromkeys(("invoke_workflow", "handle_conversation_turn"), WORKFLOW),
    **dict.fromkeys(("plan", "agent_step", "execute_task"), CHAIN),
}

_SYNONYMS: Final = {
    **dict.fromkeys(
        (
            *("completion", "acompletion", "generate", "responses", "aresponses", "anthropic_messages"),
            *("llm_call", "call_llm", "llm_request", "model_request", "chat.completions"),
        ),
        genai.Operation.CHAT,
    ),
    **dict.fromkeys(
        (
            *("image", "images", "image_generation", "image_edit", "image_variation", "generate_image"),
            *("audio", "speech", "text_to_speech", "speech_to_text", "transcription", "ocr"),
            *("video", "video_generation", "generate_live_content"),
        ),
        genai.Operation.GENERATE_CONTENT,
    ),
    **dict.fromkeys(("embedding", "aembedding"), genai.Operation.EMBEDDINGS),
    **dict.fromkeys(("atext_completion", "text.completions"), genai.Operation.TEXT_COMPLETION),
    "arerank": RERANK_OPERATION,
}


def operation_of(name: str) -> str:
    """The operation that a sender calls `name`, in lower case; a name nobody knows stays as it is."""
    name = name.strip().lower()
    return _SYNONYMS.get(name, name)


def kind_of(operation: str) -> str:
    """The kind of an operation; `OTHER` for one that nobody knows, empty for none."""
    return _KIND_OF.get(operation, OTHER) if operation else ""
