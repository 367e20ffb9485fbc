import numpy as np
import pytest
from pykeen.datasets import UMLS
from pykeen.evaluation import RankBasedEvaluator

from graphsvc.artifact import ArtifactStore
from kge.arrays import BundleArrays
from kge.bundle import seal_bundle
from kge.config import TransRAConfig
from kge.errors import ShapeMismatch
from kge.evaluate import link_prediction
from kge.train import train_graph
from kge.triples import graph_of_factory


def finish(loop):
    try:
        while True:
            next(loop)
    except StopIteration as done:
        return done.value


def test_it_equals_pykeens_evaluator_on_umls():
    data = UMLS()
    config = TransRAConfig(dim=8, relation_dim=8, epochs=3.0, block=256)
    trained = finish(train_graph(graph_of_factory(data.training), config))
    train, valid, test = (
        part.mapped_triples for part in (data.training, data.validation, data.testing)
    )
    found = link_prediction(trained.arrays(), test.numpy(), [train.numpy(), valid.numpy()])
    expected = RankBasedEvaluator(clear_on_finalize=True).evaluate(
        model=trained.model,
        mapped_triples=test,
        additional_filter_triples=[train, valid],
        batch_size=128,
        use_tqdm=False,
    )
    # A float's last bit may swap two neighbors among 1,322 ranks.
    assert found.mrr == pytest.approx(expected.get_metric("mrr"), abs=2e-4)
    for k in (1, 3, 10):
        assert found.hits[k] == pytest.approx(expected.get_metric(f"hits@{k}"), abs=2e-3)
    for side, ranks in (("head", found.head_rank), ("tail", found.tail_rank)):
        mean = expected.get_metric(f"{side}.realistic.arithmetic_mean_rank")
        assert ranks.mean() == pytest.approx(mean, abs=5e-3)
    assert found.mrr > 0.08  # learned something: a random order of 135 has .04


def test_ranks_equal_a_slow_loop_with_ties(store: ArtifactStore, arrays: BundleArrays):
    bundle = seal_bundle(store, "0" * 64, arrays, dials={}, metrics={})
    # rows 1 and 2 get equal vectors and bias, so their scores tie
    bundle.vectors[2], bundle.bias[2] = bundle.vectors[1], bundle.bias[1]
    draw = np.random.default_rng(5)
    triples = np.stack(
        [draw.integers(0, 12, 30), draw.integers(0, 2, 30), draw.integers(0, 12, 30)]
    )
    triples = triples.T
    known = triples[draw.permutation(30)[:20]]
    known = np.concatenate([known, np.stack([known[:, 0], known[:, 1], (known[:, 2] + 1) % 12], 1)])
    found = link_prediction(bundle, triples, [known], memory=7 * 12 * 4)
    every = {tuple(row) for row in [*known.tolist(), *triples.tolist()]}
    for n, (head, relation, tail) in enumerate(triples.tolist()):
        forward = bundle.score_tails(relation, bundle.vectors[[head]], np.arange(12))[0]
        rest = [t for t in range(12) if t == tail or (head, relation, t) not in every]
        assert found.tail_rank[n] == slow_rank(forward, tail, rest)
        back = bundle.score_tails(relation + 2, bundle.vectors[[tail]], np.arange(12))[0]
        rest = [h for h in range(12) if h == head or (h, relation, tail) not in every]
        assert found.head_rank[n] == slow_rank(back, head, rest)


def slow_rank(scores: np.ndarray, own: int, rest: list[int]) -> float:
    def above(c: int) -> bool:
        return scores[c] > scores[own] + 1e-5

    def equal(c: int) -> bool:
        return abs(scores[c] - scores[own]) <= 1e-5

    return sum(map(above, rest)) + (sum(map(equal, rest)) + 1) / 2


def test_no_triples_are_refused(arrays: BundleArrays):
    with pytest.raises(ShapeMismatch):
        link_prediction(arrays, np.empty((0, 3), np.int64), [])
