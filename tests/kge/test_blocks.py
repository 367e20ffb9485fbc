import math
from collections import Counter

import numpy as np
import pytest

from kge.blocks import Block, BlockSampler, popularity, shares
from kge.config import TransRAConfig
from kge.triples import graph_of_snapshot

EDGES = [("u1", "click", f"f{n}") for n in range(1, 7)]
EDGES += [("u2", "click", "f1"), ("f1", "genre", "t1"), ("f2", "genre", "t1")]


def test_every_edge_of_a_side_is_seen_before_any_is_seen_again(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    seen = {side: [] for side in range(4)}
    for block in BlockSampler(graph, TransRAConfig(block=3, epochs=40.0)):
        seen[block.side] += list(zip(block.head.tolist(), block.tail.tolist(), strict=True))
    for side, pairs in seen.items():
        size = 7 if side % 2 == 0 else 2
        ends = (graph.head, graph.tail) if side < 2 else (graph.tail, graph.head)
        own = graph.relation == side % 2
        expected = set(zip(ends[0][own].tolist(), ends[1][own].tolist(), strict=True))
        assert len(expected) == size
        for start in range(0, len(pairs) - size + 1, size):
            assert set(pairs[start : start + size]) == expected


def test_negatives_come_from_the_tail_type_of_the_relation(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = TransRAConfig(block=3, epochs=10.0, negatives=2)
    for block in BlockSampler(graph, config):
        kind = graph.tail_type(block.side)
        assert kind.start <= block.candidates.min() <= block.candidates.max() < kind.stop
        # six films are more than twice two negatives: drawn; two users and a thing: all
        assert len(block.candidates) == (2 if kind.name == "film" else kind.stop - kind.start)


def test_drawn_candidates_carry_their_expected_count(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = TransRAConfig(block=3, epochs=3000.0, negatives=2, negative_power=1.0)
    drawn, blocks = Counter(), 0
    for block in BlockSampler(graph, config):
        if graph.tail_type(block.side).name == "film":
            drawn.update(block.candidates.tolist())
            blocks += 1
            expected = dict(zip(block.candidates, np.exp(block.log_expected), strict=True))
            for row, value in expected.items():
                mass = graph.degree[:6] + 1.0
                assert value == pytest.approx(2 * mass[row] / mass.sum(), rel=1e-5)
    for row in range(6):
        mass = graph.degree[:6] + 1.0
        chance = mass[row] / mass.sum()
        error = math.sqrt(2 * chance * (1 - chance) / blocks)
        assert abs(drawn[row] / blocks - 2 * chance) < 5 * error


def test_collisions_are_all_equal_pairs():
    candidates, tail = np.array([4, 7, 4, 9, 1]), np.array([9, 4, 5, 4])
    block = Block(0, tail, tail, np.ones(4), candidates, np.zeros(5))
    found = sorted(zip(*(column.tolist() for column in block.collisions()), strict=True))
    assert found == [(0, 3), (1, 0), (1, 2), (3, 0), (3, 2)]


def test_shares_follow_the_formula(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    even = TransRAConfig(behavior_share=None, tempering=1.0)
    np.testing.assert_allclose(shares(graph, even), [7 / 9, 2 / 9])
    root = TransRAConfig(behavior_share=None, tempering=0.5)
    total = math.sqrt(7) + math.sqrt(2)
    np.testing.assert_allclose(shares(graph, root), [math.sqrt(7) / total, math.sqrt(2) / total])
    half = TransRAConfig(behavior_share=0.5)
    np.testing.assert_allclose(shares(graph, half), [0.5, 0.5])


def test_popularity_is_the_share_of_positives_relative_to_the_type(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    found = popularity(graph, TransRAConfig(behavior_share=0.5))
    # a film is a tail of clicks (7 edges, half of the positives) and, backwards, of genres
    # (2 edges, the other half): f1 2/14 + 1/4, f2 1/14 + 1/4, the other four 1/14
    films = np.array([2 / 14 + 1 / 4, 1 / 14 + 1 / 4, *[1 / 14] * 4])
    np.testing.assert_allclose(found[:6], films / films.mean())
    # users backwards: u1 6/14, u2 1/14
    np.testing.assert_allclose(found[-2:], [12 / 7, 2 / 7])


def test_an_epoch_sees_every_click_once_in_each_direction(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    seen = Counter()
    for block in BlockSampler(graph, TransRAConfig(block=4, epochs=2000.0)):
        seen[block.side] += len(block.head)
    for side in (0, 2):
        assert seen[side] / 7 == pytest.approx(2000, rel=0.1)
