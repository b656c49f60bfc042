"""Requests that are forms, and answers that are files: recognised, recorded, and the files left to the application."""

import io
import json
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import httpx
import openai
import pytest
import requests

from support.http_shells import Shell, run
from support.span_log import Spans, attributes, output_text
from support.sse_server import Reply, SseServer, json_reply, sse_reply
from tokentrail.instrumentation.framing.multipart import read_fields

pytestmark = pytest.mark.usefixtures("quiet")

SOUND: Final = bytes(range(256)) * 2_000
ANSWER: Final = {
    "text": "Hello there",
    "usage": {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
        "output_tokens": 3,
        "total_tokens": 17,
    },
}
FIELDS: Final = {"model": "gpt-4o-transcribe", "temperature": "0.2", "response_format": "json"}


class OnlyOnce(io.RawIOBase):
    """A file that cannot be read twice, and tells when it was read."""

    name = "a.mp3"

    def __init__(self) -> None:
        self.reads = 0
        self._rest = io.BytesIO(SOUND)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        return self._rest.read(size)


def test_a_form_is_recorded_and_its_file_is_read_once_as_it_is_sent(
    shell: Shell, spans: Spans, server: SseServer
) -> None:
    server.script(json_reply(ANSWER))
    sound = OnlyOnce()

    async def scenario() -> Any:
        async with shell.client() as client:
            files = {"file": ("a.mp3", sound, "audio/mpeg")}
            return await shell.post(client, f"{server.url}/v1/audio/transcriptions", data=FIELDS, files=files)

    response = run(scenario())

    found = attributes(spans.one())
    assert response.json() == ANSWER
    assert SOUND in server.requests[0].body
    assert read_fields(server.requests[0].body) == FIELDS
    assert sound.reads == len(SOUND) // (64 * 1024) + 2  # httpx: pieces of 64 KiB, and the end
    assert spans.one().name == "generate_content gpt-4o-transcribe"
    assert found["gen_ai.request.model"] == "gpt-4o-transcribe"
    assert found["gen_ai.request.temperature"] == 0.2
    assert found["gen_ai.output.type"] == "text"
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (14, 3)
    assert found["gen_ai.usage.audio.input_tokens"] == 10
    assert "tokentrail.body.status" not in found
    assert output_text(spans.one()) == "Hello there"


def test_a_form_of_requests_is_recorded(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(ANSWER))

    requests.post(f"{server.url}/v1/audio/translations", data=FIELDS, files={"file": ("a.mp3", SOUND)}, timeout=5)

    assert attributes(spans.one())["gen_ai.request.model"] == "gpt-4o-transcribe"


def test_a_form_of_aiohttp_is_recorded_and_sent_as_it_is(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(ANSWER))
    form = aiohttp.FormData(FIELDS)
    form.add_field("file", io.BytesIO(SOUND), filename="a.mp3", content_type="audio/mpeg")

    async def scenario() -> Any:
        url = f"{server.url}/v1/audio/transcriptions"
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as response:
            return await response.json()

    answer = run(scenario())

    assert answer == ANSWER
    assert SOUND in server.requests[0].body
    assert read_fields(server.requests[0].body) == FIELDS
    assert attributes(spans.one())["gen_ai.request.model"] == "gpt-4o-transcribe"
    assert output_text(spans.one()) == "Hello there"


def test_a_form_whose_fields_were_given_as_files_without_a_name_is_recorded(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(ANSWER))
    files: Any = {**{name: (None, value) for name, value in FIELDS.items()}, "file": ("a.mp3", SOUND)}

    httpx.post(f"{server.url}/v1/audio/transcriptions", files=files)

    assert attributes(spans.one())["gen_ai.request.model"] == "gpt-4o-transcribe"


def test_a_form_larger_than_any_body_that_is_read_is_recorded(
    instrument: Callable[..., Spans], server: SseServer
) -> None:
    spans = instrument(max_body_bytes=50_000)
    server.script(json_reply(ANSWER))

    requests.post(f"{server.url}/v1/audio/transcriptions", data=FIELDS, files={"file": ("a.mp3", SOUND)}, timeout=5)

    assert attributes(spans.one())["gen_ai.request.model"] == "gpt-4o-transcribe"


def test_a_form_to_another_endpoint_is_none_of_ours(spans: Spans, server: SseServer) -> None:
    server.script(json_reply({}))

    httpx.post(f"{server.url}/upload", data=FIELDS, files={"file": ("a.mp3", SOUND)})
    httpx.post(f"{server.url}/v1/audio/transcriptions", data={"x": "1"}, files={"file": ("a.mp3", SOUND)})

    assert spans.calls() == []


