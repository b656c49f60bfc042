"""The queue before the store: in order, and in groups that are not too large."""

import pytest

from tokentrail.backend.ingest.queue import CommitQueue, Pending


def filled(*sizes: int) -> tuple[CommitQueue, list[Pending]]:
    """A queue with requests of so many bytes, and these."""
    queue, requests = CommitQueue(1000, 1_000_000), [Pending((), size) for size in sizes]
    for each in requests:
        queue.reserve(each)
        queue.put(each)
    return queue, requests


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ((40, 40, 40), [(40, 40), (40,)]),
        ((50, 50, 1), [(50, 50), (1,)]),
        ((101, 40, 500, 600), [(101,), (40,), (500,), (600,)]),
        ((0, 100, 0, 1), [(0, 100, 0), (1,)]),
    ],
    ids=["some", "just as many", "too large for any group", "requests of our own"],
)
def test_what_waits_is_taken_in_groups_of_a_size(sizes: tuple[int, ...], groups: list[tuple[int, ...]]) -> None:
    queue, _ = filled(*sizes)

    taken = [tuple(each.size_bytes for each in queue.take(most_bytes=100)) for _ in groups]

    assert taken == groups
    assert queue.size_bytes == 0


def test_who_hurries_a_group_hurries_what_is_left_of_it() -> None:
    queue, requests = filled(60, 60)
    queue.settle(0)  # somebody wants to read it, and nothing is to be waited for

    first, second = queue.take(60.0, 10, 100), queue.take(60.0, 10, 100)

    assert (first, second) == (requests[:1], requests[1:])


def test_all_is_one_group_unless_told_otherwise() -> None:
    queue, requests = filled(60, 60, 600_000)

    assert queue.take() == requests
