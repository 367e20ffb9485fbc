from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from jaxtyping import Float, Int
from loops import finish
from numpy.typing import NDArray
from pykeen.datasets import UMLS
from pykeen_ranks import pykeen_ranks

from graphsvc.artifact import ArtifactStore
from kge.arrays import BundleArrays
from kge.bundle import Bundle, seal_bundle
from kge.config import TransRAConfig
from kge.errors import BrokenScores, ShapeMismatch
from kge.evaluate import link_prediction
from kge.train import train_graph
from kge.triples import graph_of_factory


def test_it_equals_pykeens_evaluator_on_umls():
    data = UMLS()
    config = TransRAConfig(dim=8, relation_dim=8, epochs=3.0, block=256)
    trained = finish(train_graph(graph_of_factory(data.training), config))[1]
    train, valid, test = (
        part.mapped_triples.numpy() for part in (data.training, data.validation, data.testing)
    )
    found = link_prediction(trained.arrays(), test, [train, valid])
    expected = pykeen_ranks(trained.models[0], test, [train, valid], batch=128)
    for ranks, theirs in zip((found.head_rank, found.tail_rank), expected, strict=True):
        # A float's last bit may swap two neighbors.
        assert (ranks != theirs).mean() < 0.005
        assert np.abs(ranks - theirs).max() <= 1.5
    assert found.mrr > 0.08  # learned something: a random order of 135 has .04


