"""Labels: the edges of the window, what nobody knows yet, and a slow loop over random acts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphsvc.interactions import in_time
from graphsvc.labels import ACT, END, EXPOSURE, NEGATIVE, OUTCOME, UNKNOWN, Labeler

WINDOW = 10
LATE = 10_000


def act(event: int, time: int, tail: int = 1, head: int = 0) -> np.ndarray:
    row = np.zeros(1, dtype=ACT)
    row["time"], row["event"], row["head"], row["tail"] = time, event, head, tail
    row["position"], row["sampling_rate"], row["label"] = -1, 1.0, UNKNOWN
    return row


def labelled(*rows: np.ndarray, observed: int = LATE) -> list[tuple[int, int, int]]:
    """(time, event, label) of acts that came in one block."""
    found = Labeler(window=WINDOW, observed=observed).add(np.concatenate(rows), END)
    return [(row["time"], row["event"], row["label"]) for row in found]


@pytest.mark.parametrize(("gap", "label"), [(-1, 0), (0, 1), (WINDOW, 1), (WINDOW + 1, 0)])
def test_an_outcome_counts_from_the_exposure_to_the_last_second(gap: int, label: int) -> None:
    found = labelled(act(EXPOSURE, 100), act(OUTCOME, 100 + gap))
    assert (100, EXPOSURE, label) in found


@pytest.mark.parametrize(("gap", "label"), [(-1, 1), (0, 0), (3, 0), (WINDOW, 0), (WINDOW + 1, 1)])
def test_a_negative_in_the_window_is_stronger_than_an_outcome(gap: int, label: int) -> None:
    found = labelled(act(EXPOSURE, 100), act(OUTCOME, 105), act(NEGATIVE, 100 + gap))
    assert (100, EXPOSURE, label) in found
    # What no exposure explains is a row of its own.
    alone = not 0 <= gap <= WINDOW
    assert ((100 + gap, NEGATIVE, 0) in found) is alone


def test_another_pair_does_not_count() -> None:
    found = labelled(act(EXPOSURE, 100, tail=1), act(OUTCOME, 101, tail=2), act(NEGATIVE, 101, 2))
    assert found == [(100, 0, 0), (101, 1, UNKNOWN), (101, 2, 0)]


@pytest.mark.parametrize(("observed", "label"), [(109, UNKNOWN), (110, 1), (111, 1)])
def test_an_exposure_is_unknown_until_its_window_is_over(observed: int, label: int) -> None:
    """Also where the outcome is there already: the quick ones alone would flatter the new."""
    assert (100, 0, label) in labelled(act(EXPOSURE, 100), act(OUTCOME, 101), observed=observed)
    assert (100, 0, min(label, 0)) in labelled(act(EXPOSURE, 100), observed=observed)


def test_either_way_a_pair_is_one() -> None:
    rows = np.concatenate([act(EXPOSURE, 5, tail=1, head=2), act(OUTCOME, 6, tail=2, head=1)])
    for either_way in (False, True):
        found = Labeler(window=WINDOW, observed=LATE, either_way=either_way).add(rows, END)
        assert found["label"].tolist() == [int(either_way), UNKNOWN]


_ACTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 1), st.integers(0, 1))
)


@given(drawn=_ACTS, size=st.integers(1, 7), observed=st.integers(0, 80), data=st.data())
def test_random_acts_in_blocks_equal_a_slow_loop(drawn, size, observed, data) -> None:
    rows = [act(event, time, tail, head) for event, time, tail, head in drawn]
    streams = []
    for kind in (EXPOSURE, OUTCOME, NEGATIVE):
        own = sorted((r for r in rows if r["event"][0] == kind), key=lambda r: int(r["time"][0]))
        blocks = [np.concatenate(own[n : n + size]) for n in range(0, len(own), size)]
        streams.append(iter(blocks))
    labeler = Labeler(window=WINDOW, observed=observed)
    found = [labeler.add(block, before) for block, before in in_time(streams)]
    times = [int(t) for block in found for t in block["time"]]
    assert times == sorted(times)

    def slow(event: int, time: int, tail: int, head: int) -> int | None:
        near = {e: [] for e in range(3)}
        for e, t, i, u in drawn:
            if (i, u) == (tail, head):
                near[e].append(t - time)
        if event == NEGATIVE:
            return None if any(-WINDOW <= gap <= 0 for gap in near[EXPOSURE]) else 0
        if event == OUTCOME or time + WINDOW > observed:
            return UNKNOWN
        refused, won = (any(0 <= g <= WINDOW for g in near[e]) for e in (NEGATIVE, OUTCOME))
        return int(won and not refused)

    expected = [
        (time, head, tail, event, slow(event, time, tail, head))
        for event, time, tail, head in drawn
    ]
    assert [
        (int(r["time"]), int(r["head"]), int(r["tail"]), int(r["event"]), int(r["label"]))
        for block in found
        for r in block
    ] == sorted(row for row in expected if row[-1] is not None)


def test_what_is_held_does_not_grow_with_the_past() -> None:
    """100,000 acts, a thousand at once: never more than a few windows and blocks are held."""
    labeler = Labeler(window=100, observed=10**9)
    most = 0
    for start in range(0, 100_000, 1000):
        rows = np.zeros(1000, dtype=ACT)
        rows["time"] = np.arange(start, start + 1000)
        labeler.add(rows, start + 1000)
        most = max(most, len(labeler._held) + labeler._waiting_rows)
    assert most <= 2 * 1000 + 3 * 100
