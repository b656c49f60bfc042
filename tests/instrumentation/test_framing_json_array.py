"""The elements of a JSON array, whatever the pieces it comes in."""

import json
import random
import string
from typing import Final

import pytest

from tokentrail.instrumentation.framing import json_array
from tokentrail.instrumentation.framing._base import Event
from tokentrail.instrumentation.framing.json_array import JsonArrayDecoder

ELEMENTS: Final[tuple[dict[str, object], ...]] = (
    {"a": 1},
    {},
    {"text": 'quote " backslash \\ both \\" brackets ]}[{, end \\\\'},
    {"deep": [[{"x": [{}]}], {"y": "]"}], "é": "🙂"},
    {"key ] with } brackets": None},
)


def _feed(pieces: list[bytes]) -> list[Event]:
    decoder = JsonArrayDecoder()
    return [*(event for piece in pieces for event in decoder.feed(piece)), *decoder.flush()]


def _parsed(events: list[Event]) -> list[object]:
    assert all(event.name == "" for event in events)
    return [json.loads(event.data) for event in events]


def _bodies() -> list[bytes]:
    """The elements as different writers write them; the third is the way of Google's servers."""
    return [
        json.dumps(ELEMENTS).encode(),
        json.dumps(ELEMENTS, ensure_ascii=False, separators=(",", ":")).encode(),
        ("[" + "\n,\r\n".join(json.dumps(element, indent=2) for element in ELEMENTS) + "\n]\n").encode(),
        b"\xef\xbb\xbf \r\n\t" + json.dumps(ELEMENTS, indent=1).encode() + b"   ",
    ]


@pytest.mark.parametrize("body", _bodies())
def test_a_whole_array_is_cut_into_its_elements(body: bytes) -> None:
    assert _parsed(_feed([body])) == list(ELEMENTS)


@pytest.mark.parametrize("body", _bodies())
def test_an_array_is_cut_into_the_same_elements_byte_by_byte(body: bytes) -> None:
    assert _parsed(_feed([body[at : at + 1] for at in range(len(body))])) == list(ELEMENTS)


@pytest.mark.parametrize("body", _bodies())
def test_an_array_is_cut_into_the_same_elements_wherever_it_is_cut(body: bytes) -> None:
    for position in range(len(body) + 1):
        assert _parsed(_feed([body[:position], body[position:]])) == list(ELEMENTS), position


def test_an_element_is_given_as_soon_as_it_is_complete() -> None:
    decoder = JsonArrayDecoder()

    assert decoder.feed(b'[{"a":') == []
    assert decoder.feed(b" 1}") == [Event("", b'{"a": 1}')]
    assert decoder.feed(b',{"b": "}') == []
    assert decoder.feed(b'"},{}]') == [Event("", b'{"b": "}"}'), Event("", b"{}")]


def test_an_element_that_is_no_object_is_left_out() -> None:
    assert _feed([b'[1, "}{", null, [{"a": 1}], {"b": 2}, true, "x]"]']) == [Event("", b'{"b": 2}')]


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"[ ]", b"]", b"}", b'"', b"\\", b"null"])
def test_an_array_without_elements_has_no_events(body: bytes) -> None:
    assert _feed([body]) == []


def test_an_element_that_was_cut_off_is_no_event() -> None:
    assert _feed([b'[{"a": 1},{"b": ']) == [Event("", b'{"a": 1}')]


def test_what_comes_after_the_array_is_not_read() -> None:
    assert _feed([b'[{"a": 1}]', b'[{"b": 2}]']) == [Event("", b'{"a": 1}')]
    assert _feed([b'[{"a": 1}] {"b": 2} [{"c": 3}]']) == [Event("", b'{"a": 1}')]


@pytest.mark.parametrize("pieces", [1, 7])
def test_an_element_that_is_too_long_is_dropped_and_the_next_is_read(
    monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(json_array, "MAX_EVENT_BYTES", 20)
    fits, too_long = b'{"a": "' + b"x" * 11 + b'"}', b'{"a": "' + b"x" * 12 + b'"}'
    body = b"[" + b",".join([fits, too_long, fits]) + b"]"
    assert len(fits) == 20

    step = len(body) // pieces
    found = _feed([body[at : at + step] for at in range(0, len(body), step)])

    assert found == [Event("", fits), Event("", fits)]


def test_a_long_string_may_come_in_many_pieces() -> None:
    decoder = JsonArrayDecoder()
    decoder.feed(b'[{"data": "')

    for _ in range(1_000):
        assert decoder.feed(b"}A]\\" + b"A" * 4_096) == []

    (event,) = decoder.feed(b'"}]')
    assert len(event.data) == 1_000 * 4_100 + len('{"data": ""}')


def test_no_bytes_make_the_decoder_raise_and_elements_are_never_invented() -> None:
    source = random.Random("json array")
    alphabet = '[]{}",:\\ \n1a' + string.ascii_lowercase[:2]

    for _ in range(3_000):
        body = "".join(source.choice(alphabet) for _ in range(source.randrange(40))).encode()
        cut = source.randrange(len(body) + 1)

        whole, pieces = _feed([body]), _feed([body[:cut], body[cut:]])

        assert whole == pieces, body
        assert all(event.data in body and event.data.startswith(b"{") for event in whole)


def test_random_arrays_are_cut_as_json_reads_them() -> None:
    source = random.Random("arrays")

    for _ in range(500):
        elements = [_random_object(source) for _ in range(source.randrange(5))]
        body = json.dumps(elements, ensure_ascii=source.random() < 0.5, indent=source.choice([None, 2])).encode()
        cuts = sorted(source.randrange(len(body) + 1) for _ in range(4))

        events = _feed([body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)])

        assert _parsed(events) == elements


def _random_object(source: random.Random, depth: int = 0) -> dict[str, object]:
    made: dict[str, object] = {}
    for _ in range(source.randrange(4)):
        key = "".join(source.choice('ab"\\{}[]é') for _ in range(3))
        made[key] = source.choice([1, None, key, [key], [[]], {}]) if depth > 2 else _random_object(source, depth + 1)
    return made
