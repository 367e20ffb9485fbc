import dataclasses
import itertools

import numpy as np
import pytest
import torch

from graphsvc.artifact import ArtifactStore
from kge.blocks import BlockSampler
from kge.bundle import seal_bundle
from kge.config import TransRAConfig
from kge.errors import TooFewTriples
from kge.model import build_model, parts
from kge.train import Trained, _Learner, train
from kge.triples import graph_of_snapshot

#: Users of two tastes: u0-u3 click f0-f3, u4-u7 click f4-f7, each without one film of the taste.
EDGES = [(f"u{u}", "click", f"f{f}") for u in range(8) for f in range(8) if u // 4 == f // 4]
WITHHELD = [(f"u{n}", "click", f"f{n}") for n in range(8)]
EDGES = [edge for edge in EDGES if edge not in WITHHELD]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(8)]
SMALL = TransRAConfig(
    dim=8, relation_dim=8, block=8, epochs=60.0, anchors_per_type=2, nearest_anchors=2
)


def run(snapshot, config) -> tuple[list, Trained]:
    loop, trace = train(snapshot, config), []
    try:
        while True:
            trace.append(next(loop))
    except StopIteration as done:
        return trace, done.value


def test_the_withheld_film_of_ones_own_taste_beats_those_of_the_other(make_snapshot):
    _, trained = run(make_snapshot(EDGES), SMALL)
    row = {name: n for n, name in enumerate(trained.graph.ids)}
    for user, _, film in WITHHELD:
        others = [f"f{n}" for n in range(8) if n // 4 != int(film[1]) // 4]
        triples = torch.tensor([[row[user], 0, row[f]] for f in [film, *others]])
        scores = trained.model.score_hrt(triples)[:, 0]
        assert scores[0] > scores[1:].max()


def test_the_same_seed_gives_the_same_trace_and_another_seed_another(make_snapshot):
    snapshot = make_snapshot(EDGES)
    short = dataclasses.replace(SMALL, epochs=3.0)
    first, second = run(snapshot, short), run(snapshot, short)
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1].arrays().vectors, second[1].arrays().vectors)
    assert run(snapshot, dataclasses.replace(short, seed=1))[0] != first[0]


def test_progress_counts_to_its_total_and_names_the_relation(make_snapshot):
    trace, trained = run(make_snapshot(EDGES), dataclasses.replace(SMALL, epochs=2.0))
    assert [p.step for p in trace] == list(range(1, trace[0].total + 1))
    assert {p.note for p in trace} == {"click", "genre"}
    assert all(np.isfinite(p.loss) for p in trace)
    assert np.isfinite(trained.loss)


def test_a_caller_may_stop_early(make_snapshot):
    assert len(list(itertools.islice(train(make_snapshot(EDGES), SMALL), 5))) == 5


def test_a_snapshot_without_edges_is_refused(make_snapshot):
    with pytest.raises(TooFewTriples):
        next(train(make_snapshot([], [("u1", "f1", 3, 0)]), SMALL))


@pytest.mark.parametrize("loss", ["softmax", "margin"])
def test_a_step_equals_a_dense_twin_and_moves_nothing_else(make_snapshot, loss):
    """The slow twin: PyKEEN's score of every pair, a dense gradient, row-wise Adagrad by hand."""
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(SMALL, dropout=0.0, prior_share=0.0, loss=loss, margin=2.0)
    fast, slow = build_model(graph, config), build_model(graph, config)
    block = next(iter(BlockSampler(graph, config)))
    relation = 2 * (block.side % 2) + block.side // 2
    every = [[h, relation, c] for h in block.head.tolist() for c in block.candidates.tolist()]
    table = slow.score_hrt(torch.tensor(every)).view(len(block.head), -1)
    target = torch.from_numpy(block.tail - block.candidates[0])
    if loss == "softmax":
        expected = torch.nn.functional.cross_entropy(table, target)
    else:
        rows = torch.arange(len(target))
        apart = (2.0 + table - table[rows, target][:, None]).relu()
        other = torch.ones_like(apart)
        other[rows, target] = 0.0
        expected = (apart * other).sum() / other.sum()
    expected.backward()
    found = _Learner(graph, parts(fast), config).learn(block, 1.0)
    assert found == pytest.approx(expected.item(), rel=1e-5)
    for new, old, rate in zip(
        parameters(fast), parameters(slow), (0.3, 0.0, 0.0, 0.0, 0.0), strict=True
    ):
        gradient = old.grad
        if rate:
            state = gradient.square().mean(dim=1, keepdim=True)
            step = config.learning_rate * gradient / (state.sqrt() + 1e-10)
        else:
            size = config.learning_rate if old.ndim == 1 else config.relation_learning_rate
            step = size * gradient / (gradient.abs() + 1e-10)
        moved = gradient.abs() > 1e-6 if not rate else (gradient.abs() > 1e-6).any(1, True)
        moved = moved.expand_as(gradient)
        torch.testing.assert_close(new[moved], (old - step)[moved], rtol=1e-3, atol=1e-4)
        still = (gradient == 0) if not rate else (gradient == 0).all(1, True).expand_as(gradient)
        torch.testing.assert_close(new[still], old[still], rtol=0, atol=1e-7)


def parameters(model):
    part = parts(model)
    tables = [part.vectors.own, part.vectors.anchors, part.translations.values]
    return [*tables, part.matrices.values, part.bias.values]


def test_the_bundle_scores_as_the_model_does_in_both_directions(
    make_snapshot, store: ArtifactStore
):
    snapshot = make_snapshot(EDGES)
    _, trained = run(snapshot, dataclasses.replace(SMALL, epochs=3.0, settle=False))
    arrays = trained.arrays()
    dials = dataclasses.asdict(trained.config)
    bundle = seal_bundle(store, snapshot.digest, arrays, dials=dials, metrics={})
    assert bundle.rows("film", ["f3"])[0] == list(trained.graph.ids).index("f3")
    for side, relation in ((0, 0), (1, 2), (2, 1), (3, 3)):
        head, tails = 5, np.array([0, 9, 13])
        found = bundle.score_tails(side, bundle.vectors[[head]], tails)[0]
        triples = torch.tensor([[head, relation, int(t)] for t in tails])
        expected = trained.model.score_hrt(triples)[:, 0].detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    prior = trained.model.entity_representations[0].anchors[2].detach().numpy()
    np.testing.assert_array_equal(bundle.prior("user"), prior)
