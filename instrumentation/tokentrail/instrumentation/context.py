"""Who and where: session, user, properties and prompt, set once for everything below.

    with session("5f0c", name="research", path="/plan"), user("u-17"), properties(Feature="chat"):
        with session(path="search"):          # same session, path /plan/search
            client.chat.completions.create(...)

The values live in the OpenTelemetry context, so they follow it: into tasks, and into threads where it is carried there
(`threads`); with `TOKENTRAIL_BAGGAGE`, into other processes too, but not to providers of models. Each of the four is a
context manager and a decorator, for plain functions, coroutine functions, generators and asynchronous generators; one
object may be used many times, also at once.
"""

import contextvars
import functools
import inspect
import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, ParamSpec, TypeVar, cast
from urllib.parse import quote_plus

from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.context import Context

from tokentrail.instrumentation.guard import protect
from tokentrail.semconv import genai

P = ParamSpec("P")
T = TypeVar("T")

_KEY: Final = otel_context.create_key("tokentrail-tags")

MAX_PROPERTIES: Final = 64
MAX_KEY_BYTES: Final = 256
MAX_VALUE_BYTES: Final = 4096
MAX_BAGGAGE_ENTRIES: Final = 64
"""In all, those of others included, as the next: what W3C Baggage (section 3.3.2) has every platform pass on."""
MAX_BAGGAGE_BYTES: Final = 8192
MAX_BAGGAGE_ENTRY_BYTES: Final = 4096
"""Of a name and its encoded value: what OpenTelemetry's propagator takes in (1.45)."""


@dataclass(frozen=True, slots=True)
class Tags:
    """What is known of who makes a call and where; fields are empty when unknown."""

    user: str = ""
    session_id: str = ""
    session_name: str = ""
    session_path: str = ""
    conversation_id: str = ""
    prompt_name: str = ""
    prompt_version: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)

    def over(self, below: "Tags") -> "Tags":
        """These tags, with what they leave open taken from `below`; properties of both, these first.

        Session id, name and path belong together, as do a prompt's name and version: they are not mixed.
        """
        if self is NO_TAGS or below is NO_TAGS:
            return below if self is NO_TAGS else self
        session = self if self.session_id else below
        prompt = self if self.prompt_name else below
        return Tags(
            user=self.user or below.user,
            session_id=session.session_id,
            session_name=self.session_name or session.session_name,
            session_path=self.session_path or session.session_path,
            conversation_id=self.conversation_id or below.conversation_id,
            prompt_name=prompt.prompt_name,
            prompt_version=prompt.prompt_version,
            properties=_merged(below.properties, self.properties),
        )

    def attributes(self) -> dict[str, str]:
        """Span attributes; unknown fields have none."""
        if self is NO_TAGS:
            return {}
        named = (
            (genai.USER_ID, self.user),
            (genai.SESSION_ID, self.session_id),
            (genai.SESSION_NAME, self.session_name),
            (genai.SESSION_PATH, self.session_path),
            (genai.CONVERSATION_ID, self.conversation_id),
            (genai.PROMPT_NAME, self.prompt_name),
            (genai.PROMPT_VERSION, self.prompt_version),
        )
        attributes = {name: value for name, value in named if value}
        for key, value in self.properties.items():
            attributes[genai.PROPERTY_PREFIX + key] = value
        return attributes


def _merged(outer: Mapping[str, str], inner: Mapping[str, str]) -> Mapping[str, str]:
    """Both, the inner ones over the outer; a name that differs only by case is the same name, spelt as it was first.

    Names that came by header may have lost their case on the way: openai 3 sends them in lower case.
    """
    if not outer or not inner:
        return inner or outer
    spelling = {key.lower(): key for key in outer}
    inner = {spelling.get(key.lower(), key): value for key, value in inner.items()}
    return bounded({**inner, **{key: value for key, value in outer.items() if key not in inner}})


NO_TAGS: Final = Tags()


def current_tags(context: Context | None = None) -> Tags:
    """The tags set in `context`, the current one by default."""
    tags = otel_context.get_value(_KEY, context)
    return tags if isinstance(tags, Tags) else NO_TAGS


def baggage_tags(context: Context | None = None) -> Tags:
    """The tags that travel in OpenTelemetry baggage, under the names of the span attributes."""
    values = {key: str(value) for key, value in baggage.get_all(context).items()}
    properties = {
        key.removeprefix(genai.PROPERTY_PREFIX): value
        for key, value in values.items()
        if key.startswith(genai.PROPERTY_PREFIX)
    }

    def value_of(name: str) -> str:
        return _cut(values.get(name, ""), MAX_VALUE_BYTES)

    session_id, path = value_of(genai.SESSION_ID), value_of(genai.SESSION_PATH)
    return Tags(
        user=value_of(genai.USER_ID),
        session_id=session_id,
        session_name=value_of(genai.SESSION_NAME),
        session_path=normal_path(path) if path or session_id else "",
        conversation_id=value_of(genai.CONVERSATION_ID),
        prompt_name=value_of(genai.PROMPT_NAME),
        prompt_version=value_of(genai.PROMPT_VERSION),
        properties=bounded(properties),
    )


