import logging
import re
from pathlib import Path

import pytest

from tokentrail.instrumentation import config
from tokentrail.instrumentation.config import Capture, Config

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    assert config.read({}) == Config(
        capture=Capture.NO_CONTENT,
        strip_headers=True,
        baggage=False,
        max_body_bytes=16_777_216,
        max_part_bytes=32_768,
        max_content_bytes=262_144,
        defer=True,
    )


@pytest.mark.parametrize(
    ("value", "capture", "on_span", "on_event"),
    [
        ("NO_CONTENT", Capture.NO_CONTENT, False, False),
        ("SPAN_ONLY", Capture.SPAN_ONLY, True, False),
        ("EVENT_ONLY", Capture.EVENT_ONLY, False, True),
        ("SPAN_AND_EVENT", Capture.SPAN_AND_EVENT, True, True),
        (" span_Only ", Capture.SPAN_ONLY, True, False),
        ("true", Capture.SPAN_ONLY, True, False),
        ("False", Capture.NO_CONTENT, False, False),
        ("", Capture.NO_CONTENT, False, False),
    ],
)
def test_content_goes_where_the_setting_says(value: str, capture: Capture, on_span: bool, on_event: bool) -> None:
    read = config.read({CAPTURE: value}).capture

    assert read is capture
    assert (read.on_span, read.on_event) == (on_span, on_event)


@pytest.mark.parametrize("value", ["yes", "span", "SPAN ONLY", "1", "NO-CONTENT", "\u0660"])
def test_a_capture_mode_that_makes_no_sense_is_reported_and_nothing_captured(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert config.read({CAPTURE: value}).capture is Capture.NO_CONTENT
    assert CAPTURE in caplog.text
    assert "SPAN_AND_EVENT" in caplog.text


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("TOKENTRAIL_STRIP_HEADERS", "strip_headers"),
        ("TOKENTRAIL_BAGGAGE", "baggage"),
        ("TOKENTRAIL_DEFER", "defer"),
    ],
)
def test_a_switch_takes_the_usual_words_and_reports_others(
    variable: str, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    default = getattr(Config(), field)

    for word in ("true", "TRUE", " 1 ", "yes", "On"):
        assert getattr(config.read({variable: word}), field) is True
    for word in ("false", "False", "0", " no", "OFF"):
        assert getattr(config.read({variable: word}), field) is False
    assert getattr(config.read({variable: " "}), field) is default
    assert caplog.records == []

    assert getattr(config.read({variable: "maybe"}), field) is default
    assert variable in caplog.text
    assert "maybe" in caplog.text


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("TOKENTRAIL_MAX_CALL_BODY_BYTES", "max_body_bytes"),
        ("TOKENTRAIL_MAX_PART_BYTES", "max_part_bytes"),
        ("TOKENTRAIL_MAX_CONTENT_BYTES", "max_content_bytes"),
    ],
)
def test_a_size_is_a_positive_number_of_bytes(variable: str, field: str, caplog: pytest.LogCaptureFixture) -> None:
    default = getattr(Config(), field)

    assert getattr(config.read({variable: " 1234 "}), field) == 1234
    assert getattr(config.read({variable: ""}), field) == default
    assert caplog.records == []

    for number, word in enumerate(["0", "-5", "1e6", "16MiB", "1.5", "²", "9" * 5_000], 1):
        assert getattr(config.read({variable: word}), field) == default
        assert len(caplog.records) == number
        assert caplog.records[-1].levelno == logging.WARNING
        assert variable in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("environ", "max_content_bytes"),
    [
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4096"}, 4096),
        ({"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": " 4096 "}, 4096),
        ({"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5000", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4096"}, 5000),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4096", "TOKENTRAIL_MAX_CONTENT_BYTES": "1000"}, 1000),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "999999999"}, 262_144),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": ""}, 262_144),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "none"}, 262_144),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "9" * 5_000}, 262_144),
    ],
)
def test_content_stays_below_the_sdk_s_own_limit(environ: dict[str, str], max_content_bytes: int) -> None:
    assert config.read(environ).max_content_bytes == max_content_bytes


def test_every_setting_is_documented_with_its_default() -> None:
    source = Path(config.__file__).read_text(encoding="utf-8")
    constants = re.findall(r'^([A-Z_]+): Final = "(?:TOKENTRAIL|OTEL)_\w+"\n"""(.+)', source, re.MULTILINE)

    assert len(constants) == len(Config.__slots__)
    assert all("efault" in documentation for _, documentation in constants)
