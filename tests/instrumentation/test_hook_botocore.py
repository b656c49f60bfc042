"""Bedrock with the real boto3, which signs its requests and sends them through urllib3; see `botocore_worker`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from support.sdk_versions import BOTO3, InstallError, python_path

TESTS: Final = Path(__file__).parents[1]
ERROR_TYPE: Final = "error.type"
INPUT: Final = "gen_ai.usage.input_tokens"
OUTPUT: Final = "gen_ai.usage.output_tokens"
EXIT: Final = "tokentrail.stream.exit"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What the worker printed."""
    try:
        path = [*python_path(BOTO3), str(TESTS)]
    except InstallError as error:
        pytest.skip(f"boto3 is not there and cannot be installed: {error}")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "OTEL_", "TOKENTRAIL_"))},
        "PYTHONPATH": os.pathsep.join(path),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    worker = TESTS / "support" / "botocore_worker.py"
    done = subprocess.run(
        [sys.executable, str(worker)], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def _calls(results: dict[str, Any], scenario: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = results[scenario]["spans"]
    return found


def _one(results: dict[str, Any], scenario: str) -> dict[str, Any]:
    calls = _calls(results, scenario)
    assert len(calls) == 1, [call["name"] for call in calls]
    return calls[0]


def _text(call: dict[str, Any]) -> str:
    messages = json.loads(call["attributes"]["gen_ai.output.messages"])
    text: str = messages[0]["parts"][0]["content"]
    return text


def test_the_application_gets_what_it_gets_without_us(results: dict[str, Any]) -> None:
    for name, result in results.items():
        assert result["seen"] == result["without"], name
        assert result["seen"], name


def test_an_answer_of_converse(results: dict[str, Any]) -> None:
    call = _one(results, "converse")

    found = call["attributes"]
    assert call["name"] == "chat amazon.nova-micro-v1:0"
    assert found["gen_ai.provider.name"] == "aws.bedrock"
    assert found["server.address"] == "bedrock-runtime.us-east-1.amazonaws.com"
    assert found["gen_ai.request.max_tokens"] == 10
    assert found["gen_ai.response.finish_reasons"] == ["stop"]
    assert (found[INPUT], found[OUTPUT]) == (7, 3)
    assert found["tokentrail.response.request_id"] == "request-1"
    # 7 and 3 tokens at 0.035 and 0.14 USD a million, Nova Micro's list price
    assert found["gen_ai.usage.cost"] == pytest.approx(7 * 0.035e-6 + 3 * 0.14e-6)
    assert _text(call) == "Hello"
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Hi"}]}
    ]


def test_a_model_named_by_an_arn(results: dict[str, Any]) -> None:
    call = _one(results, "converse_profile")

    profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    assert call["attributes"]["gen_ai.request.model"] == profile
    assert call["attributes"]["tokentrail.pricing.status"] == "unknown_model"


def test_a_stream_read_to_its_end(results: dict[str, Any]) -> None:
    call = _one(results, "converse_stream")

    found = call["attributes"]
    assert found[EXIT] == "complete"
    assert (found[INPUT], found[OUTPUT]) == (7, 3)
    assert _text(call) == "Hello"
    assert 0 < found["gen_ai.response.time_to_first_chunk"] <= found["tokentrail.response.time_to_first_token"]
    assert call["status"] == "UNSET"


@pytest.mark.parametrize(("scenario", "stream_exit"), [("stream_closed", "closed"), ("stream_dropped", "abandoned")])
def test_a_stream_left_in_the_middle(scenario: str, stream_exit: str, results: dict[str, Any]) -> None:
    call = _one(results, scenario)

    assert call["attributes"][EXIT] == stream_exit
    assert call["attributes"]["gen_ai.request.stream"] is True


def test_an_exception_that_the_service_sends_in_a_stream(results: dict[str, Any]) -> None:
    call = _one(results, "stream_exception")

    assert call["attributes"][ERROR_TYPE] == "ThrottlingException"
    assert call["attributes"][EXIT] == "broken"
    assert call["status"] == "ERROR"
    assert _text(call) == "Hel"


def test_a_connection_that_breaks_in_a_stream(results: dict[str, Any]) -> None:
    call = _one(results, "stream_reset")

    assert call["attributes"][ERROR_TYPE] == "urllib3.exceptions.ProtocolError"
    assert call["attributes"][EXIT] == "broken"
    assert _text(call) == "Hel"


@pytest.mark.parametrize("scenario", ["invoke", "invoke_stream"])
def test_claudes_own_bodies(scenario: str, results: dict[str, Any]) -> None:
    call = _one(results, scenario)

    found = call["attributes"]
    assert call["name"] == "chat us.anthropic.claude-3-5-sonnet-20240620-v1:0"
    assert found["gen_ai.response.model"] == "claude-3-5-sonnet-20240620"
    assert (found["gen_ai.response.id"], found[INPUT], found[OUTPUT]) == ("msg_bdrk_1", 25, 12)
    assert found.get(EXIT) == ("complete" if scenario == "invoke_stream" else None)
    assert _text(call) == "Hello"


def test_counts_that_only_the_headers_have(results: dict[str, Any]) -> None:
    call = _one(results, "invoke_counted_in_headers")

    assert call["name"] == "text_completion mistral.mistral-7b-instruct-v0:2"
    assert (call["attributes"][INPUT], call["attributes"][OUTPUT]) == (6, 10)
    assert _text(call) == "A man"


def test_embeddings(results: dict[str, Any]) -> None:
    call = _one(results, "invoke_embeddings")

    assert call["name"] == "embeddings amazon.titan-embed-text-v2:0"
    assert call["attributes"][INPUT] == 5
    assert call["attributes"]["gen_ai.embeddings.dimension.count"] == 256


def test_a_request_that_is_refused(results: dict[str, Any]) -> None:
    call = _one(results, "refused")

    assert call["attributes"][ERROR_TYPE] == "ValidationException"
    assert call["attributes"]["http.response.status_code"] == 400
    assert call["status"] == "ERROR"


def test_each_attempt_is_a_span(results: dict[str, Any]) -> None:
    attempts = [call["attributes"] for call in _calls(results, "retried")]

    assert [each["http.response.status_code"] for each in attempts] == [429, 503, 200]
    assert [each.get(ERROR_TYPE) for each in attempts] == ["ThrottlingException", "ServiceUnavailableException", None]
    assert [each.get(OUTPUT) for each in attempts] == [None, None, 3]


def test_a_signed_request_is_sent_as_it_was_signed(results: dict[str, Any]) -> None:
    call = _one(results, "tagged")

    (request,) = results["tagged"]["requests"]
    assert "helicone-user-id" in request["signed"]
    assert request["user"] == "ann"
    assert call["attributes"]["user.id"] == "ann"


def test_counting_tokens_and_applying_a_guardrail_are_no_model_calls(results: dict[str, Any]) -> None:
    assert len(results["no_model_calls"]["requests"]) == 2
    assert _calls(results, "no_model_calls") == []
