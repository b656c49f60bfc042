import contextvars
import random
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.trace import INVALID_SPAN, get_current_span, use_span

from support.tags import where
from tokentrail.instrumentation import context, prompt, properties, session, user
from tokentrail.instrumentation.context import NO_TAGS, Tags, baggage_tags, current_tags, normal_path

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


# Nesting --------------------------------------------------------------------------------------------------------


def test_outside_any_scope_there_are_no_tags() -> None:
    assert current_tags() is NO_TAGS
    assert NO_TAGS.attributes() == {}


def test_all_four_scopes_become_attributes() -> None:
    with session("s", name="n", path="p"), user("u"), properties({"a b": 1}, Feature=True), prompt("t", version=3):
        assert current_tags().attributes() == {
            "user.id": "u",
            "session.id": "s",
            "tokentrail.session.name": "n",
            "tokentrail.session.path": "/p",
            "gen_ai.prompt.name": "t",
            "gen_ai.prompt.version": "3",
            "tokentrail.property.a b": "1",
            "tokentrail.property.Feature": "True",
        }


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([None], "/"),
        (["/"], "/"),
        ([""], "/"),
        (["plan"], "/plan"),
        (["/plan/"], "/plan"),
        (["plan", "search"], "/plan/search"),
        (["/plan", "/search/"], "/plan/search"),
        (["plan", None, "search"], "/plan/search"),
        (["a/b", "c"], "/a/b/c"),
        ([None, "a"], "/a"),
        (["/", "a"], "/a"),
        (["a", "/"], "/a"),
        (["é", "東"], "/é/東"),
    ],
)
def test_paths_of_one_session_append(paths: list[str | None], expected: str) -> None:
    with ExitStack() as scopes:
        scopes.enter_context(session("s", path=paths[0]))
        for path in paths[1:]:
            scopes.enter_context(session(path=path))
        assert where() == ("s", expected)

    with ExitStack() as scopes:
        for path in paths:
            scopes.enter_context(session("s", path=path))
        assert where() == ("s", expected)


def test_another_session_starts_afresh_and_the_outer_one_comes_back() -> None:
    with session("a", name="n", path="x"):
        with session("b", path="y"):
            assert current_tags().attributes() == {"session.id": "b", "tokentrail.session.path": "/y"}
        assert current_tags().session_name == "n"
        assert where() == ("a", "/x")


def test_a_path_without_a_session_is_kept() -> None:
    with session(path="a"), session(path="b"):
        assert where() == ("", "/a/b")


def test_an_inner_name_takes_the_outer_one_s_place() -> None:
    with session("a", name="outer"):
        with session(name="inner"):
            assert current_tags().session_name == "inner"
        assert current_tags().session_name == "outer"


def test_a_long_session_id_is_still_the_same_session() -> None:
    with session("x" * 9_000, path="a"), session("x" * 9_000, path="b"):
        assert where() == ("x" * 4_096, "/a/b")


def test_properties_add_up_and_the_inner_value_counts() -> None:
    with properties(a=1, b=1):
        with properties({"B": 2}, c=2):
            assert current_tags().properties == {"a": "1", "b": "2", "c": "2"}
        assert current_tags().properties == {"a": "1", "b": "1"}


def test_a_prompt_without_a_version_does_not_keep_the_outer_one_s() -> None:
    with prompt("a", version="1"), prompt("b"):
        assert current_tags().attributes() == {"gen_ai.prompt.name": "b"}


def test_values_of_any_type_become_text() -> None:
    with session(5, path=7), user(8):  # type: ignore[arg-type]  # people pass numbers
        assert current_tags().attributes() == {"session.id": "5", "tokentrail.session.path": "/7", "user.id": "8"}


def test_values_are_bounded_and_can_be_encoded() -> None:
    with user("é" * 3_000), properties({f"k{i}": "v" for i in range(100)}), prompt("\ud800"):
        tags = current_tags()

    assert tags.user == "é" * 2_048
    assert len(tags.properties) == 64
    assert tags.prompt_name == "?"


def test_inner_properties_win_the_last_places() -> None:
    with properties({f"outer{i}": "v" for i in range(64)}), properties(inner=1):
        assert len(current_tags().properties) == 64
        assert current_tags().properties["inner"] == "1"


def test_an_exception_leaves_the_scope_and_passes() -> None:
    with pytest.raises(KeyError, match="x"), user("u"):
        raise KeyError("x")

    assert current_tags() is NO_TAGS


@pytest.mark.parametrize(
    ("path", "expected"), [("", "/"), ("///", "/"), ("a", "/a"), ("//a/b//", "/a/b"), ("a//b", "/a//b")]
)
def test_a_path_has_one_leading_slash(path: str, expected: str) -> None:
    assert normal_path(path) == expected


def test_one_scope_may_be_used_many_times_and_inside_itself() -> None:
    scope = session("s", path="a")

    for _ in range(3):
        with scope:
            assert where() == ("s", "/a")
            with scope:
                assert where() == ("s", "/a/a")
            assert where() == ("s", "/a")


