"""The graph network: sums over edges, the network on all of the graph, and what it may not see."""

import math

import numpy as np
import pytest
import torch
from faceted import camps, graph_of

from ranking.idtables.table import RowTable
from ranking.pretraining.batches import Batches
from ranking.pretraining.config import GnnConfig, PretrainingConfig
from ranking.pretraining.gnn import LightGcn
from ranking.pretraining.hetero import hetero_of
from ranking.pretraining.message_passing import AGGREGATES
from ranking.pretraining.neighbors import Layer, Neighbors

#: Five sources, three targets, the last of which has no edge.
LAYER = Layer(
    source=np.array([0, 3, 4, 4, 2]),
    target=np.array([1, 1, 1, 0, 0]),
    side=np.array([0, 5, 2, 2, 1]),
    factor=np.array([0.5, 1.0, 2.0, 0.25, 1.0], dtype=np.float32),
    targets=3,
)


def config_of(*fanouts, backend="pyg", **dials) -> PretrainingConfig:
    gnn = GnnConfig(fanouts=fanouts or (4, 4), backend=backend)
    return PretrainingConfig(dim=4, batch=16, random_negatives=8, gnn=gnn, **dials)


@pytest.mark.parametrize("backend", list(AGGREGATES))
def test_a_sum_is_a_slow_loop_over_edges(backend):
    """The contract that every backend keeps, to 1e-5, with both gradients."""
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(5, 4, generator=generator, requires_grad=True)
    factor = torch.from_numpy(LAYER.factor).requires_grad_()
    found = AGGREGATES[backend]()(vectors, factor, LAYER)
    rows = [torch.zeros(4) for _ in range(3)]
    for edge, (source, target) in enumerate(zip(LAYER.source, LAYER.target, strict=True)):
        rows[target] = rows[target] + factor[edge] * vectors[source]
    slow = torch.stack(rows)
    torch.testing.assert_close(found, slow, rtol=1e-5, atol=1e-5)
    weights = torch.arange(12.0).view(3, 4)
    gradients = torch.autograd.grad((found * weights).sum(), [vectors, factor])
    expected = torch.autograd.grad((slow * weights).sum(), [vectors, factor])
    for own, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


def test_the_graph_is_as_pytorch_geometric_has_it():
    graph = graph_of([(3, 0, 1), (4, 0, 0), (0, 2, 2)], films=2, genres=1, users=2)
    data = hetero_of(graph)
    assert data.node_types == ["film", "genre", "user"]
    assert [data[name].num_nodes for name in data.node_types] == [2, 1, 2]
    assert data["user", "click", "film"].edge_index.tolist() == [[0, 1], [1, 0]]
    assert data["user", "save", "film"].edge_index.shape == (2, 0)
    assert data["film", "film_of_genre", "genre"].edge_index.tolist() == [[0], [0]]


def test_an_edge_counts_by_its_weight_and_both_ends():
    """User 3 has weights 1 and 3, film 0 has 1, film 1 has 3: 1 / sqrt(4) and 3 / sqrt(12)."""
    graph = graph_of([(3, 0, 0), (3, 0, 1)], films=2, genres=1, users=1, weights=[1.0, 3.0])
    sources, layer = Neighbors(hetero_of(graph)).whole(3, 4)
    told = dict(zip(sources[layer.source].tolist(), layer.factor.tolist(), strict=True))
    assert told == pytest.approx({0: 0.5, 1: 3 / math.sqrt(12)})
    # From tail to head: the side behind those of the three relations.
    assert layer.side.tolist() == [3, 3]


def test_draws_stand_for_all_neighbors_and_hidden_edges_are_not_read():
    triples = [(50 + n, 0, 0) for n in range(40)]
    graph = graph_of(triples, films=49, genres=1, users=40)
    neighbors, random = Neighbors(hetero_of(graph)), np.random.default_rng(0)
    hidden = np.zeros(len(graph.head), dtype=bool)
    rows, [outer, inner] = neighbors.layers(np.array([0]), (2, 5), hidden, random)
    assert len(inner.source) == 5
    # 40 neighbors through 5 draws: each counts 8 times 1 / sqrt(40).
    assert inner.factor.tolist() == pytest.approx([8 / math.sqrt(40)] * 5)
    assert outer.targets == 1 + len(np.unique(inner.source))
    assert rows[0] == 0
    hidden[:] = True
    rows, [outer, inner] = neighbors.layers(np.array([0]), (2, 5), hidden, random)
    assert rows.tolist() == [0]
    assert len(outer.source) == len(inner.source) == 0


