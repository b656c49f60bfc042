"""Invents answers: the same prompt, seed and number of the attempt give the same words, counts and pace.

The token rule, for input and output alike: a token is up to six characters of a word together with the white space
before it. Every message costs four tokens more, as chat templates do, and a tool call eight.

The cache rule: instructions of `CACHE_MIN_TOKENS` or more are cached from their second use on, in steps of 16
tokens; real vendors start at 1024 tokens or more, too long for an example.
"""

import json
import random
import re
from collections import OrderedDict
from collections.abc import Mapping
from itertools import cycle

from tokentrail.backend.demo.provider._base import Choice, Prompt, Tool
from tokentrail.backend.demo.provider.ledger import Told

CACHE_MIN_TOKENS = 64
"""Shortest instructions that are cached, tokens."""
CACHE_STEP_TOKENS = 16
MAX_CACHED_PREFIXES = 1000
MESSAGE_TOKENS = 4
TOOL_CALL_TOKENS = 8
DEFAULT_LENGTH = (18, 55)
"""Tokens of an answer, from and to, where the request sets no lower limit."""
_REASONING_LENGTH: Mapping[str, tuple[int, int]] = {"low": (16, 40), "medium": (40, 96), "high": (96, 220)}

_PIECE = re.compile(r"\s*\S{1,6}|\s+")

_SENTENCES = (
    "The customer asks for a refund of the second parcel.",
    "Delivery was promised for Tuesday and the tracking page stopped on Monday.",
    "Two earlier tickets describe the same fault, so a known defect is likely.",
    "Offer a replacement first and keep the refund as the second choice.",
    "The invoice and the order differ by one line, a gift wrap.",
    "Start with the cheapest experiment and measure before changing anything else.",
    "Three sources agree on the cause; the fourth describes an older version.",
    "Latency rose after the cache was halved, not after the release.",
    "A short list of steps helps more here than a long explanation.",
    "Ask for the serial number, then check the warranty date.",
    "The summary leaves out the price because the page does not state it.",
    "Most of the cost comes from one feature with very long prompts.",
    "The tone is polite but impatient, and an answer today would help.",
    "Next, compare both plans by the time they need and by the risk they carry.",
    "Nothing in the log points at the network.",
    "If the second attempt fails as well, hand the case to a person.",
)

_THOUGHTS = (
    "First I look at what is really being asked.",
    "There are two readings, and the simpler one fits the context.",
    "Checking the numbers once more before answering.",
    "The constraint on length matters, so I keep to the main point.",
    "One source is outdated, I leave it aside.",
)


def cut(text: str) -> list[str]:
    """`text` in tokens; joined they are the text again."""
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    """Number of tokens of `text`."""
    return len(cut(text))


class PromptCache:
    """Which instructions were seen before. Holds the latest `MAX_CACHED_PREFIXES` of them."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def look_up(self, prompt: Prompt) -> tuple[int, int]:
        """(tokens read from the cache, tokens written to it) for this prompt, which is remembered."""
        size = count_tokens(prompt.instructions) // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS
        if not prompt.cache or size < CACHE_MIN_TOKENS:
            return 0, 0
        key = (prompt.model, prompt.instructions)
        known = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        while len(self._seen) > MAX_CACHED_PREFIXES:
            self._seen.popitem(last=False)
        return (size, 0) if known else (0, size)


def compose(
    prompt: Prompt, rng: random.Random, cached: tuple[int, int]
) -> tuple[tuple[Choice, ...], tuple[str, ...], Told]:
    """The choices, the reasoning and the usage of an answer. `cached` is (read, written) input tokens."""
    reasoning = _think(prompt, rng)
    room = None if prompt.max_tokens is None else max(prompt.max_tokens - len(reasoning), 0)
    choices = tuple(_choose(prompt, rng, room) for _ in range(prompt.choices))
    written = sum(len(choice.pieces) + (TOOL_CALL_TOKENS if choice.tool else 0) for choice in choices)
    told = Told(
        input_tokens=count_input(prompt),
        output_tokens=max(written + len(reasoning), 1),
        cached_tokens=cached[0],
        cache_write_tokens=cached[1],
        reasoning_tokens=len(reasoning),
    )
    return choices, reasoning, told


def count_input(prompt: Prompt) -> int:
    """Input tokens of a prompt, cached ones included."""
    return sum(count_tokens(text) + MESSAGE_TOKENS for text in prompt.texts)


def _think(prompt: Prompt, rng: random.Random) -> tuple[str, ...]:
    if not prompt.effort:
        return ()
    length = rng.randint(*_REASONING_LENGTH[prompt.effort])
    if prompt.max_tokens is not None:
        length = min(length, prompt.max_tokens)
    return tuple(_speak(_THOUGHTS, rng, length))


def _choose(prompt: Prompt, rng: random.Random, room: int | None) -> Choice:
    if tool := _pick_tool(prompt):
        return Choice(tuple(cut(json.dumps(example(tool.schema, rng)))), "tool", tool.name)
    if prompt.schema is not None:
        pieces = cut(json.dumps(example(prompt.schema, rng)))
    else:
        # Whole sentences, as a model that ends by itself does.
        pieces = _speak(_SENTENCES, rng, rng.randint(*DEFAULT_LENGTH), whole=True)
    if room is not None and len(pieces) > room:
        return Choice(tuple(pieces[:room]), "length")
    return Choice(tuple(pieces), "stop")


def _pick_tool(prompt: Prompt) -> Tool | None:
    """The tool the request asks for: by choice, or because the question uses a word of its name."""
    if not prompt.tools or prompt.tool_choice == "none":
        return None
    for tool in prompt.tools:
        if tool.name == prompt.tool_choice:
            return tool
    if prompt.tool_choice == "required":
        return prompt.tools[0]
    words = {word.lower() for word in re.findall(r"\w{4,}", prompt.question)}
    return next((tool for tool in prompt.tools if words.intersection(tool.name.lower().split("_"))), None)


def _speak(sentences: tuple[str, ...], rng: random.Random, length: int, *, whole: bool = False) -> list[str]:
    pieces: list[str] = []
    order = cycle(rng.sample(sentences, len(sentences)))
    while len(pieces) < length:
        sentence = next(order)
        pieces += cut(f" {sentence}" if pieces else sentence)
    return pieces if whole else pieces[:length]


def example(schema: Mapping[str, object], rng: random.Random, depth: int = 0) -> object:
    """A value that a simple JSON schema allows; references and anything beyond eight levels become a word."""
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(variants := schema.get(key), list) and variants and isinstance(variants[0], Mapping):
            return example(variants[0], rng, depth + 1)
    if isinstance(values := schema.get("enum"), list) and values:
        return rng.choice(values)
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if depth > 8:
        return "deep"
    if kind == "object":
        properties = schema.get("properties")
        parts = properties if isinstance(properties, Mapping) else {}
        return {name: example(part, rng, depth + 1) for name, part in parts.items() if isinstance(part, Mapping)}
    if kind == "array":
        items = schema.get("items")
        return [example(items, rng, depth + 1)] if isinstance(items, Mapping) else []
    return _scalar(kind, rng)


def _scalar(kind: object, rng: random.Random) -> object:
    if kind == "integer":
        return rng.randint(1, 99)
    if kind == "number":
        return round(rng.uniform(1, 99), 2)
    if kind == "boolean":
        return rng.random() < 0.5
    return None if kind == "null" else rng.choice(("order-1042", "Lisbon", "parcel", "Tuesday", "battery", "invoice"))