def test_a_span_opened_inside_a_scope_keeps_the_context_it_was_opened_in() -> None:
    with user("u"):
        with use_span(INVALID_SPAN), session("s"):
            assert get_current_span() is INVALID_SPAN
        assert current_tags() == Tags(user="u")


# Order of leaving -----------------------------------------------------------------------------------------------


def test_a_scope_left_before_one_entered_after_it_ends_with_that_one() -> None:
    outer, inner = user("u"), session("s")
    outer.__enter__()
    inner.__enter__()

    outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)

    assert current_tags() is NO_TAGS


def test_scopes_may_be_left_in_any_order() -> None:
    source = random.Random("order")

    for _ in range(300):
        scopes = [source.choice([user("u"), session("s"), properties(a=1)]) for _ in range(source.randrange(1, 6))]
        for scope in scopes:
            scope.__enter__()
        source.shuffle(scopes)
        for scope in scopes:
            scope.__exit__(None, None, None)

        assert current_tags() is NO_TAGS
        assert context._entered.get() == ()


def test_a_generator_that_is_left_open_does_not_keep_the_scope_around_it() -> None:
    def work() -> Iterator[int]:
        with session("inside"):
            yield 1
            yield 2

    with user("u"):
        generator = work()
        next(generator)
    assert isinstance(generator, Generator)
    generator.close()

    assert current_tags() is NO_TAGS


def test_leaving_what_was_not_entered_changes_nothing() -> None:
    with user("u"):
        session("s").__exit__(None, None, None)

        assert current_tags() == Tags(user="u")


def test_a_scope_left_in_another_context_changes_nothing_there() -> None:
    scope = user("u")
    contextvars.copy_context().run(scope.__enter__)

    with session("s"):
        scope.__exit__(None, None, None)

        assert current_tags().session_id == "s"


def test_a_scope_inherited_and_left_in_a_copy_of_the_context_stays_in_the_original() -> None:
    scope = user("u")
    with scope:
        contextvars.copy_context().run(scope.__exit__, None, None, None)

        assert current_tags() == Tags(user="u")


def test_restoring_a_foreign_token_is_silent() -> None:
    token = contextvars.copy_context().run(otel_context.attach, otel_context.set_value("a", 1))

    context.detach(token)
    context.detach(token)


def test_restoring_a_token_twice_is_silent() -> None:
    token = otel_context.attach(otel_context.set_value("a", 1))

    context.detach(token)
    context.detach(token)

    assert otel_context.get_value("a") is None


# Baggage --------------------------------------------------------------------------------------------------------


@contextmanager
def _in_baggage(values: Mapping[str, object]) -> Iterator[None]:
    current = otel_context.get_current()
    for name, value in values.items():
        current = baggage.set_baggage(name, value, current)
    token = otel_context.attach(current)
    yield
    otel_context.detach(token)


def test_baggage_has_the_names_of_the_attributes() -> None:
    values = {
        "user.id": "u",
        "session.id": "s",
        "tokentrail.session.path": "a/b/",
        "tokentrail.property.Plan": 5,
        "gen_ai.prompt.name": "p",
        "other": "x",
    }

    with _in_baggage(values):
        assert baggage_tags() == Tags(
            user="u", session_id="s", session_path="/a/b", prompt_name="p", properties={"Plan": "5"}
        )
        assert current_tags() is NO_TAGS


def test_baggage_is_bounded() -> None:
    values = {f"tokentrail.property.k{i}": "v" for i in range(100)}

    with _in_baggage({**values, "user.id": "u" * 10_000}):
        tags = baggage_tags()

    assert len(tags.user) == 4_096
    assert len(tags.properties) == 64


def test_without_baggage_there_are_no_tags() -> None:
    assert baggage_tags() == NO_TAGS


# One over another -----------------------------------------------------------------------------------------------


def test_tags_take_what_they_leave_open_from_those_below() -> None:
    above = Tags(user="a", prompt_name="p", properties={"X": "a"})
    below = Tags(
        user="b",
        session_id="s",
        session_name="n",
        session_path="/p",
        conversation_id="c",
        prompt_name="q",
        prompt_version="1",
        properties={"x": "b", "y": "b"},
    )

    over = above.over(below)

    assert over == Tags(
        user="a",
        session_id="s",
        session_name="n",
        session_path="/p",
        conversation_id="c",
        prompt_name="p",
        prompt_version="",
        properties={"x": "a", "y": "b"},
    )
    assert NO_TAGS.over(below) == below
    assert below.over(NO_TAGS) == below


def test_properties_of_both_stay_within_the_limit_and_the_upper_ones_are_kept() -> None:
    above = Tags(properties={f"a{i}": "v" for i in range(40)})
    below = Tags(properties={f"b{i}": "v" for i in range(40)})

    merged = above.over(below).properties

    assert len(merged) == 64
    assert set(above.properties) <= set(merged)
