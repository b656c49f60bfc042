"""What calls have in common: in a table with one row for each trait, of whatever kind, each leads to its own calls."""

from collections.abc import Mapping
from typing import Final

from boards import link
from boards.panel import Column

_SHARED: Final[Mapping[str, str]] = {
    "environment": "env",
    "service": "service",
    "provider": "provider",
    "model": "model",
    "operation": "operation",
}
"""The shared variable that chooses a kind of trait. Where a row is of another kind, it stays as it is on the page."""
_OWN: Final[Mapping[str, str]] = {
    "user": "user",
    "feature": "feature",
    "session": "session_name",
    "user tier": "property=UserTier&var-property_value",
}
"""Variables of the page of requests. Other kinds, such as how long a prompt was, cannot be chosen there."""


def chosen(prompt: str = "value") -> str:
    """SQL: the part of an address that chooses the trait `value` of the kind `what`, as the last column of a row.

    `prompt` is SQL for the name of a prompt, where the trait is one and shows more than its name.
    """
    set_to = {
        **{kind: f"var-{name}=" for kind, name in _SHARED.items()},
        **{kind: f"var-{name}=" for kind, name in _OWN.items()},
    }
    kept = [
        f"if(what = '{kind}', concat('{set_to[kind]}', encodeURLComponent(value)), '${{{name}:queryparam}}')"
        for kind, name in _SHARED.items()
    ]
    own = ", ".join(f"what = '{kind}', concat('&{set_to[kind]}', encodeURLComponent(value))" for kind in _OWN)
    own += f", what = 'prompt', concat('&var-prompt=', encodeURLComponent({prompt}))"
    shared = ", '&', ".join(kept)
    return f"concat({shared}, multiIf({own}, '')) AS chosen"


def column(title: str, **more: str) -> Column:
    """The column `value`, with a link by `chosen`; `more` are further variables of the page of requests."""
    address = link.to(link.REQUESTS, *_SHARED.values(), **more)
    return Column("value", "Value", link=(title, f"{address}&${{__data.fields.chosen:raw}}"))


CHOSEN: Final = Column("chosen", hidden=True)
