"""Statements as the engine writes them, cut into words, and what is at their end: `FORMAT` and `SETTINGS`.

    SELECT a FROM t WHERE b = 'x' FORMAT JSON SETTINGS max_threads = 2, additional_table_filters = {'t':'c = 1'}

The engine's own form (`formatQuerySingleLine`) has no comments, one kind of string and one kind of quoted name, so that
little can be misread; and nothing is at stake where it is: what remains after the cut is what the engine parses, what
the gate looks at and what is run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from tokentrail.backend.clickhouse_http.errors import BAD_ARGUMENTS, SYNTAX_ERROR, RefusedError

Setting: TypeAlias = str | Mapping[str, str]
"""A value as text, or a map of texts."""

_TOKEN: Final = re.compile(
    r"""\s+ | (?P<string>'(?:[^'\\]|\\.|'')*') | (?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
    | (?P<number>-?\d[\w.]*(?:(?<=[eE])[+-]\d+)?) | (?P<word>[^\W\d]\w*) | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|.)|''", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "0": "\0", "a": "\a", "v": "\v"}
_OPENING: Final = "([{"
_CLOSING: Final = ")]}"


@dataclass(frozen=True, slots=True)
class Lexeme:
    """One word, string, number or sign."""

    kind: str
    """`string`, `quoted` (a name), `number`, `word` or `sign`."""
    text: str
    start: int
    depth: int
    """How many brackets it is in."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A statement without what was at its end."""

    statement: str
    format: str | None
    settings: Mapping[str, Setting]


def cut_end(statement: str) -> Cut:
    """`statement`, in the engine's own form, without `FORMAT` and `SETTINGS` at its end. Raises `RefusedError`."""
    format_name: str | None = None
    settings: dict[str, Setting] = {}
    for _ in range(3):  # settings of the last SELECT, format, settings of the whole
        lexemes = read(statement)
        at = _last(lexemes, ("FORMAT", "SETTINGS"))
        if at is None:
            break
        rest = lexemes[at + 1 :]
        if lexemes[at].text.upper() == "FORMAT":
            if len(rest) != 1 or rest[0].kind not in ("word", "quoted") or format_name is not None:
                break
            format_name = rest[0].text.strip("`")  # `Null`
        else:
            found = _settings(rest)
            if found is None:
                break
            settings = {**found, **settings}
        statement = statement[: lexemes[at].start].rstrip()
    return Cut(statement, format_name, settings)


def has_word(statement: str, word: str) -> bool:
    """Whether `word` is in it, outside of strings and quoted names."""
    return any(each.kind == "word" and each.text.upper() == word for each in read(statement))


def read(text: str) -> list[Lexeme]:
    """What `text` is made of."""
    lexemes = []
    depth = 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup is None:
            continue
        if match[0] in _CLOSING:
            depth -= 1
        lexemes.append(Lexeme(match.lastgroup, match[0], match.start(), depth))
        if match[0] in _OPENING:
            depth += 1
    return lexemes


def read_map(text: str) -> Mapping[str, str]:
    """A map of strings as ClickHouse writes it, `{'table':'condition'}`. Raises `RefusedError`."""
    lexemes = read(text.strip())
    value = _map(lexemes)
    if value is None:
        raise RefusedError("expected a map of strings, such as {'table': 'condition'}", BAD_ARGUMENTS)
    return value


def quote(text: str) -> str:
    """`text` as a string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def unquote(literal: str) -> str:
    """The text of a string literal."""
    return _ESCAPE.sub(_unescape, literal[1:-1])


def _unescape(match: re.Match[str]) -> str:
    escaped = match[1]
    if escaped is None:
        return "'"
    if len(escaped) == 3:
        return chr(int(escaped[1:], 16))
    return _ESCAPED.get(escaped, escaped if escaped in "\\'\"`/=" else "\\" + escaped)


def _last(lexemes: list[Lexeme], words: tuple[str, ...]) -> int | None:
    for at in range(len(lexemes) - 1, 0, -1):
        each = lexemes[at]
        if each.kind == "word" and each.depth == 0 and each.text.upper() in words:
            return at
    return None


def _settings(lexemes: list[Lexeme]) -> Mapping[str, Setting] | None:
    """`name = value, ...`; `None` for anything else."""
    settings: dict[str, Setting] = {}
    rest = lexemes
    while True:
        if len(rest) < 3 or rest[0].kind != "word" or rest[1].text != "=":
            return None
        name, rest = rest[0].text, rest[2:]
        end = next((at for at, each in enumerate(rest) if each.text == "," and each.depth == 0), len(rest))
        value = _value(rest[:end])
        if value is None:
            return None
        if name in settings:
            raise RefusedError(f"the setting {name} is there twice", SYNTAX_ERROR)
        settings[name] = value
        if end == len(rest):
            return settings
        rest = rest[end + 1 :]


def _value(lexemes: list[Lexeme]) -> Setting | None:
    if len(lexemes) == 1:
        (lexeme,) = lexemes
        if lexeme.kind == "string":
            return unquote(lexeme.text)
        return lexeme.text if lexeme.kind in ("number", "word") else None
    return _map(lexemes)


def _map(lexemes: list[Lexeme]) -> Mapping[str, str] | None:
    if len(lexemes) < 2 or lexemes[0].text != "{" or lexemes[-1].text != "}":
        return None
    inner = lexemes[1:-1]
    pairs: dict[str, str] = {}
    for at in range(0, len(inner), 4):
        key, colon, value, *comma = inner[at : at + 4] if len(inner) >= at + 3 else (None,) * 3
        if key is None or colon is None or value is None:
            return None
        is_pair = (key.kind, colon.text, value.kind) == ("string", ":", "string")
        if not is_pair or (comma and (comma[0] is None or comma[0].text != ",")) or unquote(key.text) in pairs:
            return None
        pairs[unquote(key.text)] = unquote(value.text)
    return pairs
