"""Coding agents that speak the conventions, with a few words of their own: opencode, and GitHub's Copilot.

    opencode.llm.cost.total            USD by its price list; 0 for a model that has none there
    opencode.llm.retry_count           attempts after the first
    copilot_chat.time_to_first_token   milliseconds; since June 2026 gen_ai.response.time_to_first_chunk is beside it
    copilot_chat.chat_session_id       the session, on spans without a conversation
    github.copilot.nano_aiu, .cost     credits, which are no USD

Everything else is read as the conventions' (`otel_genai`). opencode 1.18 itself sends the spans of Vercel's AI SDK.
Sources: the documentation of opencode's OpenTelemetry spans; VS Code's "Monitor agent usage with OpenTelemetry" and
`CopilotChatAttr` in microsoft/vscode (November 2026).
"""

from collections.abc import Sequence
from typing import Final

from tokentrail.backend.dialects import coerce, identity, kinds, timing
from tokentrail.backend.dialects.figures import told_usd
from tokentrail.backend.dialects.frame import frame
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.semconv import genai

_OPENCODE: Final = "opencode.llm."
_COPILOT: Final = ("github.copilot.", "copilot_chat.")


class OpenCode:
    """The dialect of opencode."""

    name = "opencode"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any attribute of its model calls."""
        return any(key.startswith(_OPENCODE) for key in keys)

    def read(self, span: Span) -> Row | None:
        """Its own words on the span."""
        attributes = span.attributes
        return Row(
            **frame(span),
            kind=kinds.kind_of(operation := identity.operation(span)),
            operation=operation,
            provider="",
            request_model="",
            response_model="",
            **told_usd(coerce.number(attributes, "opencode.llm.cost.total")),
            retry_count=coerce.whole(attributes, "opencode.llm.retry_count"),
            session_id=coerce.text(attributes, genai.SESSION_ID, genai.CONVERSATION_ID),
        )


class Copilot:
    """The dialect of Copilot in VS Code and on the command line."""

    name = "copilot"

    def matches(self, keys: Sequence[str], scope: str) -> bool:
        """True for any attribute of its own."""
        return any(key.startswith(_COPILOT) for key in keys)

    def read(self, span: Span) -> Row | None:
        """Its own words on the span."""
        attributes = span.attributes
        operation = identity.operation(span)
        kind = kinds.kind_of(operation)
        known = timing.first_token_ns(span)
        first_token = known or timing.milliseconds(attributes, "copilot_chat.time_to_first_token")
        sessions = (genai.SESSION_ID, genai.CONVERSATION_ID, "copilot_chat.chat_session_id", "copilot_chat.session_id")
        return Row(
            **frame(span),
            kind=kind,
            operation=operation,
            provider="",
            request_model="",
            response_model="",
            stream=first_token is not None,
            ttft_ns=first_token,
            session_id=coerce.text(attributes, *sessions),
        )