def _client(server: SseServer) -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0)


def test_the_sdk_transcribes(spans: Spans, server: SseServer) -> None:
    server.script(json_reply(ANSWER))

    with _client(server) as client:
        heard = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.mp3", SOUND), temperature=0.5)

    found = attributes(spans.one())
    assert heard.text == "Hello there"
    assert (found["gen_ai.request.model"], found["gen_ai.request.temperature"]) == ("gpt-4o-transcribe", 0.5)


def test_the_sdk_transcribes_to_subtitles(spans: Spans, server: SseServer) -> None:
    server.script(Reply((b"1\n00:00:00,000 --> 00:00:01,000\nHi\n",), 200, {"content-type": "text/plain"}))

    with _client(server) as client:
        heard = client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", SOUND), response_format="srt")

    found = attributes(spans.one())
    assert str(heard).endswith("Hi\n")
    assert output_text(spans.one()).endswith("Hi\n")
    assert "tokentrail.body.status" not in found
    assert found["tokentrail.usage.status"] == "missing"


def test_the_sdk_transcribes_in_a_stream(spans: Spans, server: SseServer) -> None:
    done: dict[str, object] = {"type": "transcript.text.done", "text": "Hello there", "usage": ANSWER["usage"]}
    events = [{"type": "transcript.text.delta", "delta": "Hello there"}, done]
    server.script(sse_reply(*[f"data: {json.dumps(event)}\n\n".encode() for event in events]))

    with _client(server) as client:
        stream = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.mp3", SOUND), stream=True)
        kinds = [event.type for event in stream]

    found = attributes(spans.one())
    assert kinds == ["transcript.text.delta", "transcript.text.done"]
    assert found["gen_ai.request.stream"] is True
    assert found["tokentrail.stream.exit"] == "complete"
    assert found["gen_ai.usage.output_tokens"] == 3
    assert output_text(spans.one()) == "Hello there"


def test_the_sdk_speaks(spans: Spans, server: SseServer) -> None:
    server.script(Reply((SOUND, SOUND, b""), 200, {"content-type": "audio/mpeg"}))

    with _client(server) as client:
        spoken = client.audio.speech.create(model="tts-1", voice="alloy", input="Schön").content

    found = attributes(spans.one())
    assert spoken == SOUND * 2
    assert found["gen_ai.output.type"] == "speech"
    assert found["tokentrail.usage.input_characters"] == 5
    assert "tokentrail.body.status" not in found
    assert "gen_ai.request.stream" not in found
    part = json.loads(found["gen_ai.output.messages"])[0]["parts"][0]
    assert (part["modality"], part["bytes"]) == ("audio", len(SOUND) * 2)


def test_the_sdk_edits_an_image(spans: Spans, server: SseServer) -> None:
    usage = {"input_tokens": 30, "output_tokens": 40, "total_tokens": 70, "input_tokens_details": {"image_tokens": 20}}
    server.script(json_reply({"created": 1, "data": [{"b64_json": "AAAA"}], "usage": usage}))

    with _client(server) as client:
        client.images.edit(model="gpt-image-1-mini", prompt="7", n=2, image=[("a.png", SOUND), ("b.png", SOUND)])

    found = attributes(spans.one())
    assert found["gen_ai.request.model"] == "gpt-image-1-mini"
    assert found["gen_ai.request.choice.count"] == 2
    assert found["gen_ai.usage.image.output_tokens"] == 40
    assert found["tokentrail.usage.image.count"] == 1
    assert json.loads(found["gen_ai.input.messages"])[0]["parts"] == [{"type": "text", "content": "7"}]


def test_the_sdk_moderates_free_of_charge(spans: Spans, server: SseServer) -> None:
    server.script(json_reply({"id": "modr-1", "model": "omni-moderation-2024-09-26", "results": [{"flagged": False}]}))

    with _client(server) as client:
        client.moderations.create(model="omni-moderation-latest", input="x")

    found = attributes(spans.one())
    assert found["gen_ai.operation.name"] == "moderation"
    assert found["tokentrail.usage.moderated_inputs"] == 1
    assert found["tokentrail.pricing.status"] == "no_usage"
    assert "tokentrail.usage.status" not in found
    assert "gen_ai.usage.cost" not in found
