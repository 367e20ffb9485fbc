import dataclasses
import itertools

import numpy as np
import pytest
import torch

from graphsvc.artifact import ArtifactStore
from kge.blocks import BlockSampler
from kge.bundle import seal_bundle
from kge.config import TransRAConfig
from kge.dials import Dials
from kge.errors import TooFewTriples
from kge.learner import Learner
from kge.model import build_model, parts
from kge.train import Trained, begin, train_graph
from kge.triples import graph_of_snapshot

#: Users of two tastes: u0-u3 click f0-f3, u4-u7 click f4-f7, each without one film of the taste.
EDGES = [(f"u{u}", "click", f"f{f}") for u in range(8) for f in range(8) if u // 4 == f // 4]
WITHHELD = [(f"u{n}", "click", f"f{n}") for n in range(8)]
EDGES = [edge for edge in EDGES if edge not in WITHHELD]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(8)]
SMALL = TransRAConfig(
    dim=8, relation_dim=8, block=8, batch=8, epochs=60.0, anchors_per_type=2, nearest_anchors=2
)


def run(snapshot, config) -> tuple[list, Trained]:
    loop, trace = train_graph(graph_of_snapshot(snapshot), config), []
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


def test_a_caller_may_stop_early(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    assert len(list(itertools.islice(train_graph(graph, SMALL), 5))) == 5


def test_a_snapshot_without_edges_is_refused(make_snapshot):
    with pytest.raises(TooFewTriples):
        begin(make_snapshot([], [("u1", "f1", 3, 0)]), Dials())


def first_batch(graph, config):
    return next(iter(BlockSampler(graph, config)))


def dense_twin(model, batch, config) -> torch.Tensor:
    """The loss of a batch from PyKEEN's score of single triples."""
    total = sum(float(block.weight.sum()) for block in batch.blocks)
    loss = torch.zeros(())
    for block in batch.blocks:
        relation, flipped = block.side % 2, block.side >= 2
        if config.reciprocal:
            relation, flipped = 2 * relation + int(flipped), False
        candidates = batch.candidates[block.pool].rows.tolist()
        known = {(r, t) for r, t in zip(*(part.tolist() for part in block.known), strict=True)}

        def score(head, tail, relation=relation, flipped=flipped):
            triple = [tail, relation, head] if flipped else [head, relation, tail]
            return model.score_hrt(torch.tensor([triple]))[0, 0]

        for row, tail, weight in zip(block.row, block.tail, block.weight, strict=True):
            head = int(block.head[row])
            rest = [c for c in candidates if (int(row), c) not in known]
            positive = score(head, int(tail))
            negative = torch.stack([score(head, c) for c in rest])
            each = (config.margin + negative - positive).relu().mean()
            if config.loss == "softmax":
                each = torch.cat([positive[None], negative]).logsumexp(0) - positive
            loss = loss + float(weight) / total * each
    return loss


ARMS = {
    "all": {},
    "own tails": {"tails": "own"},
    "still tails": {"tails": "still"},
    "low rank": {"projection": "low_rank", "projection_rank": 3},
    "blocks": {"projection": "block", "projection_blocks": 2},
    "transposes": {"tails": "still", "inverse": "transpose"},
    "transposed blocks": {
        "tails": "still",
        "inverse": "transpose",
        "projection": "block",
        "projection_blocks": 2,
    },
    "transr": {"gate_edges": 0.0, "bias": False, "reciprocal": False, "loss": "margin"},
    "no reciprocal, own tails": {"bias": False, "reciprocal": False, "tails": "own"},
}


@pytest.mark.parametrize("arm", ARMS)
def test_a_step_equals_a_dense_twin_and_moves_nothing_else(make_snapshot, arm):
    """The slow twin: PyKEEN's score of each pair, a dense gradient, Adagrad's first step."""
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(
        SMALL, dropout=0.0, prior_share=0.0, margin=2.0, batch=20, **ARMS[arm]
    )
    fast, slow = build_model(graph, config), build_model(graph, config)
    batch = first_batch(graph, config)
    assert len(batch.blocks) > 1
    expected = dense_twin(slow, batch, config)
    expected.backward()
    found = Learner(graph, fast, config).learn(batch, 1.0, np.random.default_rng(0))
    assert found == pytest.approx(expected.item(), rel=1e-4)
    compared = 0
    for (name, new), (_, old) in zip(fast.named_parameters(), slow.named_parameters(), strict=True):
        gradient = torch.zeros_like(old) if old.grad is None else old.grad
        of_entities = old is parts(slow).vectors.own or name == parts_bias(slow)
        rate = config.learning_rate if of_entities else config.relation_learning_rate
        if old is parts(slow).vectors.own:
            size = gradient.square().mean(dim=1, keepdim=True).sqrt()
        else:
            size = gradient.abs()
        moved = (size > 1e-6).expand_as(gradient)
        step = rate * gradient / (size + 1e-10)
        torch.testing.assert_close(new[moved], (old - step)[moved], rtol=1e-3, atol=2e-4)
        still = (size == 0).expand_as(gradient)
        torch.testing.assert_close(new[still], old[still], rtol=0, atol=1e-7)
        compared += int(moved.sum())
    assert compared > 50


def parts_bias(model) -> str:
    bias = parts(model).bias
    return next((n for n, p in model.named_parameters() if bias and p is bias.values), "")


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
