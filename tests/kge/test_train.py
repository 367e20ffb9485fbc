"""A training of a graph: what it learns, what it tells on its way, and what its bundle says."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from loops import finish
from tastes import ARMS, EDGES, SMALL, WITHHELD

from graphsvc.artifact import ArtifactStore
from kge.bundle import seal_bundle
from kge.dials import Dials
from kge.errors import TooFewTriples
from kge.frame import previous_of
from kge.learner import Learner
from kge.model import parts
from kge.train import Trained, Training, begin, train_graph
from kge.triples import graph_of_snapshot


def run(snapshot, config) -> tuple[list, Trained]:
    return finish(train_graph(graph_of_snapshot(snapshot), config))


def test_the_withheld_film_of_ones_own_taste_beats_those_of_the_other(make_snapshot):
    _, trained = run(make_snapshot(EDGES), SMALL)
    row = {name: n for n, name in enumerate(trained.graph.ids)}
    for user, _, film in WITHHELD:
        others = [f"f{n}" for n in range(8) if n // 4 != int(film[1]) // 4]
        triples = torch.tensor([[row[user], 0, row[f]] for f in [film, *others]])
        scores = trained.models[0].score_hrt(triples)[:, 0]
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


@pytest.fixture
def met(monkeypatch):
    """Of every step of a training the most candidates, and whether all there are were taken."""
    found, learn = [], Learner.learn

    def learned(self, batch, decay, draw):
        pools = batch.candidates.values()
        found.append((max(len(one.rows) for one in pools), all(one.contiguous for one in pools)))
        return learn(self, batch, decay, draw)

    monkeypatch.setattr(Learner, "learn", learned)
    return found


@pytest.mark.parametrize("by_clock", [False, True])
def test_few_negatives_are_met_early_and_all_of_them_later(make_snapshot, met, by_clock):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(SMALL, epochs=4.0, early_share=0.25, early_negatives=2)
    share = (lambda step: step / 40) if by_clock else None
    total = len(list(train_graph(graph, config, share=share)))
    assert total == len(met)
    assert total == 40 or not by_clock
    early = -(-total // 4)
    assert max(most for most, _ in met[:early]) <= 2
    assert not all(whole for _, whole in met[:early])
    assert max(most for most, _ in met[early:]) == 8
    assert all(whole for _, whole in met[early:])


def test_a_refresh_is_never_early(make_snapshot, met, store):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(SMALL, epochs=4.0, early_share=0.5, early_negatives=2)
    _, trained = run(make_snapshot(EDGES), config)
    bundle = seal_bundle(store, "1" * 64, trained.arrays(), dials={}, metrics={})
    met.clear()
    for _ in Training(graph, config, previous_of(bundle, graph)).steps():
        pass
    assert all(whole for _, whole in met)


def test_a_caller_may_stop_early(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    assert len(list(itertools.islice(train_graph(graph, SMALL), 5))) == 5


def test_a_snapshot_without_edges_is_refused(make_snapshot):
    with pytest.raises(TooFewTriples):
        begin(make_snapshot([], [("u1", "f1", 3, 0)]), Dials())


def test_dropped_and_replaced_heads_still_learn_the_planted_taste(make_snapshot):
    config = dataclasses.replace(SMALL, dropout=0.3, prior_share=0.2, projected_dropout=0.2)
    trace, _ = run(make_snapshot(EDGES), config)
    assert np.mean([p.loss for p in trace[-20:]]) < 0.7 * np.mean([p.loss for p in trace[:20]])


def test_the_caller_may_end_a_training_by_its_own_clock(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    trace = list(train_graph(graph, SMALL, share=lambda step: step / 7))
    assert [p.step for p in trace] == list(range(1, 8))


@pytest.mark.parametrize("arm", ARMS)
def test_the_bundle_scores_as_the_model_does_in_both_directions(
    make_snapshot, store: ArtifactStore, arm: str
):
    snapshot = make_snapshot(EDGES)
    config = dataclasses.replace(SMALL, epochs=3.0, settle=False, **ARMS[arm])
    _, trained = run(snapshot, config)
    arrays = trained.arrays()
    dials = dataclasses.asdict(trained.config)
    bundle = seal_bundle(store, snapshot.digest, arrays, dials=dials, metrics={})
    assert bundle.rows("film", ["f3"])[0] == list(trained.graph.ids).index("f3")
    for side in range(4):
        head, tails = 5, np.array([0, 9, 13])
        found = bundle.score_tails(side, bundle.vectors[[head]], tails)[0]
        relation = 2 * (side % 2) + side // 2 if config.reciprocal else side % 2
        triples = torch.tensor([[head, relation, int(t)] for t in tails])
        if side >= 2 and not config.reciprocal:
            triples = triples.flip(1)
        expected = trained.models[0].score_hrt(triples)[:, 0].detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    prior = trained.models[0].entity_representations[0].anchors[2].detach().numpy()
    np.testing.assert_array_equal(bundle.prior("user"), prior)


def test_the_bundle_says_on_whom_a_vector_leans(make_snapshot):
    _, trained = run(make_snapshot(EDGES), dataclasses.replace(SMALL, epochs=2.0, settle=False))
    arrays, vectors = trained.arrays(), parts(trained.models[0]).vectors
    assert arrays.anchor_rows is not None
    assert arrays.anchor_weights is not None
    gate = arrays.degree / (arrays.degree + trained.config.gate_edges)
    np.testing.assert_allclose(arrays.anchor_weights.sum(axis=1), 1 - gate, rtol=1e-5)
    for row, leaned in enumerate(arrays.anchor_rows):
        kind = trained.graph.type_code[row]
        assert all(n == -1 or trained.graph.type_code[n] == kind for n in leaned.tolist())
    # composed by hand from the own part and what lies behind the anchors it names
    anchor_of = {int(n): a for a, n in enumerate(vectors.entity.tolist()) if n >= 0}
    row = int(np.flatnonzero((arrays.anchor_rows >= 0).all(axis=1))[0])
    leaned = sum(
        float(share) * vectors.anchors[anchor_of[int(n)]]
        for n, share in zip(arrays.anchor_rows[row], arrays.anchor_weights[row], strict=True)
    )
    expected = gate[row] * vectors.own[row] + leaned
    np.testing.assert_allclose(arrays.vectors[row], expected.detach(), rtol=1e-4, atol=1e-6)
