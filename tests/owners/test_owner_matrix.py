"""Other instrumentations, as they are installed, beside Tokentrail: every call is counted once.

What a backend counts: spans that say, in one of the three vocabularies, that they are a model call, without those that
are marked as duplicates of another. Each combination runs in a process of its own, as they patch globally; what the
others do by themselves is seen in a process without Tokentrail.
"""

import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from owners.calls import CALLS, Call
from support import rivals, sdk_versions
from support.rivals import ANTHROPIC_0, ANTHROPIC_2, OPENAI_2, OPENAI_3
from support.sdk_versions import Sdk

OPENAI: Final = ("openai-v2", "genai-openai", "openllmetry-openai", "openinference-openai", "openlit")
ANTHROPIC: Final = ("anthropic-sdk", "genai-anthropic", "openllmetry-anthropic", "openinference-anthropic", "openlit")

EXCLUSIVE: Final = {frozenset({"openai-v2", "genai-openai"})}
"""The new one replaces the old one: they need different versions of a third package."""

PRICES: Final = {"gpt-4o-mini": (0.15, 0.60), "text-embedding-3-small": (0.02, 0.0), "claude-sonnet-4-6": (3.0, 15.0)}
"""USD for a million tokens, input and output, as the providers publish them (November 2026)."""

MISCOUNTS: Final = {
    ("opentelemetry.instrumentation.anthropic", "messages_stream"),
    ("opentelemetry.instrumentation.anthropic", "messages_helper"),
}
"""Spans whose owner says another number of output tokens: OpenLLMetry adds up those of the first and the last event
(0.62.4; 12 for 7, also without us). What an owner says is left as it is; the cost is ours, and right."""

LOST: Final = {("openlit", "chat_stream_closed"), ("openlit", "responses_raw_stream")}
"""Calls whose span is never ended (OpenLIT 1.45.0): where it is the innermost, the call has a span of ours in its
place, and the duplicates around it name the one that was lost."""

UNCLOSED: Final = ("openai-v2", "chat_stream_closed async")
"""A stream whose response is not closed when the application closes it (openai-v2 2.4b0 does not await that), so that
it is abandoned, unless the owner's end says before that it is over."""

CLASHES: Final = {
    ("responses_stream", frozenset({"openllmetry-openai", "openlit"})),
    ("responses_raw_stream", frozenset({"openllmetry-openai", "openlit"})),
}
"""Calls that the others break by themselves: OpenLLMetry (0.62.4) switched on after OpenLIT (1.45.0) takes the stream
that OpenLIT has wrapped for a whole response, and the application gets an `AttributeError`."""

EARLY: Final = ("messages_helper", "opentelemetry.instrumentation.anthropic", "openlit")
"""A call, and a scope whose span of it ends before there is any request, with no tokens, where the other is there too:
OpenLLMetry (0.62.4) around OpenLIT's (1.45.0) wrapper of the stream helper, which it takes for a response. Nothing can
be added to it when the request leaves, so a backend has a second, empty and unpriced, call."""

OPERATIONS: Final = {"chat", "text_completion", "generate_content", "embeddings"}
OURS: Final = "tokentrail.instrumentation"

Span = Mapping[str, Any]


