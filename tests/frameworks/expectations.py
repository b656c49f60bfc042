"""What each scene of the workers is to lead to, written from what its code says: which calls, and how each one ends.

The local provider decides the rest: it calls a tool where the question shares a word with the tool's name, and answers
in words after a tool's result. Numbers of tokens, ids and the sequence of requests come from its ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CHAT: Final = "/v1/chat/completions"
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"
EMBEDDINGS: Final = "/v1/embeddings"

STOP: Final = "stop"
TOOL: Final = "tool_call"
FAILED: Final = "failed"
"""The provider refuses the request: it does not know the model."""
LEFT: Final = "left"
"""The application leaves the stream after the first word."""
EMBEDDED: Final = "embedded"
"""An answer that has no finish reason."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene of a worker."""

    name: str
    endpoint: str
    ends: tuple[str, ...]
    """How each of its calls ends, in any order."""
    stream: bool = False
    local: bool = False
    """Made to a host that is no vendor's."""
    leaves_end: bool = False
    """The framework has all it needs before the vendor's closing event, and stops reading there."""

    @property
    def fails(self) -> bool:
        """The application sees an exception."""
        return self.ends == (FAILED,)

    @property
    def provider(self) -> str:
        """The provider that its spans name."""
        if self.local:
            return "self_hosted"
        return "anthropic" if self.endpoint == MESSAGES else "openai"


SCENES: Final[Mapping[str, tuple[Scene, ...]]] = {
    "langchain": (
        Scene("invoke", CHAT, (STOP,)),
        Scene("agent", CHAT, (TOOL, STOP)),
        Scene("claude-agent", MESSAGES, (TOOL, STOP)),
        Scene("stream", CHAT, (STOP,), stream=True),
        Scene("claude-stream", MESSAGES, (STOP,), stream=True),
        Scene("batch-in-threads", CHAT, (STOP, STOP, STOP)),
        Scene("graph-in-threads", CHAT, (STOP, STOP)),
        Scene("responses-api", RESPONSES, (STOP,)),
        Scene("embeddings", EMBEDDINGS, (EMBEDDED,)),
        Scene("error", CHAT, (FAILED,)),
        Scene("async-agent-stream", CHAT, (TOOL, STOP), stream=True),
        Scene("async-batch", MESSAGES, (STOP, STOP)),
        Scene("stream-left-early", CHAT, (LEFT,), stream=True),
    ),
    "pydantic_ai": (
        Scene("agent", CHAT, (TOOL, STOP)),
        Scene("responses-agent", RESPONSES, (TOOL, STOP)),
        Scene("structured", CHAT, (TOOL,)),  # the structure is the arguments of a tool
        Scene("error", CHAT, (FAILED,)),
        # It streams from this vendor also where the application does not.
        Scene("claude-agent", MESSAGES, (TOOL, STOP), stream=True),
        Scene("stream", CHAT, (STOP,), stream=True),
        Scene("stream-with-own-spans", CHAT, (STOP,), stream=True),
        Scene("agent-with-own-spans", CHAT, (TOOL, STOP)),
        Scene("claude-agent-with-own-spans", MESSAGES, (TOOL, STOP), stream=True),
        Scene("error-with-own-spans", CHAT, (FAILED,)),
        Scene("local-host", CHAT, (STOP,), local=True),
    ),
    "openai_agents": (
        Scene("agent", RESPONSES, (TOOL, STOP)),
        Scene("error", RESPONSES, (FAILED,)),
        Scene("stream", RESPONSES, (TOOL, STOP), stream=True),
        Scene("chat-agent", CHAT, (TOOL, STOP)),
        Scene("chat-stream", CHAT, (TOOL, STOP), stream=True),
        Scene("untraced", RESPONSES, (STOP,)),
        Scene("agent-with-own-spans", RESPONSES, (TOOL, STOP)),
        Scene("stream-with-own-spans", RESPONSES, (TOOL, STOP), stream=True),
        Scene("chat-agent-with-own-spans", CHAT, (TOOL, STOP)),
    ),
    "litellm": (
        Scene("completion", CHAT, (STOP,)),
        Scene("tool", RESPONSES, (TOOL,)),  # it takes a reasoning model with tools there
        Scene("claude", MESSAGES, (STOP,)),
        Scene("claude-stream", MESSAGES, (STOP,), stream=True, leaves_end=True),
        Scene("local-host", CHAT, (STOP,), local=True),
        Scene("local-stream", CHAT, (STOP,), stream=True, local=True),
        Scene("error", CHAT, (FAILED,)),
        Scene("aiohttp", CHAT, (STOP,), local=True),
        Scene("aiohttp-stream", CHAT, (STOP,), stream=True, local=True),
        Scene("aiohttp-claude", MESSAGES, (STOP,), local=True),
        Scene("aiohttp-claude-stream", MESSAGES, (STOP,), stream=True, local=True, leaves_end=True),
        Scene("aiohttp-error", CHAT, (FAILED,), local=True),
        Scene("httpx-async", CHAT, (STOP,)),
    ),
    "instructor": (
        Scene("extract", CHAT, (TOOL,)),
        # The model, told of its mistake, answers in words first, which it is told of, too.
        Scene("asked-again", CHAT, (TOOL, STOP, TOOL)),
        Scene("partial-stream", CHAT, (TOOL,), stream=True),
        Scene("error", CHAT, (FAILED,)),
        Scene("claude", MESSAGES, (TOOL,)),
    ),
    "llama_index": (
        Scene("complete", CHAT, (STOP,)),
        Scene("stream", CHAT, (STOP,), stream=True),
        Scene("error", CHAT, (FAILED,)),
        Scene("agent", CHAT, (TOOL, STOP), stream=True),  # its agents stream by themselves
        Scene("async-chat", CHAT, (STOP,)),
    ),
    "crewai": (
        Scene("call", CHAT, (STOP,)),
        Scene("crew", CHAT, (TOOL, STOP)),
        Scene("error", CHAT, (FAILED,)),
        Scene("async-crew", CHAT, (STOP,)),
    ),
}
"""By the name of the worker, all of its scenes."""
