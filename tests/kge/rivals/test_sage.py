import numpy as np
import pytest
import torch
from loops import finish
from planted_graph import graph_of, planted, ranked_first

from kge.errors import ConfigError
from kge.rivals.config import SageConfig, TwhinConfig
from kge.rivals.neighbors import Layer, Neighbors
from kge.rivals.sage import Sage, train_sage
from kge.rivals.sage_layers import BACKENDS, SageLayer

SMALL = SageConfig(dim=16, fanouts=(4, 4), batch=64, negatives=64, dropout=0.0)


def test_the_withheld_edges_come_first():
    graph, withheld = planted()
    _, scorer = finish(train_sage(graph, SMALL, seed=0, share=lambda s: s / 150))
    assert ranked_first(scorer, graph, withheld) > 0.8


def layer_of(backend: str) -> SageLayer:
    return SageLayer(4, 6, BACKENDS[backend](), torch.Generator().manual_seed(1))


LAYER = Layer(
    source=np.array([0, 3, 4, 4, 2]),
    target=np.array([1, 1, 1, 0, 0]),
    side=np.array([0, 5, 2, 2, 1]),
    targets=3,
)


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_a_layer_is_a_slow_loop_over_edges(backend):
    """The contract that every backend keeps, to 1e-5; the third target has no edge."""
    module = layer_of(backend)
    vectors = torch.randn(5, 4, generator=torch.Generator().manual_seed(2), requires_grad=True)
    found = module(vectors, LAYER)
    rows = []
    for v in range(3):
        near = [
            vectors[u] * module.side[s]
            for u, t, s in zip(LAYER.source, LAYER.target, LAYER.side, strict=True)
            if t == v
        ]
        mean = sum(near) / len(near) if near else torch.zeros(4)
        rows.append(vectors[v] @ module.own + mean @ module.near + module.bias)
    expected = torch.stack(rows)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weights = torch.arange(12.0).view(3, 4)
    leaves = [vectors, *module.parameters()]
    gradients = torch.autograd.grad((found * weights).sum(), leaves)
    slow = torch.autograd.grad((expected * weights).sum(), leaves)
    for own, other in zip(gradients, slow, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


def test_both_backends_train_alike():
    graph, _ = planted()
    scores = [
        finish(
            train_sage(
                graph,
                SageConfig(dim=8, fanouts=(3,), dropout=0.0, backend=backend),
                share=lambda s: s / 3,
            )
        )[1].scores(0, np.arange(9), 0, 66)
        for backend in BACKENDS
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_trace_and_another_seed_another():
    graph, _ = planted()
    runs = [finish(train_sage(graph, SMALL, seed=s, share=lambda n: n / 4))[0] for s in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_encoding_in_ranges_is_encoding_whole(monkeypatch):
    graph, _ = planted()
    model = Sage(graph, SMALL, torch.Generator().manual_seed(0))
    whole = model.scorer().vectors
    monkeypatch.setattr("kge.rivals.sage._EDGES", 7)
    np.testing.assert_allclose(model.scorer().vectors, whole, rtol=1e-5, atol=1e-6)


def test_neighbors_are_those_of_the_graph_and_hidden_edges_are_not_read():
    graph = graph_of([(0, 0, 1), (2, 1, 1), (1, 0, 3)], entities=4, relations=2)
    neighbors, random = Neighbors(graph), np.random.default_rng(0)
    seen = np.zeros(3, dtype=bool)
    rows, [layer] = neighbors.layers(np.array([1]), (9,), seen, random)
    edges = {(int(rows[s]), int(side)) for s, side in zip(layer.source, layer.side, strict=True)}
    # 3 is the tail of (1, 0, 3): read by the reciprocal side 0 + R.
    assert edges == {(0, 0), (2, 1), (3, 2)}
    seen[1] = True
    rows, [layer] = neighbors.layers(np.array([1]), (9,), seen, random)
    assert sorted(rows[layer.source].tolist()) == [0, 3]


def test_many_neighbors_are_sampled():
    graph = graph_of([(n, 0, 0) for n in range(1, 50)], entities=50, relations=1)
    neighbors, random = Neighbors(graph), np.random.default_rng(0)
    rows, layers = neighbors.layers(np.array([0]), (2, 5), np.zeros(49, dtype=bool), random)
    assert len(layers[1].source) == 5
    assert layers[1].targets == 1
    assert layers[0].targets == len(np.unique(rows[layers[1].source])) + 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SageConfig(fanouts=()),
        lambda: SageConfig(dropout=1.0),
        lambda: TwhinConfig(dim=0),
    ],
)
def test_a_dial_that_makes_no_sense_is_named(wrong):
    with pytest.raises(ConfigError, match="should"):
        wrong()