def _spans(switches: Sequence[str], sdk: Sdk) -> Iterator[dict[str, Any]]:
    """What `owners_worker.py` says of the calls of `sdk` with these instrumentations switched on."""
    paths = [path for name in switches if name in _INSTALLED for path in rivals.python_path(name, sdk)]
    paths += [*sdk_versions.python_path(sdk), str(Path(__file__).parents[1])]
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "TOKENTRAIL_", "OPENAI_", "ANTHROPIC_", "OPENLIT_", "TRACELOOP_"))
    }
    order = {"switches": list(switches), "calls": [name for name, call in CALLS.items() if call.sdk == sdk.name]}
    with tempfile.TemporaryDirectory() as folder:
        outcomes = Path(folder) / "outcomes.jsonl"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", Path(__file__).with_name("owners_worker.py"), json.dumps(order), outcomes],
            env={**clean, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert "Tokentrail" not in done.stderr, done.stderr[-4000:]
        for line in outcomes.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


_INSTALLED: Final = {each.name for each in rivals.RIVALS}


@dataclass(frozen=True, slots=True)
class Alone:
    """One call with the others alone."""

    result: str
    """What the application saw."""
    spans: int
    """Of model calls."""


@functools.cache
def _without_us(switches: tuple[str, ...], sdk: Sdk) -> Mapping[tuple[str, str], Alone]:
    """What comes of each call without us: by call and mode."""
    return {
        (line["call"], line["mode"]): Alone(line["result"], len(list(filter(is_call, line["spans"]))))
        for line in _spans(switches, sdk)
    }


def is_call(span: Span) -> bool:
    """True for a span that a backend takes for a model call."""
    attributes = span["attributes"]
    return (
        attributes.get("gen_ai.operation.name") in OPERATIONS
        or attributes.get("openinference.span.kind") in ("LLM", "EMBEDDING")
        or attributes.get("llm.request.type") in ("chat", "completion", "embedding")
    )


def check(line: Mapping[str, Any], others: int, seen: str, switches: Sequence[str]) -> None:
    """Compare one call's spans with what it must come to; `others` is how many the others had without us."""
    call, where = CALLS[line["call"]], f"{line['call']} {line['mode']}"
    spans = [span for span in line["spans"] if is_call(span)]
    early = [span for span in spans if _is_early(line["call"], span, switches)]
    counted = [span for span in spans if "tokentrail.duplicate_of" not in span["attributes"] and span not in early]
    ours = [span for span in spans if span["scope"] == OURS]
    scopes = Counter(span["scope"] for span in spans)

    assert (line["result"], line["requests"]) == (seen, len(call.replies)), where
    assert len(counted) == line["requests"], (where, scopes)
    # A retried attempt has a span of ours, whoever owns the call; else we stand back where another has a span, be it
    # one that does not say what it is before we add to it.
    attempts = call.retries
    answered = line["requests"] - attempts
    assert len(spans) - len(ours) >= others, (where, "a span of another instrumentation is lost", scopes)
    is_lost = any(rival in switches and line["call"] == lost for rival, lost in LOST) and len(ours) == len(counted)
    if not is_lost:
        assert len(ours) == attempts + (0 if others or len(spans) > len(ours) else answered), (where, scopes)
        _check_duplicates([span for span in spans if span not in early], counted, where)
    if seen != call.seen:
        return  # the application could not read its response
    if call.retries:
        (failed,) = (span for span in counted if span["attributes"]["tokentrail.pricing.status"] == "failed")
        assert (failed["scope"], failed["attributes"]["http.response.status_code"]) == (OURS, 429), where
        counted.remove(failed)
    exits = {"closed", "abandoned"} if UNCLOSED[0] in switches and UNCLOSED[1] == where else {"closed"}
    for span in counted:
        _check_counted(call, span, where, exits)
    assert len({span["attributes"]["tokentrail.response.request_id"] for span in counted if call.usage}) <= 1


def _is_early(name: str, span: Span, switches: Sequence[str]) -> bool:
    call, scope, other = EARLY
    tokens = (span["attributes"].get("gen_ai.usage.input_tokens"), span["attributes"].get("gen_ai.usage.output_tokens"))
    return (name, span["scope"]) == (call, scope) and other in switches and tokens == (0, 0)


def _check_duplicates(spans: Sequence[Span], counted: Sequence[Span], where: str) -> None:
    identities = {f"{span['trace_id']}-{span['span_id']}" for span in counted}
    for span in spans:
        if span not in counted:
            assert span["attributes"]["tokentrail.duplicate_of"] in identities, where


def _check_counted(call: Call, span: Span, where: str, exits: Collection[str]) -> None:
    found = span["attributes"]
    status = found.get("tokentrail.pricing.status")
    asked = found["gen_ai.request.model"] if "gen_ai.request.model" in found else found["llm.model_name"]
    assert found["user.id"] == "u-1", where
    if call.seen.endswith("Error"):
        assert (status, span["status"]) == ("failed", "ERROR"), where
        assert found["http.response.status_code"] in (404, 429), where
        return
    if call.usage is None and "at_once" not in where:  # closed before its usage came
        assert status == "no_usage", where
        assert found["tokentrail.stream.exit"] in exits, where
        return
    usage = (found.get("gen_ai.usage.input_tokens"), found.get("gen_ai.usage.output_tokens"))
    if call.usage:
        expected, request_id = call.usage, "req_1"
        assert usage[0] == expected[0], where
        assert (usage[1] or None) == expected[1] or (span["scope"], where.split()[0]) in MISCOUNTS, where
    else:
        number = int(found["gen_ai.response.id"].rpartition("-")[2].rpartition("_")[2])
        expected, request_id = (100 + number, usage[1]), f"req_{number}"
        assert usage[0] == expected[0], where
    price = PRICES[next(name for name in PRICES if asked.startswith(name))]
    cost = (expected[0] * price[0] + (expected[1] or 0) * price[1]) / 1e6
    assert (status, found["tokentrail.response.request_id"]) == ("priced", request_id), where
    assert found["gen_ai.usage.cost"] == pytest.approx(cost), where
    if "stream" in where or "helper" in where:
        assert found["tokentrail.stream.exit"] == "complete", where
        assert found["tokentrail.response.time_to_first_token"] > 0, where


def check_all(switches: Sequence[str], sdk: Sdk) -> None:
    """Run a combination and the same without us, and compare every call of it."""
    alone = _without_us(tuple(name for name in switches if name != "tokentrail"), sdk)
    lines = list(_spans(switches, sdk))

    assert len(lines) == len(alone) >= 14
    for line in lines:
        name, without = line["call"], alone[line["call"], line["mode"]]
        clash = any(name == call and clashing <= set(switches) for call, clashing in CLASHES)
        assert without.result == CALLS[name].seen or clash, (name, without)
        check(line, without.spans, without.result, switches)


def _orders(*names: str) -> Iterator[tuple[str, ...]]:
    """Tokentrail first and last, the others in both orders."""
    yield ("tokentrail", *names)
    yield (*reversed(names), "tokentrail")


def _alone() -> Iterator[Any]:
    """Each with every SDK that it works with."""
    for family, newest in ((OPENAI, OPENAI_3), (ANTHROPIC, ANTHROPIC_2)):
        for name in family:
            older = {"openai": OPENAI_2, "anthropic": ANTHROPIC_0}[newest.name]
            works = name in _INSTALLED and (older in rivals.rival(name).sdks or name == "openlit")
            for sdk in (newest, older) if works else (newest,):
                for order in _orders(name):
                    yield pytest.param(order, sdk, id=f"{'+'.join(order)}-{sdk.label}")


def _quick() -> Iterator[Any]:
    """Each with the newest SDK, and two pairs."""
    for family, sdk in ((OPENAI, OPENAI_3), (ANTHROPIC, ANTHROPIC_2)):
        pair = {
            "openai": ("openllmetry-openai", "genai-openai"),
            "anthropic": ("openinference-anthropic", ANTHROPIC[0]),
        }
        for names in (*((name,) for name in family), pair[sdk.name]):
            yield pytest.param((*names, "tokentrail"), sdk, id=f"{'+'.join(names)}-{sdk.name}")


def _together() -> Iterator[Any]:
    for family, sdk in ((OPENAI, OPENAI_3), (ANTHROPIC, ANTHROPIC_2)):
        for pair in itertools.combinations(family, 2):
            if frozenset(pair) not in EXCLUSIVE:
                for order in _orders(*pair):
                    yield pytest.param(order, sdk, id="+".join(order))
        everyone = [name for name in family if name != "openai-v2"]
        for order in _orders(*everyone):
            yield pytest.param(order, sdk, id=f"everyone-{sdk.name}-{'first' if order[0] == 'tokentrail' else 'last'}")


@pytest.mark.parametrize(("switches", "sdk"), tuple(_quick()))
def test_a_call_that_others_see_too_is_counted_once(switches: tuple[str, ...], sdk: Sdk) -> None:
    lines = list(_spans(switches, sdk))

    assert len(lines) >= 14
    for line in lines:  # what the others have by themselves is compared in the whole matrix, which is slow
        check(line, 0, CALLS[line["call"]].seen, switches)


@pytest.mark.slow
@pytest.mark.parametrize(("switches", "sdk"), tuple(_alone()))
def test_a_call_beside_another_instrumentation_has_one_span_and_it_is_priced(
    switches: tuple[str, ...], sdk: Sdk
) -> None:
    check_all(switches, sdk)


@pytest.mark.slow
@pytest.mark.parametrize(("switches", "sdk"), tuple(_together()))
def test_where_others_double_a_call_it_is_not_tripled_and_their_duplicates_are_marked(
    switches: tuple[str, ...], sdk: Sdk
) -> None:
    check_all(switches, sdk)
