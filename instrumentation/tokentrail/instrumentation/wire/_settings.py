"""Request settings that go into span attributes as they are."""

from collections.abc import Mapping

from tokentrail.instrumentation.wire._base import AttributeValue
from tokentrail.instrumentation.wire._json import Json, integer, number, text


def read_settings(body: Json, settings: Mapping[str, tuple[str, type]]) -> dict[str, AttributeValue]:
    """Attributes from fields of `body`: `settings` has attribute name and type (`int`, `float`, `str`) by field."""
    attributes: dict[str, AttributeValue] = {}
    for name, (attribute, kind) in settings.items():
        field = body.get(name)
        if field is None:
            continue
        value: AttributeValue | None
        if kind is int:
            value = integer(field)
        elif kind is float:
            value = number(field)
        else:
            value = text(field) or None
        if value is not None:
            attributes[attribute] = value
    return attributes
