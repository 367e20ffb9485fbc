import itertools
import math
from collections import Counter

import numpy as np
import pytest

from kge.blocks import BlockSampler, popularity, shares
from kge.config import TransRAConfig
from kge.dials import Dials
from kge.policy import choose
from kge.triples import graph_of_snapshot

EDGES = [("u1", "click", f"f{n}") for n in range(1, 7)]
EDGES += [("u2", "click", "f1"), ("f1", "genre", "t1"), ("f2", "genre", "t1")]


def batches(sampler: BlockSampler, number: int):
    return list(itertools.islice(iter(sampler), number))


def pairs(block) -> list[tuple[int, int]]:
    return list(zip(block.head[block.row].tolist(), block.tail.tolist(), strict=True))


def test_every_edge_of_a_side_is_seen_before_any_is_seen_again(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    seen = {side: [] for side in range(4)}
    for batch in batches(BlockSampler(graph, TransRAConfig(block=3, batch=4)), 80):
        for block in batch.blocks:
            seen[block.side] += pairs(block)
    for side, found in seen.items():
        size = 7 if side % 2 == 0 else 2
        ends = (graph.head, graph.tail) if side < 2 else (graph.tail, graph.head)
        own = graph.relation == side % 2
        expected = set(zip(ends[0][own].tolist(), ends[1][own].tolist(), strict=True))
        assert len(expected) == size
        assert len(found) > 2 * size
        for start in range(0, len(found) - size + 1, size):
            assert set(found[start : start + size]) == expected


def test_blocks_and_batches_keep_to_their_sizes(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    for batch in batches(BlockSampler(graph, TransRAConfig(block=2, batch=6)), 60):
        sizes = [len(block.row) for block in batch.blocks]
        assert max(sizes) <= 4  # a block's share, and half a unit too many on both sides
        assert sum(sizes) <= 12
        assert {block.pool for block in batch.blocks} == set(batch.candidates)


def test_all_tails_of_a_head_are_known_even_where_a_block_holds_some(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    u1 = list(graph.ids).index("u1")
    cut = 0
    for batch in batches(BlockSampler(graph, TransRAConfig(block=2, batch=4)), 40):
        for block in batch.blocks:
            if block.side == 0:
                row, tail = block.known
                for query in np.flatnonzero(block.head == u1).tolist():
                    assert sorted(tail[row == query].tolist()) == [0, 1, 2, 3, 4, 5]
                    cut += (block.row == query).sum() < 6
    assert cut


def test_the_walk_goes_on_where_it_was(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = TransRAConfig(block=2, batch=3, negatives=1)
    whole = batches(BlockSampler(graph, config), 30)
    first = BlockSampler(graph, config)
    batches(first, 13)
    second = BlockSampler(graph, config)
    second.restore(first.state())
    for left, right in zip(whole[13:], batches(second, 17), strict=True):
        assert [pairs(block) for block in left.blocks] == [pairs(block) for block in right.blocks]
        for pool, candidates in left.candidates.items():
            np.testing.assert_array_equal(candidates.rows, right.candidates[pool].rows)


def test_shares_follow_the_formula(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    even = TransRAConfig(behavior_share=0.0, tempering=1.0)
    np.testing.assert_allclose(shares(graph, even), [7 / 9, 2 / 9])
    root = TransRAConfig(behavior_share=0.0, tempering=0.5)
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


@pytest.mark.parametrize("behavior", [0.0, 0.8])
def test_an_epoch_sees_every_click_once_in_each_direction(make_snapshot, behavior):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = TransRAConfig(block=4, batch=4, epochs=500.0, behavior_share=behavior)
    sampler, seen = BlockSampler(graph, config), Counter()
    for batch in batches(sampler, sampler.total):
        for block in batch.blocks:
            seen[block.side] += len(block.row)
    for side in (0, 2):
        assert seen[side] / 7 == pytest.approx(500, rel=0.1)
    # with 0.8 for clicks, genres get a quarter of their 7 in each direction
    genres = 7 / 4 if behavior else 2
    for side in (1, 3):
        assert seen[side] / 500 == pytest.approx(genres, rel=0.15)


@pytest.mark.parametrize("clicks", [40, 400, 4_000])
def test_a_small_graph_is_not_seen_more_often_than_epochs_say(make_snapshot, clicks: int):
    """With the dials that follow from it: blocks of its small batches, not of 1,024 edges."""
    random = np.random.default_rng(0)
    drawn = random.choice(200 * 100, clicks, replace=False)
    edges = [(f"u{n // 100}", "click", f"f{n % 100}") for n in drawn.tolist()]
    graph = graph_of_snapshot(make_snapshot([*edges, (edges[0][2], "genre", "t1")]))
    config = choose(graph, Dials()).config
    sampler, seen = BlockSampler(graph, config), Counter()
    for batch in batches(sampler, sampler.total):
        for block in batch.blocks:
            seen[block.side] += len(block.row)
    for side in (0, 2):
        assert seen[side] / clicks == pytest.approx(config.epochs, rel=0.1)