_BAGGAGE_NAMES: Final = frozenset(
    {
        *(genai.USER_ID, genai.SESSION_ID, genai.SESSION_NAME, genai.SESSION_PATH),
        *(genai.CONVERSATION_ID, genai.PROMPT_NAME, genai.PROMPT_VERSION),
    }
)
_BAGGAGE_NAME: Final = re.compile(r"[\w!#$&'*.^`|~-]+", re.ASCII)
"""A token, without what is decoded on arrival: the propagator has not always encoded names."""
_uses_baggage = False


def use_baggage(on: bool) -> None:
    """Whether scopes put their values into baggage, and find those of another process there. Off until told."""
    global _uses_baggage
    _uses_baggage = on


def with_baggage(tags: Tags, context: Context) -> Context:
    """`context` with `tags` in its baggage, in place of those there, beside the entries of others.

    What does not fit into the limits is left out, and so is a property whose name cannot be sent as it is.
    """
    context = _without_own(context)
    others = baggage.get_all(context).items()
    count, size = len(others), sum(_entry_bytes(key, str(value)) + 1 for key, value in others)
    for key, value in tags.attributes().items():
        entry_bytes = _entry_bytes(key, value)
        if count == MAX_BAGGAGE_ENTRIES:
            break
        fits = entry_bytes <= MAX_BAGGAGE_ENTRY_BYTES and size + entry_bytes <= MAX_BAGGAGE_BYTES
        if fits and _BAGGAGE_NAME.fullmatch(key):
            context = baggage.set_baggage(key, value, context)
            count, size = count + 1, size + entry_bytes + 1
    return context


def without_baggage(context: Context) -> Context:
    """`context` to call a model in: a provider is not told of users and sessions, spans below still are.

    The same one where baggage is not used or has nothing of ours; entries of others stay.
    """
    if not _uses_baggage:
        return context
    bare = _without_own(context)
    if bare is context:
        return context
    return otel_context.set_value(_KEY, current_tags(context).over(baggage_tags(context)), bare)


def _without_own(context: Context) -> Context:
    entries = baggage.get_all(context)
    names = [name for name in entries if name not in _BAGGAGE_NAMES and not name.startswith(genai.PROPERTY_PREFIX)]
    if len(names) == len(entries):
        return context
    context = baggage.clear(context)
    for name in names:
        context = baggage.set_baggage(name, entries[name], context)
    return context


def _entry_bytes(key: str, value: str) -> int:
    """As sent: name, equals sign, encoded value."""
    return len(quote_plus(key, errors="replace")) + 1 + len(quote_plus(value, errors="replace"))


def bounded(properties: Mapping[str, str]) -> dict[str, str]:
    """`properties` within the limits: the first `MAX_PROPERTIES`, keys and values cut to their bytes of UTF-8."""
    kept: dict[str, str] = {}
    for key, value in properties.items():
        if len(kept) == MAX_PROPERTIES:
            break
        if key:
            kept[_cut(key, MAX_KEY_BYTES)] = _cut(value, MAX_VALUE_BYTES)
    return kept


def _cut(text: str, max_bytes: int) -> str:
    """At most `max_bytes` of `text`, in whole characters; half of a surrogate pair, which is no UTF-8, becomes `?`."""
    if text.isascii():
        return text[:max_bytes]
    return text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")


def normal_path(path: str) -> str:
    """A session path with one leading slash and none at the end: `plan/search/` is `/plan/search`."""
    inner = path.strip("/")
    return f"/{inner}" if inner else "/"


_entered: contextvars.ContextVar[tuple[tuple[object, object], ...]] = contextvars.ContextVar(
    "tokentrail-scopes", default=()
)
"""Scopes entered in this context, outermost first, each with its way back. One scope may be entered by many at once.

`None` stands for a scope that was left before one entered after it (generators do that): it ends with that one.
"""


