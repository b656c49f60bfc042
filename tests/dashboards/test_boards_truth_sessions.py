"""What the page about sessions says, beside what the seeded calls add up to: all of them, and one as a tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pytest

from support import dashboard_store as truth
from support.dashboard_seed import Call
from support.dashboard_store import Seeded, groups, quantile, spend

approx = pytest.approx
PAGE = "sessions"
SPACE = "\u00a0"


@dataclass(frozen=True)
class Session:
    calls: Sequence[Call]

    @property
    def usd(self) -> float:
        return spend(self.calls)

    @property
    def seconds(self) -> float:
        return (max(call.end_ns for call in self.calls) - min(call.start_ns for call in self.calls)) / 1e9

    @property
    def last(self) -> Call:
        return max(self.calls, key=lambda call: call.end_ns)

    @property
    def succeeded(self) -> bool:
        return not self.last.error_type


def sessions(calls: list[Call]) -> list[Session]:
    return [Session(of) for of in groups(calls, lambda call: call.session).values()]


def per_success(some: Sequence[Session]) -> float:
    return sum(each.usd for each in some) / sum(each.succeeded for each in some)


def test_numbers_of_sessions_are_compared_with_the_time_before(seeded: Seeded) -> None:
    now, before = sessions(seeded.told()), sessions(seeded.before())

    def both(title: str, **wanted: tuple[float, float]) -> None:
        """`wanted`: the values of now and of before; the first is what has a change."""
        first, first_before = next(iter(wanted.values()))
        values = {name: approx(value) for name, (value, _) in wanted.items()}
        assert seeded.row(PAGE, title) == values | {"change": approx(first / first_before - 1)}

    usd, usd_before = [each.usd for each in now], [each.usd for each in before]
    number, number_before = [len(each.calls) for each in now], [len(each.calls) for each in before]
    long, long_before = [each.seconds for each in now], [each.seconds for each in before]
    well, well_before = [each.succeeded for each in now], [each.succeeded for each in before]
    both("Sessions", sessions=(len(now), len(before)))
    both("Cost of a session", mean=(fmean(usd), fmean(usd_before)), p95=(quantile(usd, 0.95), 0))
    both("Requests in a session", mean=(fmean(number), fmean(number_before)), p95=(quantile(number, 0.95), 0))
    both("Duration of a session", mean=(fmean(long), fmean(long_before)), p95=(quantile(long, 0.95), 0))
    both("Success rate", success_rate=(fmean(well), fmean(well_before)))
    both("Cost per success", usd_per_success=(per_success(now), per_success(before)))
    assert not all(well)


def test_sessions_over_time_count_once_at_their_end(seeded: Seeded) -> None:
    now = sessions(seeded.told())

    rows = seeded.rows(PAGE, "Sessions by outcome")
    costs = seeded.rows(PAGE, "Cost of a session over time")

    assert sum(row["success"] for row in rows) == sum(each.succeeded for each in now)
    assert sum(row["failure"] for row in rows) == sum(not each.succeeded for each in now)
    totals = {row["time"]: row["success"] + row["failure"] for row in rows}
    assert sum(row["mean"] * totals[row["time"]] for row in costs) == approx(spend(seeded.told()))


def test_names_have_their_sessions(seeded: Seeded) -> None:
    names = groups(seeded.told(), lambda call: call.session_name)

    rows = {row["session_name"]: row for row in seeded.rows(PAGE, "Sessions by name")}

    assert rows.keys() == names.keys()
    for name, calls in names.items():
        some = sessions(calls)
        assert rows[name] == {
            "session_name": name,
            "number": len(some),
            "total": approx(spend(calls)),
            "share": approx(spend(calls) / spend(seeded.told())),
            "mean": approx(fmean(each.usd for each in some)),
            "p95": approx(quantile([each.usd for each in some], 0.95)),
            "mean_requests": approx(fmean(len(each.calls) for each in some)),
            "mean_seconds": approx(fmean(each.seconds for each in some)),
            "success_rate": approx(fmean(each.succeeded for each in some)),
            "usd_per_success": approx(per_success(some)),
        }


def test_a_chosen_name_narrows_all_sessions(seeded: Seeded) -> None:
    some = sessions(seeded.told(lambda call: call.session_name == "triage"))

    assert seeded.row(PAGE, "Sessions", session_name="triage")["sessions"] == len(some) > 0
    (row,) = seeded.rows(PAGE, "Sessions by name", session_name="triage")
    assert (row["number"], row["share"]) == (len(some), 1)


def row_of(session: Session) -> dict[str, object]:
    first = session.calls[0]
    return {
        "session": first.session,
        "session_name": first.session_name,
        "user": first.user,
        "requests": len(session.calls),
        "usd": approx(session.usd),
        "tokens": truth.tokens(session.calls),
        "seconds": approx(session.seconds),
        "failed": len(truth.failed(session.calls)),
        "outcome": "succeeded" if session.succeeded else "failed",
        "last_call": truth.instant(session.last.end_ns),
    }


def test_the_dearest_sessions_come_first(seeded: Seeded) -> None:
    dearest = sorted(sessions(seeded.told()), key=lambda each: (each.usd, each.last.end_ns), reverse=True)[:100]

    assert seeded.rows(PAGE, "Most expensive sessions") == [row_of(each) for each in dearest]


def test_paths_have_their_own_cost(seeded: Seeded) -> None:
    paths = groups(seeded.told(), lambda call: call.path)

    rows = {row["path"]: row for row in seeded.rows(PAGE, "Cost by path")}

    assert rows.keys() == paths.keys()
    for path, calls in paths.items():
        number = len(sessions(calls))
        assert rows[path] == {
            "path": path,
            "sessions": number,
            "requests": len(calls),
            "usd": approx(spend(calls)),
            "share": approx(spend(calls) / spend(seeded.told())),
            "usd_per_session": approx(spend(calls) / number),
            "mean_tokens": approx(truth.tokens(calls) / len(calls)),
            "p95": approx(quantile(truth.seconds(calls), 0.95)),
            "error_rate": approx(truth.error_rate(calls)),
        }


# One session -------------------------------------------------------------------------------------------------------

Node = tuple[str, ...]


def one(seeded: Seeded) -> Session:
    """A session with steps below steps, one of which failed or has no price."""
    deep = [each for each in sessions(seeded.told()) if any(call.path.count("/") == 2 for call in each.calls)]
    return next(each for each in deep if len(each.calls) == 5 and any(call.cost is None for call in each.calls))


def parts(call: Call) -> Node:
    return tuple(name for name in call.path.split("/") if name)


def tree(session: Session) -> dict[Node, tuple[list[Call], list[Call]]]:
    """Every node in the order of a walk down the tree: the calls at it and below, and those at this very path."""
    nodes = {parts(call)[:depth] for call in session.calls for depth in range(len(parts(call)) + 1)}
    return {
        node: (
            [call for call in session.calls if parts(call)[: len(node)] == node],
            [call for call in session.calls if parts(call) == node],
        )
        for node in sorted(nodes)
    }


def test_one_session_has_its_numbers(seeded: Seeded) -> None:
    session = one(seeded)

    assert seeded.rows(PAGE, "The session", session=session.calls[0].session) == [row_of(session)]
    assert seeded.rows(PAGE, "The session") == [], "none is chosen"


def test_the_tree_of_a_session_has_everything_below_and_its_own(seeded: Seeded) -> None:
    session = one(seeded)

    rows = seeded.rows(PAGE, "Tree of the session", session=session.calls[0].session)

    assert rows == [
        {
            "path": SPACE * 4 * len(node) + node[-1] if node else "/",
            "all_requests": len(below),
            "own_requests": len(own),
            "all_usd": approx(spend(below)),
            "share": approx(spend(below) / session.usd),
            "own_usd": approx(spend(own)),
            "all_tokens": truth.tokens(below),
            "own_tokens": truth.tokens(own),
            "all_seconds": approx(sum(truth.seconds(below))),
            "wall_seconds": approx(Session(below).seconds),
            "all_failed": len(truth.failed(below)),
            "own_path": "/" + "/".join(node),
            "all_paths": "/".join(["", *node, "*"]),
        }
        for node, (below, own) in tree(session).items()
    ]
    assert max(row["path"].count(SPACE) for row in rows) == 8


def test_paths_of_the_tree_lead_to_their_calls(seeded: Seeded) -> None:
    chosen = one(seeded).calls[0].session

    for row in seeded.rows(PAGE, "Tree of the session", session=chosen):
        behind = [
            seeded.row("requests", "Requests", session=chosen, path=row[name])["requests"]
            for name in ("own_path", "all_paths")
        ]
        assert behind == [row["own_requests"], row["all_requests"]]


def test_the_flame_graph_is_a_walk_down_whose_parts_add_up(seeded: Seeded) -> None:
    session = one(seeded)

    rows = seeded.rows(PAGE, "Cost of the session", session=session.calls[0].session)

    assert rows == [
        {
            "level": len(node),
            "value": approx(spend(below)),
            "self": approx(spend(own)),
            "label": node[-1] if node else session.calls[0].session_name,
        }
        for node, (below, own) in tree(session).items()
    ]
    assert sum(row["self"] for row in rows) == approx(rows[0]["value"]) == approx(session.usd)
    for number, row in enumerate(rows):  # what Grafana makes of it: a node's children follow it, one level deeper
        rest = rows[number + 1 :]
        end = next((at for at, each in enumerate(rest) if each["level"] <= row["level"]), len(rest))
        children = [each for each in rest[:end] if each["level"] == row["level"] + 1]
        assert row["value"] == approx(row["self"] + sum(each["value"] for each in children))


def test_every_session_of_the_day_has_a_tree_that_adds_up(seeded: Seeded) -> None:
    agents = [each for each in sessions(seeded.told()) if len(each.calls) > 2]

    for session in agents[:25]:
        rows = seeded.rows(PAGE, "Cost of the session", session=session.calls[0].session)
        assert [row["level"] for row in rows] == [len(node) for node in tree(session)]
        assert sum(row["self"] for row in rows) == approx(session.usd)


def test_steps_follow_each_other(seeded: Seeded) -> None:
    session = one(seeded)
    calls = sorted(session.calls, key=lambda call: call.start_ns)

    rows = seeded.rows(PAGE, "Steps of the session", session=calls[0].session)

    assert rows == [
        {
            "after": approx((call.start_ns - calls[0].start_ns) / 1e9),
            "path": call.path,
            "operation": "chat",
            "model": call.model,
            "seconds": approx(call.duration_ns / 1e9),
            "ttft": None if call.ttft_ns is None else approx(call.ttft_ns / 1e9),
            "input_tokens": None if call.error_type else call.input_tokens,
            "output_tokens": None if call.error_type else call.output_tokens,
            "usd": None if call.cost is None else approx(float(call.cost)),
            "usd_so_far": approx(spend(calls[: number + 1])),
            "status": call.error_type or "ok",
            "trace": call.trace.hex(),
        }
        for number, call in enumerate(calls)
    ]
