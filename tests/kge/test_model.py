import dataclasses

import pytest
import torch
from pykeen.nn.modules import TransRInteraction

from kge.config import ConfigError, TransRAConfig, _one_of
from kge.model import build_model, clip_rows, parts
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
    matrix = part.matrices(None)[relation].transpose(-1, -2)
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
    longest = torch.einsum("rkd,nd->rnk", part.matrices(None), part.vectors.own).norm(dim=-1).max()
    assert longest < 1.0
    expected = pykeen_transr(model, triples, clamp=1.0)
    torch.testing.assert_close(model.score_hrt(triples)[:, 0], expected)


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
    [("dim", 0), ("dropout", 1.0), ("epochs", 0.0), ("gate_edges", -1.0), ("n3", -0.1)],
)
def test_a_senseless_dial_is_refused(field: str, value: object):
    with pytest.raises(ConfigError, match=f"{field} should be"):
        dataclasses.replace(TransRAConfig(), **{field: value})


def test_an_unknown_choice_is_refused():
    # The types of a call are checked before its values while tests run, so not by a call.
    with pytest.raises(ConfigError, match="tails should be one of same, own, received 'other'"):
        _one_of("tails", "other", ("same", "own"))


def test_choices_that_contradict_are_refused():
    with pytest.raises(ConfigError, match=r"relation_dim should be dim, 64, .* received 32"):
        TransRAConfig(tails="still", relation_dim=32)
    with pytest.raises(ConfigError, match="bias should be false without reciprocal"):
        TransRAConfig(reciprocal=False)


@pytest.mark.parametrize(
    "dials", [{}, {"tails": "own"}, {"tails": "still", "bias": False, "reciprocal": False}]
)
def test_transposes_need_reciprocals_and_still_tails(dials):
    with pytest.raises(ConfigError, match="inverse should be own unless relations are reciprocal"):
        TransRAConfig(inverse="transpose", **dials)


@pytest.mark.parametrize("tails", ["same", "own", "still"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_score_is_the_formula_whatever_tails_go_through(graph: Graph, tails: str, bias: bool):
    config = dataclasses.replace(FULL, dim=4, relation_dim=4, tails=tails, bias=bias)
    model = stirred(graph, config)
    part, vectors = parts(model), parts(model).vectors(None)
    for head, relation, tail in some_triples(graph).tolist():
        matrix = part.matrices(None)[relation]
        through = {"same": matrix, "still": torch.eye(4)}.get(tails)
        if part.tail_matrices is not None:
            through = part.tail_matrices(None)[relation]
        apart = (
            matrix @ vectors[head] + part.translations.values[relation] - through @ vectors[tail]
        )
        expected = -(apart @ apart) + (part.bias.values[tail] if bias else 0.0)
        found = model.score_hrt(torch.tensor([[head, relation, tail]]))[0, 0]
        torch.testing.assert_close(found, expected)
