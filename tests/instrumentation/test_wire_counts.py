"""Counts that are none: a number that cannot be one makes the usage invalid, and never a smaller one."""

import json
from collections.abc import Iterator

import pytest
from opentelemetry.context import get_current

from support.span_log import Spans, attributes
from tokentrail.instrumentation.config import Config
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.record import Outcome, Recorder
from tokentrail.instrumentation.wire import WIRE_FORMATS
from tokentrail.instrumentation.wire._base import Response
from tokentrail.instrumentation.wire._json import count, first_count, total_count
from tokentrail.semconv.usage import NOT_A_COUNT, Usage

NO_COUNTS = [-1, -(2**70), 0.5, float("nan"), float("inf"), float("-inf"), 2**63, 1e300, "12", "", True, False, {}, []]


@pytest.mark.parametrize("value", NO_COUNTS, ids=repr)
def test_what_is_no_count_is_told_apart_from_what_is_not_there(value: object) -> None:
    assert count(value) == NOT_A_COUNT


@pytest.mark.parametrize(("value", "expected"), [(None, None), (0, 0), (7, 7), (7.0, 7), (2**63 - 1, 2**63 - 1)])
def test_a_count_is_a_whole_number_that_an_attribute_can_carry(value: object, expected: int | None) -> None:
    assert count(value) == expected


def test_the_first_name_that_is_there_decides() -> None:
    assert first_count(None, 3, -1) == 3
    assert first_count(None, -1, 3) == NOT_A_COUNT
    assert first_count(None, None) is None


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((), None),
        ((None, None), None),
        ((None, 0), 0),
        ((3, None, 4), 7),
        ((3, NOT_A_COUNT), NOT_A_COUNT),
        ((NOT_A_COUNT, 1), NOT_A_COUNT),
        ((None, NOT_A_COUNT), NOT_A_COUNT),
        ((2**62, 2**62), NOT_A_COUNT),
    ],
)
def test_a_sum_survives_a_part_that_is_none(counts: tuple[int | None, ...], expected: int | None) -> None:
    assert total_count(*counts) == expected


ANSWERS: dict[tuple[str, str], dict[str, object]] = {
    ("openai_chat", "prompt"): {"usage": {"prompt_tokens": -3, "completion_tokens": 7, "total_tokens": 4}},
    ("openai_chat", "reasoning"): {
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 7,
            "total_tokens": 9,
            "completion_tokens_details": {"reasoning_tokens": -1},
        }
    },
    ("openai_chat", "cache apart"): {
        "usage": {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 9, "cache_read_input_tokens": -1}
    },
    ("openai_chat", "llama.cpp"): {"timings": {"prompt_n": 3, "cache_n": -1, "predicted_n": 7}},
    ("openai_completions", "output"): {"usage": {"prompt_tokens": 3, "completion_tokens": 0.5}},
    ("openai_responses", "output"): {"usage": {"input_tokens": 3, "output_tokens": -7}},
    ("openai_embeddings", "input"): {"usage": {"prompt_tokens": 1.5}},
    ("openai_images", "output"): {"usage": {"input_tokens": 3, "output_tokens": -7}},
    ("openai_transcriptions", "audio"): {
        "usage": {"input_tokens": 3, "output_tokens": 7, "input_token_details": {"audio_tokens": "1"}}
    },
    ("anthropic_messages", "cache"): {"usage": {"input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": -1}},
    ("gemini_generate_content", "thoughts"): {
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 7, "thoughtsTokenCount": -1}
    },
    ("gemini_generate_content", "audio"): {
        "usageMetadata": {
            "promptTokenCount": 3,
            "candidatesTokenCount": 7,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": n} for n in (-1, 2)],
        }
    },
    ("gemini_embeddings", "input"): {"predictions": [{"embeddings": {"statistics": {"token_count": 0.5}}}]},
    ("gemini_interactions", "tools"): {
        "usage": {"total_input_tokens": 3, "total_output_tokens": 7, "total_tool_use_tokens": -1}
    },
    ("mistral_fim", "input"): {"usage": {"prompt_tokens": -3, "completion_tokens": 7}},
    ("mistral_conversations", "connectors"): {
        "usage": {"prompt_tokens": 3, "completion_tokens": 7, "connector_tokens": -1, "total_tokens": 9}
    },
    ("cohere_chat", "output"): {"usage": {"billed_units": {"input_tokens": 3, "output_tokens": -7}}},
    ("cohere_chat", "cached"): {
        "usage": {"billed_units": {"input_tokens": 3, "output_tokens": 7}, "cached_tokens": -1}
    },
    ("cohere_embed", "images"): {"meta": {"billed_units": {"input_tokens": 3, "image_tokens": -1}}},
    ("generic_rerank", "input"): {"usage": {"total_tokens": -3}},
    ("ollama_chat", "output"): {"done": True, "prompt_eval_count": 3, "eval_count": -7},
    ("bedrock_converse", "cache"): {
        "usage": {"inputTokens": 3, "outputTokens": 7, "cacheReadInputTokens": -1, "totalTokens": 9}
    },
}
"""Bodies with one count that is none, by format and by what is wrong."""


@pytest.mark.parametrize("key", ANSWERS, ids=" ".join)
def test_every_format_tells_a_usage_that_is_invalid(key: tuple[str, str]) -> None:
    (wire,) = [each for each in WIRE_FORMATS if each.name == key[0]]
    reader = wire.reader(keep_content=False)

    reader.feed_body(ANSWERS[key])

    assert reader.result().usage.problem() is not None


def test_the_end_of_a_stream_does_not_lose_a_count_that_is_none() -> None:
    (wire,) = [each for each in WIRE_FORMATS if each.name == "anthropic_messages"]
    reader = wire.reader(keep_content=False)
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}}
    ends = [{"type": "message_delta", "delta": {}, "usage": {"output_tokens": n}} for n in (-5, 7)]

    for item in (start, *ends):
        reader.feed_event(Event(str(item["type"]), json.dumps(item).encode()))

    assert reader.result().usage == Usage(input_tokens=3, output_tokens=NOT_A_COUNT)


@pytest.fixture
def spans() -> Iterator[Spans]:
    log = Spans()
    yield log
    log.shutdown()


def test_a_span_leaves_out_what_is_no_count_and_says_that_the_usage_is_invalid(spans: Spans) -> None:
    recorder = Recorder(Config(), "1", spans.provider)
    span = recorder.start("chat", {}, "gpt-4o", 1, get_current())
    usage = Usage(input_tokens=NOT_A_COUNT, output_tokens=7, cache_read_tokens=NOT_A_COUNT)

    recorder.finish(span, Outcome("openai", "api.openai.com", 1, 1, "gpt-4o", response=Response(usage=usage)))

    found = attributes(spans.one())
    assert {name for name in found if name.startswith("gen_ai.usage.")} == {"gen_ai.usage.output_tokens"}
    assert found["tokentrail.usage.status"] == "invalid"
    assert found["tokentrail.pricing.status"] == "invalid_usage"
