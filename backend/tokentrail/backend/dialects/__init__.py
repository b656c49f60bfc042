"""Dialects in order of priority: of what several say of a span, the first counts (`merge`).

What users set by hand goes first, then what an instrumentation writes in its own words, then the conventions.
"""

from functools import lru_cache
from typing import Final

from tokentrail.backend.dialects._base import Dialect
from tokentrail.backend.dialects.agentops import AgentOps
from tokentrail.backend.dialects.bare import Bare
from tokentrail.backend.dialects.braintrust import Braintrust
from tokentrail.backend.dialects.claude_code import ClaudeCode
from tokentrail.backend.dialects.codex import Codex
from tokentrail.backend.dialects.coding_agents import Copilot, OpenCode
from tokentrail.backend.dialects.flue import Flue
from tokentrail.backend.dialects.gemini_cli import GeminiCli
from tokentrail.backend.dialects.genkit import Genkit
from tokentrail.backend.dialects.google_adk import GoogleADK
from tokentrail.backend.dialects.kinds import BILLABLE
from tokentrail.backend.dialects.laminar import Laminar
from tokentrail.backend.dialects.langfuse import Langfuse
from tokentrail.backend.dialects.langsmith import LangSmith
from tokentrail.backend.dialects.langtrace import Langtrace
from tokentrail.backend.dialects.langwatch import LangWatch
from tokentrail.backend.dialects.litellm import LiteLLM
from tokentrail.backend.dialects.livekit import LiveKit
from tokentrail.backend.dialects.logfire import Logfire
from tokentrail.backend.dialects.merge import merge
from tokentrail.backend.dialects.microsoft import Microsoft
from tokentrail.backend.dialects.mlflow import MLflow
from tokentrail.backend.dialects.openinference import OpenInference
from tokentrail.backend.dialects.openlit import OpenLIT
from tokentrail.backend.dialects.openllmetry import OpenLLMetry
from tokentrail.backend.dialects.openrouter import OpenRouter
from tokentrail.backend.dialects.otel_genai import OtelGenAI, Tokentrail
from tokentrail.backend.dialects.pipecat import Pipecat
from tokentrail.backend.dialects.sentry import Sentry
from tokentrail.backend.dialects.spring import SpringAI
from tokentrail.backend.dialects.strands import Strands
from tokentrail.backend.dialects.vercel import Vercel
from tokentrail.backend.dialects.voltagent import VoltAgent, whole_usages
from tokentrail.backend.row import Row
from tokentrail.backend.span import Span
from tokentrail.semconv import genai

DIALECTS: Final[tuple[Dialect, ...]] = (
    Tokentrail(),
    Langfuse(),
    LangSmith(),
    MLflow(),
    LangWatch(),
    Braintrust(),
    Laminar(),
    ClaudeCode(),
    Codex(),
    GeminiCli(),
    OpenCode(),
    Copilot(),
    LiveKit(),
    Pipecat(),
    OpenRouter(),
    VoltAgent(),
    Flue(),
    AgentOps(),
    Langtrace(),
    Sentry(),
    Vercel(),
    LiteLLM(),
    GoogleADK(),
    Strands(),
    SpringAI(),
    Microsoft(),
    Genkit(),
    OpenInference(),
    OpenLIT(),
    OpenLLMetry(),
    Logfire(),
    OtelGenAI(),
    Bare(),
)

_SHAPES: Final = 4096
"""Shapes of spans (their keys and scope) whose dialects are remembered."""
_MAX_KEYS: Final = 200
"""A span with more is looked at each time: its shape is likely its own, and would fill the memory."""


def read(span: Span) -> Row | None:
    """The billable call that `span` is, in whatever dialects, or `None`."""
    row = describe(span)
    return row if row is not None and row.kind in BILLABLE else None


def describe(span: Span) -> Row | None:
    """What `span` is, in whatever dialects and of whatever kind: an agent, too, has a row here."""
    if genai.DUPLICATE_OF in span.attributes:
        return None  # another span, which is counted, stands for the same call
    spoken = _dialects_of(span)
    if not spoken:
        return None
    rows = [row for dialect in spoken if (row := dialect.read(span)) is not None]
    if not rows:
        return None
    row = merge(rows)
    # A redirect (HTTP's class 3xx) is answered by another exchange, which has its own span.
    redirected = row.status_code is not None and 300 <= row.status_code < 400
    return None if redirected else row


def counts_for_nothing(span: Span) -> bool:
    """True for a span that is no billable call and tells nothing of any: nobody needs what `describe` says of it.

    Only for what is quickly known; false for all others.
    """
    spoken = _dialects_of(span)
    if len(spoken) > 1:
        return False
    return not spoken or (isinstance(spoken[0], OtelGenAI) and spoken[0].counts_for_nothing(span))


def _dialects_of(span: Span) -> tuple[Dialect, ...]:
    keys = tuple(span.attributes)
    return _spoken(keys, span.scope_name) if len(keys) <= _MAX_KEYS else _speakers(keys, span.scope_name)


@lru_cache(maxsize=_SHAPES)
def _spoken(keys: tuple[str, ...], scope: str) -> tuple[Dialect, ...]:
    return _speakers(keys, scope)


def _speakers(keys: tuple[str, ...], scope: str) -> tuple[Dialect, ...]:
    return tuple(dialect for dialect in DIALECTS if dialect.matches(keys, scope))


__all__ = ["DIALECTS", "Dialect", "counts_for_nothing", "describe", "read", "whole_usages"]
