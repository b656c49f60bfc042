"""The line of a price file that gives a call its price, to be pasted once the amounts are filled in.

    { provider = "openai", model = "my-model", input = "", output = "" },  # USD per million tokens
    { server = "llm.internal", model = "llama-3", input = "", output = "" },  # USD per million tokens

An amount that is left empty is an error of the file: nothing costs 0 by oversight. The line is for exactly the names of
the call, wherever a provider is known not by its server's address but by itself.
"""

import re
from collections.abc import Sequence
from typing import Final

from tokentrail.semconv.pricing import names
from tokentrail.semconv.pricing.card import Rate
from tokentrail.semconv.pricing.resolve import MAX_NAME_CHARS

DEFAULT_RATES: Final[tuple[Rate, ...]] = ("input", "output")
UNIT: Final = "USD per million tokens"

_MAGIC: Final = re.compile(r"([*?[])")
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def price_line(
    provider: str, server_address: str, model: str, rates: Sequence[Rate] = DEFAULT_RATES, amount: str = ""
) -> str:
    """The line for calls of `model`, with `amount` for each of `rates`; empty where no line can be for them alone.

    A call that names no model can be told by its server only, and only where nobody else sets that server's prices.
    """
    patterns = _patterns(provider, server_address, model)
    if not patterns:
        return ""
    pairs = [f"{key} = {toml_string(text)}" for key, text in (*patterns, *((rate, amount) for rate in rates))]
    return f"{{ {', '.join(pairs)} }},  # {UNIT}"


def toml_string(text: str) -> str:
    """`text` as a string of TOML in quotes; everything unprintable is escaped."""
    return f'"{"".join(map(_escaped, text))}"'


def _patterns(provider: str, server_address: str, model: str) -> list[tuple[str, str]]:
    if len(provider) + len(server_address) + len(model) > MAX_NAME_CHARS:
        return []  # calls with such names have no price, whatever a file says
    provider = names.provider_of(provider, server_address)
    own_server = bool(server_address) and names.is_self_hosted(provider, server_address)
    key, text = ("server", server_address) if own_server else ("provider", provider)
    where = [(key, _glob(text))] if text else []
    if model.strip():
        return [*where, ("model", _glob(model.strip()))]
    return where if own_server else []


def _glob(text: str) -> str:
    """A pattern that matches `text` alone, in whatever case."""
    # A file's texts lose the white space around them: any character may stand there.
    core = text.strip()
    before, after = len(text) - len(text.lstrip()), len(text) - len(text.rstrip())
    return "?" * before + _MAGIC.sub(r"[\1]", core.lower()) + "?" * after


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code < 0xE000:  # half a pair, which TOML cannot hold, and no store either
        return "?"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
