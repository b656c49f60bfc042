"""Fields of a form, which are all text, as the values they stand for.

A format whose requests come as `multipart/form-data` gets them as a JSON object of texts; the very same requests may
come as JSON elsewhere. Which fields are numbers only the format knows: a prompt of `42` is a text.
"""

import re
from collections.abc import Container
from typing import Final

from tokentrail.instrumentation.wire._json import Json

_NUMBER: Final = re.compile(r"-?\d{1,18}(\.\d{1,18})?")
_WORDS: Final = {"true": True, "false": False}


def typed(body: Json, names: Container[str]) -> Json:
    """`body` with the fields among `names` that are texts of numbers or booleans as those; the others as they are."""
    return {name: _value(value) if name in names and isinstance(value, str) else value for name, value in body.items()}


def _value(written: str) -> object:
    if (word := _WORDS.get(written.strip().lower())) is not None:
        return word
    if _NUMBER.fullmatch(written.strip()):
        return float(written) if "." in written else int(written)
    return written