def dense_twin(graph, table, sides, layers):
    """z by the normalized adjacency of the whole graph, in double precision."""
    count, relations = graph.entity_count, len(graph.relations)
    size = np.zeros(count)
    for head, tail, weight in zip(graph.head, graph.tail, graph.weight, strict=True):
        size[head] += weight
        size[tail] += weight
    matrix = np.zeros((count, count))
    for h, r, t, w in zip(graph.head, graph.relation, graph.tail, graph.weight, strict=True):
        own = w / math.sqrt(size[h] * size[t])
        matrix[t, h] += sides[r] * own
        matrix[h, t] += sides[r + relations] * own
    vectors = total = table.astype(np.float64)
    for _ in range(layers):
        vectors = matrix @ vectors
        total = total + vectors
    return total / (layers + 1)


@pytest.mark.parametrize("backend", list(AGGREGATES))
def test_what_is_read_is_the_product_with_the_whole_adjacency(backend, monkeypatch):
    graph = camps(users=12, films=8, clicks=3)
    graph.weight[::3] = 2.0
    model = LightGcn(graph, config_of(backend=backend))
    with torch.no_grad():
        model.sides.copy_(torch.linspace(0.5, 1.5, 6))
    table = torch.randn(graph.entity_count, 4, generator=torch.Generator().manual_seed(0))
    slow = dense_twin(graph, table.numpy(), model.sides.detach().numpy(), layers=2)
    np.testing.assert_allclose(model.read(table).numpy(), slow, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr("ranking.pretraining.gnn._EDGES", 5)
    np.testing.assert_allclose(model.read(table).numpy(), slow, rtol=1e-4, atol=1e-5)


def test_sampled_neighborhoods_that_miss_none_are_whole():
    graph = camps(users=12, films=8, clicks=3)
    model = LightGcn(graph, config_of(99, 99))
    table = RowTable(graph.entity_count, 4)
    rows = torch.tensor([0, 20, 3, 20])
    found = model.vectors(table, rows).detach()
    whole = model.read(table.weight.detach())[rows]
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)


def test_pairs_of_a_batch_are_hidden_while_it_is_learned_from():
    """With all pairs in the batch a user has no neighbor: the loss is that of x / 3 alone."""
    graph = graph_of([(3, 0, 0), (4, 0, 1)], films=2, genres=1, users=2)
    model = LightGcn(graph, config_of())
    table = RowTable(graph.entity_count, 4)
    [batch] = Batches(graph, config_of(epochs=1.0))
    found = model(table, batch)
    alone = LightGcn(graph, config_of())
    alone._hidden[:] = True
    expected = alone.vectors(table, torch.arange(5))
    torch.testing.assert_close(expected.detach(), table.weight.detach() / 3)
    assert not model._hidden.any(), "the next batch sees them again"
    # Cosines do not know the length: the same loss as of the rows themselves.
    from ranking.pretraining.objective import Contrastive

    assert float(found.detach()) == pytest.approx(
        float(Contrastive(0.07)(table, batch).detach()), rel=1e-5
    )


def test_a_pair_is_hidden_by_whichever_relation_it_is_joined():
    """User 3 clicked and saved film 0: a network that saw the save would know the click."""
    triples = [(3, 0, 0), (3, 0, 1), (4, 0, 0), (3, 1, 0), (4, 1, 1)]
    graph = graph_of(triples, films=2, genres=1, users=2)
    model = LightGcn(graph, config_of())
    told = list(zip(graph.head.tolist(), graph.relation.tolist(), graph.tail.tolist(), strict=True))
    for edge, also in (((3, 0, 0), {(3, 0, 0), (3, 1, 0)}), ((4, 1, 1), {(4, 1, 1)})):
        found = model._pairs.same(np.array([told.index(edge)]))
        assert {told[place] for place in found.tolist()} == also
