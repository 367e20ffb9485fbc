"""Who shares rows is counted as by a slow loop over all pairs of ids."""

import numpy as np
import pytest

from ranking.idtables.collisions import CLASSES, collisions
from ranking.idtables.placement import Placement


def test_classes_are_by_how_often_an_id_is_seen():
    ids = ["once"] + ["twice"] * 2 + ["often"] * 7 + ["own"] * 150
    found = {one.least: one for one in collisions(ids, Placement(("own",), 1))}
    assert list(found) == list(CLASSES)
    assert [one.ids for one in found.values()] == [1, 1, 1, 0, 1]
    assert [one.rows for one in found.values()] == [1, 2, 7, 0, 150]
    assert (found[2].most, found[100].most) == (4, None)
    # One bucket: all three share both rows with two others; who has a row of their own does not.
    assert [one.own for one in found.values()] == [0, 0, 0, 0, 1]
    assert [one.twins for one in found.values()] == [1, 1, 1, 0, 0]
    assert [one.others for one in found.values()] == [2.0, 2.0, 2.0, 0.0, 0.0]


def test_sharing_is_as_by_a_slow_loop():
    names = [f"id{n}" for n in range(40)]
    placement = Placement(("id3", "id5"), 24)
    rows = {name: sorted(placement.rows([name])[0].tolist()) for name in names}
    hashed = [name for name in names if name not in placement.exclusive]
    shared = twins = 0
    others = []
    for name in hashed:
        beside = [other for other in hashed if other != name]
        shared += any(set(rows[name]) & set(rows[other]) for other in beside)
        twins += any(rows[name] == rows[other] for other in beside)
        others += [sum(row in rows[other] for other in beside) for row in rows[name]]
    [first, *rest] = collisions(names, placement)
    assert (first.ids, first.own, first.shared, first.twins) == (40, 2, shared, twins)
    assert first.others == pytest.approx(np.mean(others))
    assert all(one.ids == 0 for one in rest)
    assert shared > twins


def test_as_many_share_as_chance_says():
    """1,000 ids in 1,000 buckets: 2 others in a row on average, and about one pair of twins."""
    [first, *_] = collisions([f"id{n}" for n in range(1000)], Placement((), 1000))
    assert first.others == pytest.approx(2.0, abs=0.2)
    assert first.twins <= 10
    assert collisions([], Placement((), 4))[0].ids == 0