@dataclass
class Table:
    """Scores that are written down: side -> [N, N]. Remembers how much was asked for at once."""

    sides: list[np.ndarray]
    asked: list[int] = field(default_factory=list)

    @property
    def entity_count(self) -> int:
        return self.sides[0].shape[1]

    @property
    def relation_count(self) -> int:
        return len(self.sides) // 2

    @property
    def candidate_bytes(self) -> int:
        return 0

    def scores(
        self, side: int, heads: Int[np.ndarray, "b"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        self.asked.append(4 * len(heads) * (last - first))
        return self.sides[side][heads, first:last]


def random_table(count: int, relations: int, levels: int) -> tuple[Table, NDArray[np.int64]]:
    """Scores of few levels, so many tie; and 60 triples."""
    draw = np.random.default_rng(5)
    sides = [
        draw.integers(0, levels, (count, count)).astype(np.float32) for _ in range(2 * relations)
    ]
    ends = draw.integers(0, count, (60, 2))
    triples = np.stack([ends[:, 0], draw.integers(0, relations, 60), ends[:, 1]], axis=1)
    return Table(sides), triples


@pytest.mark.parametrize("memory", [1, 16 * 4 * 5, 1 << 20])
@pytest.mark.parametrize("levels", [3, 1000])
def test_ranks_equal_a_slow_loop_at_any_budget(memory, levels):
    table, triples = random_table(12, 2, levels)
    known = np.concatenate([triples[:40], np.roll(triples, 1, axis=0)])
    found = link_prediction(table, triples, [known], memory=memory)
    every = {tuple(row) for row in [*known.tolist(), *triples.tolist()]}
    for n, (head, relation, tail) in enumerate(triples.tolist()):
        rest = [t for t in range(12) if t == tail or (head, relation, t) not in every]
        assert found.tail_rank[n] == slow_rank(table.sides[relation][head], tail, rest)
        rest = [h for h in range(12) if h == head or (h, relation, tail) not in every]
        assert found.head_rank[n] == slow_rank(table.sides[relation + 2][tail], head, rest)


def slow_rank(scores: np.ndarray, own: int, rest: list[int]) -> float:
    above = sum(scores[c] > scores[own] for c in rest)
    equal = sum(scores[c] == scores[own] for c in rest)
    return above + (equal + 1) / 2


def test_a_head_with_very_many_tails_is_counted_by_sorting_as_others_are():
    draw = np.random.default_rng(1)
    table = Table([draw.integers(0, 9, (80, 80)).astype(np.float32) for _ in range(2)])
    hub = np.stack([np.zeros(50, np.int64), np.zeros(50, np.int64), np.arange(20, 70)], axis=1)
    found = link_prediction(table, hub, [])
    rest = {t for t in range(80) if not 20 <= t < 70}
    for n, tail in enumerate(range(20, 70)):
        assert found.tail_rank[n] == slow_rank(table.sides[0][0], tail, sorted(rest | {tail}))


@pytest.mark.parametrize("memory", [16 * 4, 4000, 1 << 20])
def test_no_more_scores_are_held_than_the_budget_allows(memory):
    table, triples = random_table(300, 1, 50)
    link_prediction(table, triples, [], memory=memory)
    assert max(table.asked) <= memory


def test_a_head_and_relation_is_scored_once_for_all_its_tails():
    table, _ = random_table(10, 1, 50)
    triples = np.array([[0, 0, 1], [0, 0, 2], [0, 0, 3], [4, 0, 3]])
    link_prediction(table, triples, [])
    # Two heads for tails, three tails for heads, ten candidates, four bytes.
    assert table.asked == [2 * 10 * 4, 3 * 10 * 4]


def test_a_relation_that_was_never_trained_has_the_middle_rank():
    table, _ = random_table(10, 1, 50)
    found = link_prediction(table, np.array([[0, 1, 2], [0, 0, 2]]), [np.array([[0, 1, 5]])])
    assert found.tail_rank[0] == 5.0  # (0, 1, 5) is known: 9 candidates are left, all equal
    assert found.head_rank[0] == 5.5  # 10 candidates


def test_entities_without_an_edge_stay_in_and_equal_ones_tie(arrays: BundleArrays):
    """Rows 2, 5 and 9 hold the same vector and bias, as entities that lean on one prior do."""
    vectors, bias = arrays.vectors.copy(), arrays.bias.copy()
    vectors[[2, 5, 9]], bias[[2, 5, 9]] = vectors[0] * np.float32(1.7), 0.25
    same = replace(arrays, vectors=vectors, bias=bias)
    asked = np.array([[h, 0, t] for h in range(12) for t in (2, 5, 9)])
    for memory in (1 << 20, 16 * 4 * 7):
        for triple in asked:
            ranks = [
                link_prediction(same, np.array([[triple[0], 0, t]]), [], memory=memory).tail_rank[0]
                for t in (2, 5, 9)
            ]
            assert len(set(ranks)) == 1
            assert ranks[0] % 1 == 0  # three equal ones: the middle of three places


def test_a_bundle_and_its_facets_are_ranked_by_their_own_scores(
    arrays: BundleArrays, split_bundle: Bundle, store: ArtifactStore
):
    triples = np.array([[7, 0, 1], [8, 0, 3], [11, 0, 6]])
    for facet in (
        seal_bundle(store, "0" * 64, arrays, dials={}, metrics={}),
        split_bundle,
        split_bundle.facet("clicks"),
    ):
        found = link_prediction(facet, triples, [])
        for n, (head, relation, tail) in enumerate(triples.tolist()):
            scores = facet.score_vectors(
                relation, facet.vectors[[head]], facet.vectors, facet.bias
            )[0]
            assert found.tail_rank[n] == 1 + (scores > scores[tail]).sum()


def test_scores_that_are_no_numbers_are_refused():
    table, triples = random_table(10, 1, 50)
    table.sides[0][:, 3] = np.nan
    with pytest.raises(BrokenScores):
        link_prediction(table, triples, [])


def test_triples_that_do_not_fit_are_refused(arrays: BundleArrays):
    with pytest.raises(ShapeMismatch, match="at least one"):
        link_prediction(arrays, np.empty((0, 3), np.int64), [])
    with pytest.raises(ShapeMismatch, match="0 to 11, received 0 to 12"):
        link_prediction(arrays, np.array([[0, 0, 12]]), [])
