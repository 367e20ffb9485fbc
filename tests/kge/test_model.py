import dataclasses

import pytest
import torch
from pykeen.losses import MarginRankingLoss
from pykeen.nn.modules import TransRInteraction

from kge.config import ConfigError, TransRAConfig
from kge.losses import Collisions, margin_ranking
from kge.model import build_model, clip_rows, parts
from kge.train import block_scores
from kge.triples import Graph, graph_of_snapshot

PLAIN = TransRAConfig(dim=5, relation_dim=3, bias=False, gate_edges=0.0, matrix_gain=0.3)
FULL = TransRAConfig(dim=5, relation_dim=3, anchors_per_type=2, nearest_anchors=2)
EDGES = [(f"u{n}", "click", f"f{m}") for n in range(4) for m in range(n, n + 3)]
EDGES += [(f"f{n}", "genre", f"t{n % 2}") for n in range(6)]


@pytest.fixture
def graph(make_snapshot) -> Graph:
    return graph_of_snapshot(make_snapshot(EDGES))


def stirred(graph: Graph, config: TransRAConfig):
    """A model whose every parameter is random, so that no term hides behind a zero."""
    model = build_model(graph, config)
    draw = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
    return model


def some_triples(graph: Graph) -> torch.Tensor:
    draw = torch.Generator().manual_seed(3)
    ends = torch.randint(graph.entity_count, (40, 2), generator=draw)
    return torch.stack([ends[:, 0], torch.arange(40) % 4, ends[:, 1]], dim=1)


def pykeen_transr(model, triples: torch.Tensor, clamp: float) -> torch.Tensor:
    """The same weights through PyKEEN's own TransR; its matrices are transposed."""
    part = parts(model)
    head, relation, tail = triples.T
    matrix = part.matrices.values[relation].transpose(-1, -2)
    return TransRInteraction(p=2, max_projection_norm=clamp)(
        part.vectors.own[head],
        (part.translations.values[relation], matrix),
        part.vectors.own[tail],
    )


def test_without_anchors_and_bias_it_is_transr(graph: Graph):
    model, triples = stirred(graph, PLAIN), some_triples(graph)
    expected = pykeen_transr(model, triples, clamp=1e9)
    torch.testing.assert_close(model.score_hrt(triples)[:, 0], expected)


def test_inside_the_unit_ball_the_clamp_of_transr_changes_nothing(graph: Graph):
    model, triples = build_model(graph, PLAIN), some_triples(graph)
    part = parts(model)
    longest = torch.einsum("rkd,nd->rnk", part.matrices.values, part.vectors.own).norm(dim=-1).max()
    assert longest < 1.0
    expected = pykeen_transr(model, triples, clamp=1.0)
    torch.testing.assert_close(model.score_hrt(triples)[:, 0], expected)


def one_block(graph: Graph, model, relation: int):
    """Scores of a block by the relation-blocked kernel, and the rows that went in."""
    head, tail = torch.tensor([9, 8, 11]), torch.tensor([0, 3, 3])
    other = torch.tensor([3, 4, 5, 1])
    part = parts(model)
    rows = part.vectors(None)
    bias = None
    if part.bias is not None:
        bias = (part.bias.values[tail], part.bias.values[other])
    scores = block_scores(
        (rows[head], rows[tail], rows[other]),
        bias,
        part.translations.values[relation],
        part.matrices.values[relation],
    )
    return scores, head, tail, other


@pytest.mark.parametrize("config", [PLAIN, FULL])
@pytest.mark.parametrize("relation", range(4))
def test_blocked_scores_equal_the_models(graph: Graph, config: TransRAConfig, relation: int):
    model = stirred(graph, config)
    scores, head, tail, other = one_block(graph, model, relation)
    own = torch.stack([head, torch.full((3,), relation), tail], dim=1)
    torch.testing.assert_close(scores.positive, model.score_hrt(own)[:, 0])
    negative = scores.query @ scores.other.T
    for row, entity in enumerate(head.tolist()):
        triples = torch.tensor([[entity, relation, t] for t in other.tolist()])
        expected = model.score_hrt(triples)[:, 0]
        torch.testing.assert_close(negative[row], expected, rtol=1e-4, atol=1e-5)


def test_with_the_margin_loss_it_is_transr_as_pykeen_trains_it(graph: Graph):
    model = stirred(graph, PLAIN)
    scores, head, tail, other = one_block(graph, model, 2)
    hit = (tail[:, None] == other).nonzero().T
    found = margin_ranking(scores, Collisions(*hit), torch.ones(3), 1.0)
    positive, negative = [], []
    for h, t in zip(head.tolist(), tail.tolist(), strict=True):
        rest = [o for o in other.tolist() if o != t]
        positive += [pykeen_transr(model, torch.tensor([[h, 2, t]]), 1e9)] * len(rest)
        negative += [pykeen_transr(model, torch.tensor([[h, 2, o]]), 1e9) for o in rest]
    loss = MarginRankingLoss(margin=1.0).process_slcwa_scores(
        torch.cat(positive)[:, None], torch.cat(negative)[:, None]
    )
    torch.testing.assert_close(found, loss)


def test_vectors_are_composed_as_the_formula_says(graph: Graph):
    model = stirred(graph, FULL)
    part = parts(model).vectors
    found = part(None)
    for row in range(graph.entity_count):
        leaned = sum(
            alpha * part.anchors[anchor]
            for anchor, alpha in zip(part.nearest[row], part.weight[row], strict=True)
        )
        gate = graph.degree[row] / (graph.degree[row] + FULL.gate_edges)
        torch.testing.assert_close(found[row], float(gate) * part.own[row] + (1 - gate) * leaned)
    some = torch.tensor([[3, 1], [0, 3]])
    torch.testing.assert_close(part(some), found[some])


def test_pykeens_scoring_of_all_tails_and_heads_agrees(graph: Graph):
    model = stirred(graph, FULL)
    pairs = torch.tensor([[8, 0], [2, 2]])
    tails = model.score_t(pairs)
    assert tails.shape == (2, graph.entity_count)
    one = model.score_hrt(torch.tensor([[2, 2, 7]]))[0, 0]
    torch.testing.assert_close(tails[1, 7], one)
    heads = model.score_h(pairs.flip(1))
    torch.testing.assert_close(heads[0, 5], model.score_hrt(torch.tensor([[5, 0, 8]]))[0, 0])


def test_the_same_seed_builds_the_same_model_and_leaves_torchs_alone(graph: Graph):
    before = torch.random.get_rng_state()
    first, second = build_model(graph, FULL), build_model(graph, FULL)
    other = build_model(graph, dataclasses.replace(FULL, seed=1))
    assert torch.equal(before, torch.random.get_rng_state())
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name])
    assert not torch.equal(parts(first).vectors.own, parts(other).vectors.own)


def test_long_rows_are_pulled_back_to_the_ball():
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    expected = torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]])
    torch.testing.assert_close(clip_rows(rows, 1.0), expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [("dim", 0), ("dropout", 1.5), ("epochs", 0.0), ("gate_edges", -1.0)],
)
def test_a_senseless_dial_is_refused(field: str, value: object):
    with pytest.raises(ConfigError, match=f"{field} should be"):
        dataclasses.replace(TransRAConfig(), **{field: value})
