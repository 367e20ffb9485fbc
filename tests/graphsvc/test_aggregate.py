"""Summing events to edges."""

from typing import Any

import numpy as np

from graphsvc.aggregate import EdgeSums


def summed(
    blocks: list[list[tuple[int, int, int]]], most_tails: int | None = None
) -> list[tuple[Any, ...]]:
    sums = EdgeSums(rate=0.5, as_of=10)
    for block in blocks:
        head, tail, time = np.array(block, dtype=np.int64).reshape(-1, 3).T
        sums.add(head.astype(np.int32), tail.astype(np.int32), time)
    return list(
        zip(*(column.tolist() for column in sums.edges(most_tails=most_tails)), strict=True)
    )


def test_events_of_an_edge_add_up_across_blocks() -> None:
    # A half-life of 2 seconds: 2^0 + 2^-1 + 2^-2; what lies after as_of counts as 1.
    blocks = [[(2, 5, 10), (1, 9, 6)], [], [(2, 5, 8), (1, 9, 12)], [(2, 5, 6)]]
    assert summed(blocks) == [(1, 9, 1.25, 12), (2, 5, 1.75, 10)]


def test_no_event_no_edge() -> None:
    assert summed([]) == []
    assert summed([[]], most_tails=1) == []


def test_rows_near_the_largest_stay_apart() -> None:
    top = 2**31 - 1
    assert [edge[:2] for edge in summed([[(top, 0, 1), (0, top, 1), (top, top, 1)]])] == [
        (0, top),
        (top, 0),
        (top, top),
    ]


def test_the_most_recent_tails_of_each_head() -> None:
    events = [(1, 4, 7), (1, 3, 9), (1, 2, 9), (1, 1, 9), (2, 8, 1)]
    kept = summed([events], most_tails=2)
    assert [edge[:2] for edge in kept] == [(1, 1), (1, 2), (2, 8)]  # a tie: the smaller row