class _Scope:
    """Sets tags for what runs inside it."""

    def __init__(self, change: Callable[[Tags], Tags]) -> None:
        self._change = change

    def __enter__(self) -> None:
        with protect("entering a scope"):
            context = otel_context.get_current()
            outer = current_tags(context)
            tags = self._change(outer.over(baggage_tags(context)) if _uses_baggage else outer)
            context = otel_context.set_value(_KEY, tags, context)
            token = otel_context.attach(with_baggage(tags, context) if _uses_baggage else context)
            _entered.set((*_entered.get(), (self, token)))

    def __exit__(self, *_: object) -> None:
        with protect("leaving a scope"):
            entered = list(_entered.get())
            position = next((i for i in reversed(range(len(entered))) if entered[i][0] is self), None)
            if position is None:
                return  # left in another context than it was entered in: that one ends with its own task
            entered[position] = (None, entered[position][1])
            while entered and entered[-1][0] is None:
                detach(entered.pop()[1])
            _entered.set(tuple(entered))

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorate `function`: its body runs inside this scope, a generator's whenever it runs."""
        wrapped: Callable[..., Any]
        if inspect.isasyncgenfunction(function):
            wrapped = self._async_generator(function)
        elif inspect.iscoroutinefunction(function):
            wrapped = self._coroutine(function)
        elif inspect.isgeneratorfunction(function):
            wrapped = self._generator(function)
        else:
            wrapped = self._function(function)
        return cast("Callable[P, T]", functools.wraps(function)(wrapped))

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: object, **kwargs: object) -> Any:
            with self:
                return function(*args, **kwargs)

        return call

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: object, **kwargs: object) -> Any:
            with self:
                return await function(*args, **kwargs)

        return call

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
            with self:
                inner = function(*args, **kwargs)
                step = functools.partial(next, inner)
            while True:
                try:
                    with self:
                        item = step()
                except StopIteration as end:
                    return end.value
                try:
                    sent = yield item
                    step = functools.partial(inner.send, sent)
                except GeneratorExit:
                    with self:
                        inner.close()
                    raise
                except BaseException as error:  # noqa: BLE001  handed to the generator, which is where it belongs
                    step = functools.partial(inner.throw, error)

        return call

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
            with self:
                inner = function(*args, **kwargs)
                step = functools.partial(inner.__anext__)
            while True:
                try:
                    with self:
                        item = await step()
                except StopAsyncIteration:
                    return
                try:
                    sent = yield item
                    step = functools.partial(inner.asend, sent)
                except GeneratorExit:
                    with self:
                        await inner.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001  handed to the generator, which is where it belongs
                    step = functools.partial(inner.athrow, error)

        return call


def detach(token: object) -> None:
    """Restore the context that was current before `token` was made.

    A scope may be closed in another context than it was opened in (an abandoned asynchronous generator is closed by
    the event loop). `opentelemetry.context.detach` logs an error then; there is nothing to restore, so this does not.
    """
    if not isinstance(token, contextvars.Token):
        otel_context.detach(cast("contextvars.Token[Context]", token))
        return
    try:
        token.var.reset(token)
    except (ValueError, RuntimeError):
        return


def session(id: str | None = None, name: str | None = None, path: str | None = None) -> _Scope:  # noqa: A002
    """Calls below belong to session `id`, at `path` in it.

    Inside a session, leaving `id` out (or naming the same one) stays in it and appends `path` to its path; another
    `id` starts afresh.
    """

    def change(tags: Tags) -> Tags:
        session_id = tags.session_id if id is None else _cut(str(id), MAX_VALUE_BYTES)
        inside = session_id == tags.session_id
        outer = tags.session_path if inside else ""
        inner = f"{outer}/{str(path).strip('/')}" if path else outer
        return replace(
            tags,
            session_id=session_id,
            session_name=_cut(str(name), MAX_VALUE_BYTES) if name else (tags.session_name if inside else ""),
            session_path=_cut(normal_path(inner), MAX_VALUE_BYTES) if inner or session_id else "",
        )

    return _Scope(change)


def user(id: str) -> _Scope:  # noqa: A002
    """Calls below are made for user `id`."""
    return _Scope(lambda tags: replace(tags, user=_cut(str(id), MAX_VALUE_BYTES)))


def properties(values: Mapping[str, object] | None = None, /, **named: object) -> _Scope:
    """Calls below carry these properties, as strings, beside those set further out."""
    given = {**(values or {}), **named}
    return _Scope(
        lambda tags: replace(
            tags, properties=bounded(_merged(tags.properties, {str(key): str(value) for key, value in given.items()}))
        )
    )


def prompt(name: str, version: str | int | None = None) -> _Scope:
    """Calls below use version `version` of the prompt template `name`."""
    return _Scope(
        lambda tags: replace(
            tags,
            prompt_name=_cut(str(name), MAX_VALUE_BYTES),
            prompt_version="" if version is None else _cut(str(version), MAX_VALUE_BYTES),
        )
    )
