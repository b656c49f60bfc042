"""Flattened lists are put together whatever their names are, and hostile ones cost nothing."""

import pytest

from tokentrail.backend.dialects.indexed import items
from tokentrail.backend.span import Attributes


def test_items_are_in_the_order_of_their_numbers_and_gaps_close_up() -> None:
    attributes: Attributes = {"a.10.role": "c", "a.2.role": "b", "a.0.role": "a", "b.1.role": "x", "a": "y"}

    assert items(attributes, "a.") == [{"role": "a"}, {"role": "b"}, {"role": "c"}]


def test_fields_and_lists_nest() -> None:
    attributes: Attributes = {
        "a.0.message.calls.1.call.function.name": "g",
        "a.0.message.calls.0.call.function.name": "f",
        "a.0.message.role": "assistant",
    }

    calls = [{"call": {"function": {"name": "f"}}}, {"call": {"function": {"name": "g"}}}]
    assert items(attributes, "a.") == [{"message": {"calls": calls, "role": "assistant"}}]


def test_structured_values_stay_as_they_are() -> None:
    attributes: Attributes = {"a.0.x": ({"k": 1.5}, True)}

    assert items(attributes, "a.") == [{"x": [{"k": 1.5}, True]}]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"a.name": "p", "a.version": "7", "a.variable.city": "Paris"},
        {"a.0": "a plain value"},
        {"a.99999.role": "user"},
        {"a.-1.role": "user"},
        {"a.\u0664.role": "user"},
        {"a.0.role": ""},
        {"a.0.role": "__REDACTED__"},
        {"a.0." + "x." * 20 + "y": "too deep"},
        {"a.0." + "x." * 100_000: "far too deep"},
    ],
    ids=["none", "no list", "no item", "large", "negative", "no digits", "empty", "redacted", "deep", "deeper"],
)
def test_what_is_no_list_has_no_items(attributes: Attributes) -> None:
    assert items(attributes, "a.") == []


def test_a_name_that_contradicts_an_earlier_one_is_left_out() -> None:
    assert items({"a.0.x": "text", "a.0.x.y": "field"}, "a.") == [{"x": "text"}]
    assert items({"a.0.x.y": "field", "a.0.x": "text"}, "a.") == [{"x": {"y": "field"}}]
