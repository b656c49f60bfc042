"""One logical call makes one row, whoever tells it: each vocabulary by itself, and any two of them on one span.

Each vocabulary is written out by hand (`support/same_call.py`) with everything that it can say of the call; what it
cannot say is left out of the comparison. Two calls: one of a provider that counts the cache inside the input, and one
of a provider that counts it beside it.
"""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import pytest

from support import same_call as calls
from support import same_call_platforms as platforms
from support.same_call import CALLS, FIRST_TOKEN_S, PARTS, Call, Told
from support.spans import START, a_span
from tokentrail.backend import dialects
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How a call is told, in what scope, and what of it cannot be."""

    write: Callable[[Call], Told]
    scope: str = "x"
    cannot: frozenset[str] = frozenset()


_NOTHING_OF_THE_USER: Final = frozenset({"tags", "properties"})
VOCABULARIES: Final[Mapping[str, Vocabulary]] = {
    "conventions": Vocabulary(calls.conventions, cannot=_NOTHING_OF_THE_USER),
    "old conventions": Vocabulary(
        calls.old_conventions,
        cannot=frozenset(
            {
                *_NOTHING_OF_THE_USER,
                *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost", "stream", "first_token_s"),
                *("user_id", "session_id", "prompt_name", "prompt_version"),
            }
        ),
    ),
    "openllmetry": Vocabulary(
        calls.openllmetry, "opentelemetry.instrumentation.openai.v1", frozenset({"cost", "first_token_s", "tags"})
    ),
    "openinference": Vocabulary(
        calls.openinference, "openinference.instrumentation.openai", frozenset({"first_token_s"})
    ),
    "openlit": Vocabulary(calls.openlit, "openlit.otel.tracing", _NOTHING_OF_THE_USER),
    "vercel": Vocabulary(calls.vercel, "ai", frozenset({"cost"})),
    "langfuse": Vocabulary(platforms.langfuse, "langfuse-sdk", frozenset({"response_model", "finish_reasons"})),
    "langsmith": Vocabulary(
        platforms.langsmith, "langsmith", frozenset({"cost", "first_token_s", "prompt_name", "prompt_version"})
    ),
    "mlflow": Vocabulary(
        platforms.mlflow, "mlflow.openai", frozenset({"response_model", "reasoning_tokens", "first_token_s", "tags"})
    ),
    "logfire": Vocabulary(
        platforms.logfire,
        "pydantic-ai",
        frozenset(
            {
                *_NOTHING_OF_THE_USER,
                *("stream", "first_token_s", "user_id", "session_id", "prompt_name", "prompt_version"),
            }
        ),
    ),
    "litellm": Vocabulary(
        platforms.litellm,
        "litellm",
        frozenset({"reasoning_tokens", "first_token_s", "session_id", "tags", "prompt_name", "prompt_version"}),
    ),
    "litellm's second": Vocabulary(
        platforms.litellms_second, "litellm", frozenset({"reasoning_tokens", "tags", "prompt_name", "prompt_version"})
    ),
    "sentry": Vocabulary(
        platforms.sentry,
        cannot=frozenset({*_NOTHING_OF_THE_USER, "user_id", "session_id", "prompt_name", "prompt_version"}),
    ),
    "laminar": Vocabulary(platforms.laminar, "lmnr", frozenset({"first_token_s"})),
    "braintrust": Vocabulary(
        platforms.braintrust,
        cannot=frozenset({"response_model", "cost", "properties", "prompt_name", "prompt_version"}),
    ),
    "bare": Vocabulary(
        platforms.bare,
        cannot=frozenset(
            {
                *_NOTHING_OF_THE_USER,
                *("response_model", "cache_write_tokens", "stream", "first_token_s", "finish_reasons"),
                *("prompt_name", "prompt_version", "input_messages", "output_messages"),
            }
        ),
    ),
}


PAIRS: Final = [
    (call, first, second)
    for call in CALLS
    for first, second in itertools.permutations(VOCABULARIES, 2)
    # The bare words are asked where no other is spoken. OpenLIT leaves Anthropic's cache out of a count that others
    # call the same, and have it in.
    if "bare" not in (first, second) and not (call == "claude" and "openlit" in (first, second))
]


def expected(call: Call) -> dict[str, object]:
    return {
        "kind": "llm",
        "operation": "chat",
        "provider": call.provider,
        "request_model": call.asked,
        "response_model": call.answered,
        "input_tokens": call.input,
        "output_tokens": call.output,
        "cache_read_tokens": call.cache_read,
        "cache_write_tokens": call.cache_write,
        "reasoning_tokens": call.reasoning,
        "cost": (Decimal("0.0042"), "client"),
        "stream": True,
        "first_token_s": FIRST_TOKEN_S,
        "finish_reasons": ("stop",),
        "user_id": "u-1",
        "session_id": "s-1",
        "tags": ("a", "b"),
        "properties": "pro",
        "prompt_name": "greet",
        "prompt_version": "7",
        "input_messages": PARTS[0],
        "output_messages": PARTS[1],
        "error_type": "",
    }


def told(row: Row) -> dict[str, object]:
    counts = {name: getattr(row, name) or 0 for name in ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")}
    plain = ("kind", "operation", "provider", "request_model", "response_model", "input_tokens", "output_tokens")
    whose = ("user_id", "session_id", "tags", "prompt_name", "prompt_version", "finish_reasons", "stream", "error_type")
    return {
        **{name: getattr(row, name) for name in (*plain, *whose)},
        **counts,
        "cost": (row.cost_usd, row.cost_source),
        "first_token_s": None if row.ttft_ns is None else row.ttft_ns / 1e9,
        "properties": row.properties.get("plan"),
        "input_messages": _messages(row.input_messages),
        "output_messages": _messages(row.output_messages),
    }


def _messages(text: str) -> object:
    """Without the reason that some repeat in the message."""
    found = json.loads(text) if text else []
    return [{name: value for name, value in each.items() if name != "finish_reason"} for each in found]


def read(attributes: Attributes, scope: str) -> dict[str, object]:
    row = dialects.read(a_span(attributes, scope_name=scope))
    assert row is not None, "no row"
    return told(row)


@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("call", CALLS)
def test_the_same_call_in_any_vocabulary_is_the_same_row(call: str, name: str) -> None:
    vocabulary, want = VOCABULARIES[name], expected(CALLS[call])

    found = read(dict(vocabulary.write(CALLS[call])), vocabulary.scope)

    assert {field: found[field] for field in found if field not in vocabulary.cannot} == {
        field: value for field, value in want.items() if field not in vocabulary.cannot
    }


@pytest.mark.parametrize(("call", "first", "second"), PAIRS)
def test_two_vocabularies_on_one_span_say_what_each_of_them_says(call: str, first: str, second: str) -> None:
    made, added = VOCABULARIES[first], VOCABULARIES[second]
    want, cannot = expected(CALLS[call]), made.cannot & added.cannot

    # The span is the first one's: an attribute that both have is as it wrote it.
    found = read({**added.write(CALLS[call]), **made.write(CALLS[call])}, made.scope)

    assert {field: found[field] for field in found if field not in cannot} == {
        field: value for field, value in want.items() if field not in cannot
    }


def test_the_span_starts_when_the_written_times_say() -> None:
    assert START == 1_800_000_000 * 10**9  # 2027-01-15T08:00:00Z
