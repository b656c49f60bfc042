"""The text fields of a form, whoever wrote it, and never its files."""

import asyncio
import io
import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import pytest
import requests
import urllib3
from aiohttp import FormData

from tokentrail.instrumentation.framing.multipart import MAX_FIELDS, MAX_FIELDS_BYTES, read_fields, read_form

FIELDS: Final = {"model": "whisper-1", "prompt": 'Grüße; name="x"\r\nand more', "temperature": "0.2", "empty": ""}
SOUND: Final = b"\x00\r\n--not the boundary\r\n\r\n" * 50
FILES: Final[Mapping[str, Any]] = {"file": ("a b;.mp3", SOUND, "audio/mpeg")}


def _httpx(fields: Mapping[str, str], files: Mapping[str, Any]) -> bytes:
    return httpx.Request("POST", "http://x", data=dict(fields), files=files).read()


def _requests(fields: Mapping[str, str], files: Mapping[str, Any]) -> bytes:
    body = requests.Request("POST", "http://x", data=dict(fields), files=files).prepare().body
    assert isinstance(body, bytes)
    return body


def _urllib3(fields: Mapping[str, str], files: Mapping[str, Any]) -> bytes:
    """Files first."""
    body, _ = urllib3.encode_multipart_formdata({**files, **fields})
    return body


async def _aiohttp(fields: Mapping[str, str], files: Mapping[str, Any]) -> bytes:
    form = FormData(default_to_multipart=True)
    for name, (file_name, content, media_type) in files.items():
        form.add_field(name, io.BytesIO(content), filename=file_name, content_type=media_type)
    for name, value in fields.items():
        form.add_field(name, value)
    written = bytearray()

    class Writer:
        async def write(self, chunk: bytes) -> None:
            written.extend(chunk)

    await form().write(Writer())  # type: ignore[arg-type]  # what a payload asks of a writer
    return bytes(written)


each_writer = pytest.mark.parametrize("write", [_httpx, _requests, _urllib3])


@each_writer
def test_the_texts_of_a_form_are_read_and_its_file_is_not(write: Callable[..., bytes]) -> None:
    assert read_fields(write(FIELDS, FILES)) == FIELDS


def test_the_texts_of_a_form_of_aiohttp_are_read() -> None:
    assert read_fields(asyncio.run(_aiohttp(FIELDS, FILES))) == FIELDS


@each_writer
def test_texts_at_both_ends_of_a_large_file_are_read(write: Callable[..., bytes]) -> None:
    large = {"file": ("a.wav", random.Random(1).randbytes(1_000_000), "audio/wav")}

    assert read_fields(write(FIELDS, large)) == FIELDS


def test_a_form_without_files_is_read() -> None:
    assert read_fields(_httpx({}, {name: (None, value) for name, value in FIELDS.items()})) == FIELDS


def test_the_first_field_of_a_name_counts() -> None:
    body = requests.Request("POST", "http://x", data=[("n", "1"), ("n", "2")], files={"f": b"x"}).prepare().body

    assert isinstance(body, bytes)
    assert read_fields(body) == {"n": "1"}


def test_names_are_read_as_they_may_be_written() -> None:
    body = (
        b"--b\r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION: form-data; NAME=model\r\n\r\nm\r\n"
        b'--b\r\nContent-Disposition: form-data; extra="a;b"; name="n\xc3\xbc"\r\n\r\n1\r\n--b--\r\n'
    )

    assert read_fields(body) == {"model": "m", "nü": "1"}


def test_a_field_that_is_too_long_is_left_out_and_the_next_ones_are_found_from_the_end() -> None:
    fields = {"first": "1", "long": "x" * (MAX_FIELDS_BYTES * 3), "last": "2"}

    assert read_fields(_requests(fields, {"f": ("n", b"y", "text/plain")})) == {"first": "1", "last": "2"}


def test_the_number_of_fields_is_bounded() -> None:
    found = read_fields(_requests({f"f{number}": "1" for number in range(MAX_FIELDS * 2)}, FILES))

    assert found is not None
    assert len(found) == MAX_FIELDS


def test_a_large_file_costs_no_time() -> None:
    body = _urllib3({"model": "m"}, {"file": ("a", b"\r\n--" * 10_000_000, "audio/wav")})

    start = time.thread_time()
    found = read_fields(body)
    spent_s = time.thread_time() - start

    assert found == {"model": "m"}
    assert spent_s < 0.05


@pytest.mark.parametrize("body", [b"", b"{}", b"--", b"--\r\n", b"-- no line", b"x" + b"--b\r\n"])
def test_what_is_no_form_is_left_alone(body: bytes) -> None:
    assert read_fields(body) is None
    assert read_form(body) is body


def test_a_form_becomes_an_object_of_texts() -> None:
    assert json.loads(read_form(_requests(FIELDS, FILES))) == FIELDS


def test_no_bytes_make_reading_raise() -> None:
    source = random.Random("forms")
    whole = _urllib3(FIELDS, FILES)

    for _ in range(3_000):
        body = bytearray(whole[: source.randrange(len(whole) + 1)])
        for _ in range(source.randrange(4)):
            if body:
                body[source.randrange(len(body))] = source.randrange(256)
        found = read_fields(bytes(body))

        assert found is None or all(SOUND.decode("utf-8", "replace") not in value for value in found.values())
