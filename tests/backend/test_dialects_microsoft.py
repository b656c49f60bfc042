"""Spans of Microsoft's frameworks, rule by rule: addresses, reasons and errors that are not as the conventions'."""

from typing import Any

import pytest

from support.spans import a_span
from tokentrail.backend import dialects
from tokentrail.backend.dialects import Dialect
from tokentrail.backend.dialects.microsoft import Microsoft
from tokentrail.backend.row import Row
from tokentrail.backend.span import Attributes, Event


def read(dialect: Dialect, attributes: Attributes, **fields: Any) -> Row:
    row = dialect.read(a_span(attributes, **fields))
    assert row is not None
    return row


def microsoft(attributes: Attributes, **fields: Any) -> Row:
    return read(Microsoft(), {"gen_ai.operation.name": "chat", **attributes}, **fields)


@pytest.mark.parametrize(
    ("scope", "keys", "spoken"),
    [
        ("semantic_kernel.utils.telemetry.model_diagnostics.decorators", [], True),
        ("agent_framework", [], True),
        ("Microsoft.SemanticKernel.Diagnostics", [], True),
        ("Experimental.Microsoft.Extensions.AI", [], True),
        ("Experimental.Microsoft.Agents.AI", [], True),
        ("azure.core.tracing.ext.opentelemetry_span", [], True),
        ("x", ["az.namespace"], True),
        ("x", ["gen_ai.thread.id"], True),
        ("Microsoft.AspNetCore", [], False),
        ("x", ["gen_ai.system"], False),
    ],
)
def test_microsoft_s_tracers_are_known(scope: str, keys: list[str], spoken: bool) -> None:
    assert Microsoft().matches(keys, scope) is spoken


def test_a_span_of_azure_s_clients_that_is_no_model_call_says_nothing() -> None:
    assert Microsoft().read(a_span({"http.request.method": "POST", "az.namespace": "x"})) is None


@pytest.mark.parametrize(
    ("address", "host", "provider"),
    [
        ("https://api.groq.com/openai/v1/", "api.groq.com", "groq"),
        ("api.groq.com", "api.groq.com", "groq"),
        ("http://llm.internal:8080/v1", "llm.internal", "openai"),
        ("https://x.openai.azure.com/openai/", "x.openai.azure.com", "azure.ai.openai"),
        ("http://[::1", "", "openai"),
        ("", "", "openai"),
    ],
)
def test_an_address_may_be_a_url(address: str, host: str, provider: str) -> None:
    row = microsoft({"gen_ai.system": "openai", "server.address": address})

    assert (row.server_address, row.provider) == (host, provider)


@pytest.mark.parametrize(
    ("attributes", "reasons"),
    [
        ({"gen_ai.response.finish_reason": "FinishReason.TOOL_CALLS"}, ("tool_call",)),
        ({"gen_ai.response.finish_reasons": '["stop", "length"]'}, ("stop", "length")),
        ({"gen_ai.response.finish_reasons": ("stop",), "gen_ai.response.finish_reason": "error"}, ("stop",)),
        ({}, ()),
    ],
)
def test_finish_reasons_are_told_in_several_ways(attributes: Attributes, reasons: tuple[str, ...]) -> None:
    assert microsoft(attributes).finish_reasons == reasons


@pytest.mark.parametrize(
    "choice",
    [
        {"gen_ai.event.content": '{"finish_reason": "length", "message": {}}'},
        {"finish_reason": "length", "index": 0},
    ],
)
def test_choices_tell_the_finish_reason_where_attributes_do_not(choice: Attributes) -> None:
    assert microsoft({}, events=(Event(1, "gen_ai.choice", choice),)).finish_reasons == ("length",)


def test_an_error_is_the_name_of_its_class() -> None:
    row = microsoft({"error.type": "<class 'a.b.ServiceException'>"}, status_code=2, status_message="no")

    assert (row.error_type, row.error_message) == ("a.b.ServiceException", "no")


def test_the_thread_of_an_agent_is_its_session() -> None:
    assert microsoft({"gen_ai.thread.id": "t1"}).session_id == "t1"


@pytest.mark.parametrize(
    ("told", "operation", "reasons"),
    [
        ("chat.completions", "chat", ("stop", "tool_call")),
        ("text.completions", "text_completion", ("stop", "tool_call")),
    ],
)
def test_a_call_of_semantic_kernel_for_net_is_a_call(told: str, operation: str, reasons: tuple[str, ...]) -> None:
    attributes: Attributes = {
        "gen_ai.operation.name": told,
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.finish_reason": "[Stop, ToolCalls]",
        "gen_ai.response.prompt_tokens": 12,
        "gen_ai.response.completion_tokens": 3,
        "gen_ai.response.id": "chatcmpl-1",
        "server.address": "https://shop.openai.azure.com/openai/deployments/gpt",
        "server.port": 443,
    }

    row = dialects.read(a_span(attributes, scope_name="Microsoft.SemanticKernel.Diagnostics"))

    assert row is not None
    assert (row.kind, row.operation, row.provider) == ("llm", operation, "azure.ai.openai")
    assert (row.input_tokens, row.output_tokens, row.finish_reasons) == (12, 3, reasons)
    assert row.server_address == "shop.openai.azure.com"


def test_counts_of_microsoft_extensions_ai_are_read_under_their_former_names() -> None:
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o-audio-preview",
        "gen_ai.response.input_tokens": 12,
        "gen_ai.response.output_tokens": 3,
        "gen_ai.usage.input_audio_tokens": 10,
        "gen_ai.usage.output_audio_tokens": 2,
    }

    row = dialects.read(a_span(attributes, scope_name="Experimental.Microsoft.Extensions.AI"))

    assert row is not None
    assert (row.input_tokens, row.output_tokens) == (12, 3)
    assert (row.audio_input_tokens, row.audio_output_tokens) == (10, 2)
