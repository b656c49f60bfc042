"""What names a model and is a call of one, and the much that names a model and is none."""

import pytest

from support.recorded_spans import spans_of
from support.spans import a_span
from support.vendor_fixtures import fixtures
from tokentrail.backend.dialects.bare import Bare
from tokentrail.backend.receiver.decode import Encoding
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Kind

BARE = Bare()


def read(attributes: Attributes, kind: int = Kind.CLIENT) -> Row | None:
    span = a_span(attributes, kind=kind, name="work")
    return BARE.read(span) if BARE.matches(tuple(attributes), span.scope_name) else None


@pytest.mark.parametrize(
    "attributes",
    [
        {"model": "gpt-4o-mini", "input_tokens": 1200, "output_tokens": 80},
        {"model": "gpt-4o-mini", "prompt_tokens": "1200", "completion_tokens": "80"},
        {"model": "gpt-4o-mini", "input_token_count": "1200", "output_token_count": "80"},
        {"model_name": "gpt-4o-mini", "usage.prompt_tokens": 1200, "usage.completion_tokens": 80},
        {"llm.model": "gpt-4o-mini", "llm.usage.prompt_tokens": 1200.0, "llm.usage.completion_tokens": 80},
        {"model": "gpt-4o-mini", "input_tokens": 1200, "output_tokens": 80, "http.request.method": "POST"},
    ],
)
def test_a_model_with_its_tokens_is_a_call(attributes: Attributes) -> None:
    row = read(attributes)

    assert row is not None
    assert (row.kind, row.operation, row.provider, row.request_model) == ("llm", "chat", "openai", "gpt-4o-mini")
    assert (row.input_tokens, row.output_tokens) == (1200, 80)


def test_a_language_models_own_name_is_enough() -> None:
    row = read({"llm.model_name": "claude-sonnet-4-5"})

    assert row is not None
    assert (row.kind, row.provider, row.input_tokens) == ("llm", "anthropic", None)


@pytest.mark.parametrize(
    "attributes",
    [
        {"model": "gpt-4o-mini"},  # a look-up of its settings, a function's argument
        {"model": "gpt-4o-mini", "http.request.method": "GET", "url.path": "/v1/models/gpt-4o-mini"},
        {"model": "Corolla", "http.request.method": "POST", "http.response.status_code": 200},
        {"model": "User", "db.system": "postgresql", "db.statement": "SELECT 1"},
        {"model": "gpt-4o-mini", "db.system.name": "postgresql", "input_tokens": 12},  # a table of usage
        {"model": "gpt-4o-mini", "messaging.system": "kafka", "input_tokens": 12, "output_tokens": 3},
        {"model": "SM-G991B", "device.model.identifier": "SM-G991B"},
        {"model": "resnet50", "batch_size": 32, "tokens": 12},
        {"model": "gpt-4o-mini", "tokens_per_minute": 100},
        {"model": "", "input_tokens": 12, "output_tokens": 3},
        {"model": 3, "input_tokens": 12, "output_tokens": 3},
        {"model": ("a", "b"), "input_tokens": 12, "output_tokens": 3},
        {"model": "gpt-4o-mini", "input_tokens": "many", "output_tokens": ""},
        {"model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 12, "input_tokens": 12},  # who speaks the conventions
    ],
)
def test_a_model_without_more_is_no_call(attributes: Attributes) -> None:
    assert read(attributes) is None


def test_a_request_that_is_served_is_no_call_whatever_it_sums_up() -> None:
    assert read({"model": "gpt-4o-mini", "input_tokens": 12, "output_tokens": 3}, Kind.SERVER) is None


def test_codex_names_a_model_on_many_spans_and_none_of_them_alone_is_a_call() -> None:
    spans = [span for fixture in fixtures("codex") for span in spans_of(fixture, Encoding.JSON)]
    naming = [span for span in spans if "model" in span.attributes]

    assert len(naming) > 3
    assert [span.name for span in naming if read(span.attributes, span.kind) is not None] == []


def test_wrong_counts_are_kept_as_wrong_and_never_become_nothing() -> None:
    row = read({"model": "gpt-4o-mini", "input_tokens": -5, "output_tokens": 3})

    assert row is not None
    assert row.input_tokens == -1
