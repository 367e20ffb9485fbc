"""What stands against a pair."""

import numpy as np
import pytest
from faceted import camps, graph_of

from ranking.pretraining.batches import Batches, Positives
from ranking.pretraining.config import PretrainingConfig
from ranking.pretraining.ranges import ranges


def config_of(**dials) -> PretrainingConfig:
    return PretrainingConfig(**{"batch": 16, "random_negatives": 8, "epochs": 1.0} | dials)


def test_ranges_stand_one_after_the_other():
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]


def test_known_pairs_are_found_among_candidates_with_repetitions():
    graph = graph_of([(5, 0, 0), (5, 1, 2), (6, 0, 1)], films=4, genres=1, users=2)
    found = Positives(graph).among(np.array([5, 6, 5]), np.array([2, 0, 1, 0, 3]))
    assert found.astype(int).tolist() == [[1, 1, 0, 1, 0], [0, 0, 1, 0, 0], [1, 1, 0, 1, 0]]


def test_among_is_a_slow_loop_over_pairs():
    graph, random = camps(), np.random.default_rng(0)
    known = set(
        zip(graph.head[graph.pairs].tolist(), graph.tail[graph.pairs].tolist(), strict=True)
    )
    heads, candidates = random.integers(22, 62, 30), random.integers(0, 20, 50)
    slow = [[(h, c) in known for c in candidates.tolist()] for h in heads.tolist()]
    assert Positives(graph).among(heads, candidates).tolist() == slow


def test_a_pass_has_every_pair_once_and_its_own_tail_is_taken():
    graph = camps()
    seen = []
    for batch in Batches(graph, config_of()):
        assert float(batch.weights.sum()) == pytest.approx(1.0)
        assert graph.head[batch.edges].tolist() == batch.heads.tolist()
        own = batch.candidates[0]
        assert own.rows.tolist() == batch.tails.tolist()
        assert own.taken.diagonal().all()
        seen += batch.edges.tolist()
    assert sorted(seen) == graph.pairs.tolist()


def test_a_tail_of_the_batch_is_expected_as_often_as_it_is_popular():
    """Four pairs, three with film 0: expected 3 * 3/4 and 3 * 1/4 among three others."""
    triples = [(4, 0, 0), (5, 0, 0), (6, 0, 0), (4, 0, 1)]
    graph = graph_of(triples, films=3, genres=1, users=3)
    [batch] = Batches(graph, config_of(batch=4))
    expected = dict(
        zip(batch.tails.tolist(), batch.candidates[0].log_expected.tolist(), strict=True)
    )
    assert expected == pytest.approx({0: np.log(9 / 4), 1: np.log(3 / 4)}, rel=1e-6)


def test_few_tails_are_all_taken_and_many_are_drawn():
    graph = camps()
    batch = next(iter(Batches(graph, config_of(random_negatives=20))))
    everyone = batch.candidates[1]
    assert everyone.rows.tolist() == list(range(20))
    assert everyone.log_expected.tolist() == [0.0] * 20
    drawn = next(iter(Batches(graph, config_of(random_negatives=5)))).candidates[1]
    assert len(drawn.rows) == 5
    assert drawn.log_expected.tolist() == pytest.approx([np.log(5 / 20)] * 5)


def test_half_a_pass_has_half_of_the_batches():
    graph = camps()
    whole = Batches(graph, config_of())
    assert whole.total == -(-len(graph.pairs) // 16)
    half = Batches(graph, config_of(epochs=0.5))
    assert len(list(half)) == half.total == round(whole.total / 2)
