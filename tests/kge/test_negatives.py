from collections import Counter

import numpy as np

from kge.config import TransRAConfig
from kge.negatives import Pools
from kge.triples import graph_of_snapshot

EDGES = [("u1", "click", f"f{n}") for n in range(1, 7)]
EDGES += [("u2", "click", "f1"), ("f1", "genre", "t1"), ("f2", "genre", "t1")]
EDGES += [("f9", "genre", "t2")]
CLICK, GENRE, CLICKED_BY = 0, 1, 2


def pools_of(make_snapshot, **dials: object):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    return graph, Pools(graph, TransRAConfig(**dials))


def drawn_for(pools: Pools, side: int, seed: int = 0):
    return pools.draw(pools.of_side[side], np.random.default_rng(seed))


def test_they_come_from_the_tail_type_and_a_small_type_is_taken_whole(make_snapshot):
    graph, pools = pools_of(make_snapshot, negatives=2)
    users = drawn_for(pools, CLICKED_BY)
    assert graph.ids[users.rows].tolist() == ["u1", "u2"]
    assert users.contiguous
    assert not users.log_expected.any()
    films = drawn_for(pools, CLICK)
    assert not films.contiguous
    assert 1 <= len(films.rows) <= 2
    assert all(name.startswith("f") for name in graph.ids[films.rows])


def test_they_may_come_from_what_the_relation_was_seen_with(make_snapshot):
    graph, pools = pools_of(make_snapshot, candidates="range")
    clicked = drawn_for(pools, CLICK)
    assert graph.ids[clicked.rows].tolist() == [f"f{n}" for n in range(1, 7)]


def test_or_be_any_entity(make_snapshot):
    graph, pools = pools_of(make_snapshot, candidates="any")
    assert len(drawn_for(pools, GENRE).rows) == graph.entity_count
    assert len(set(pools.of_side)) == 1


def test_each_is_drawn_as_often_as_it_is_said(make_snapshot):
    """7,000 draws of two: an entity of probability q is there with chance 1 - (1 - q)^2."""
    graph, pools = pools_of(make_snapshot, negatives=2, negative_power=1.0)
    seen: Counter[int] = Counter()
    times = 7000
    for seed in range(times):
        found = drawn_for(pools, CLICK, seed)
        assert (np.diff(found.rows) > 0).all()
        seen.update(found.rows.tolist())
        mass = graph.degree[:7] + 1.0
        chance = 1 - (1 - mass / mass.sum()) ** 2
        np.testing.assert_allclose(np.exp(found.log_expected), chance[found.rows], rtol=1e-5)
    for row in range(7):
        error = np.sqrt(chance[row] * (1 - chance[row]) / times)
        assert abs(seen[row] / times - chance[row]) < 5 * error


def test_heads_meet_their_own_queries_where_a_pool_that_is_drawn_from_has_them(make_snapshot):
    graph, pools = pools_of(make_snapshot, negatives=2)
    user = graph.ids.tolist().index("u1")
    heads = np.array([5, 3, 5, user])
    assert pools.tempted(pools.of_side[CLICK], heads).tolist() == [True, True, True, False]
    assert not pools.tempted(pools.of_side[CLICKED_BY], heads).any(), "taken whole"


def test_the_weighted_sum_over_the_drawn_estimates_the_sum_over_all(make_snapshot):
    _, pools = pools_of(make_snapshot, negatives=3, negative_power=1.0)
    values = np.exp(np.linspace(-1, 1, 7))
    sums = []
    for seed in range(4000):
        found = drawn_for(pools, CLICK, seed)
        sums.append((values[found.rows] / np.exp(found.log_expected)).sum())
    error = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - values.sum()) < 4 * error


def test_early_in_a_training_fewer_are_drawn_where_all_can_be_taken(make_snapshot):
    _, pools = pools_of(make_snapshot, early_share=0.5, early_negatives=2)
    films = pools.of_side[CLICK]
    assert drawn_for(pools, CLICK).contiguous
    pools.early = True
    drawn = drawn_for(pools, CLICK)
    assert not drawn.contiguous
    assert 1 <= len(drawn.rows) <= 2
    assert pools.tempted(films, np.array([5])).all()
    assert drawn_for(pools, CLICKED_BY).contiguous, "two are few enough to be taken whole"
    assert pools.most() == 7
    pools.early = False
    assert not pools.tempted(films, np.array([5])).any()


def test_early_draws_are_no_more_than_later_ones(make_snapshot):
    _, pools = pools_of(make_snapshot, early_share=0.5, negatives=1, early_negatives=3)
    pools.early = True
    assert len(drawn_for(pools, CLICK).rows) == 1
