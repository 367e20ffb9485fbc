"""Each facet finds the planted camps, and what is asked of several is what comes out."""

import numpy as np
import pytest
import torch
from faceted import agreement, camps
from loops import finish

from ranking.errors import ConfigError, FacetUnavailable
from ranking.examples import KgeMaps
from ranking.pretraining.config import FACET_NAMES, GnnConfig, PretrainingConfig
from ranking.pretraining.learn import begun, learn
from ranking.pretraining.objective import Contrastive
from ranking.pretraining.registry import FACETS, Source, pretrain
from ranking.pretraining.translation import KgeVectors


def config_of(*facets, **dials) -> PretrainingConfig:
    small = {"dim": 4, "batch": 32, "random_negatives": 8, "epochs": 15.0, "sketch_width": 1 << 8}
    return PretrainingConfig(facets=facets, **(small | dials))


def kge_of(graph) -> KgeVectors:
    """A KGE that knows the camps of all but the last user: the first number says which."""
    random = np.random.default_rng(0)
    vectors = random.normal(scale=0.1, size=(graph.entity_count, 4)).astype(np.float32)
    vectors[:, 0] = [int(id_[1:]) % 2 * 2 - 1 for id_ in graph.ids]
    eye = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    maps = KgeMaps(("click", "save"), eye, eye, np.zeros((2, 4), dtype=np.float32))
    known = np.ones(graph.entity_count, dtype=bool)
    known[-1] = False
    vectors[-1] = 0.0
    return KgeVectors(vectors, known, maps, 1.0)


def test_the_names_are_those_that_dials_may_have():
    assert tuple(FACETS) == FACET_NAMES


@pytest.mark.parametrize("facet", FACET_NAMES)
def test_each_facet_finds_the_camps(facet):
    graph = camps()
    trace, [table] = finish(pretrain(Source(graph, kge_of(graph)), config_of(facet)))
    assert table.name == facet
    assert agreement(table) > 0.95
    if facet != "kge":  # whose vectors are there already
        assert trace[-1].loss < 0.8 * trace[0].loss
        assert trace[-1].step == trace[-1].total == len(trace)


def test_who_has_no_edge_is_not_in_a_table():
    graph = camps()
    _, tables = finish(pretrain(Source(graph), config_of("contrastive", "gnn", epochs=1.0)))
    for table in tables:
        assert len(table.heads.ids) == 39
        assert table.tails.ids.tolist() == [f"f{n}" for n in range(19)]
    _, [kge] = finish(pretrain(Source(graph, kge_of(graph)), config_of("kge")))
    assert (len(kge.heads.ids), len(kge.tails.ids)) == (39, 20)


@pytest.mark.parametrize("combination", ["summed", "sequential"])
@pytest.mark.parametrize("facets", [("contrastive", "kge"), ("kge", "gnn"), FACET_NAMES])
def test_several_facets_become_one_table(combination, facets):
    graph = camps()
    dials = config_of(*facets, combination=combination, epochs=10.0)
    _, [table] = finish(pretrain(Source(graph, kge_of(graph)), dials))
    assert table.name == {"summed": "+", "sequential": ">"}[combination].join(facets)
    assert table.dim == 4
    assert agreement(table) > 0.95


def test_a_sequence_begins_where_the_kge_is():
    """A step of nearly nothing leaves the bundle's vectors where they are."""
    graph = camps()
    kge = kge_of(graph)
    dials = config_of(
        "kge", "contrastive", combination="sequential", epochs=1.0, learning_rate=1e-9
    )
    _, [table] = finish(pretrain(Source(graph, kge), dials))
    own = kge.vectors[graph.type_range("film").start : 19]
    np.testing.assert_allclose(table.tails.vectors[:19], own, atol=1e-6)


def test_the_sum_of_a_loss_with_itself_is_twice_the_loss():
    """Adam does not know the size of a loss, so the table goes where one alone takes it."""
    graph, dials = camps(), config_of("contrastive", epochs=2.0)
    start = begun(graph, 4, 0)
    runs = [
        finish(learn(graph, [Contrastive(0.07) for _ in range(n)], dials, start, note=""))
        for n in (1, 2)
    ]
    (once, alone), (twice, both) = runs
    assert twice[0].loss == pytest.approx(2 * once[0].loss, rel=1e-6)
    torch.testing.assert_close(alone, both, rtol=1e-3, atol=1e-3)
    assert not torch.equal(alone, start), "it moved"
    torch.testing.assert_close(start, begun(graph, 4, 0), rtol=0.0, atol=0.0)


def test_the_same_seed_gives_the_same_table_and_another_seed_another():
    graph = camps()
    tables = [
        finish(pretrain(Source(graph), config_of("gnn", epochs=1.0, seed=seed)))[1][0]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(tables[0].heads.vectors, tables[1].heads.vectors)
    assert not np.array_equal(tables[0].heads.vectors, tables[2].heads.vectors)


def test_both_backends_train_alike():
    graph = camps()
    tables = [
        finish(
            pretrain(
                Source(graph),
                config_of("gnn", epochs=1.0, gnn=GnnConfig(fanouts=(3,), backend=one)),
            )
        )[1][0]
        for one in ("pyg", "dgl")
    ]
    own, other = (table.heads.vectors for table in tables)
    np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-4)


def test_the_kge_needs_a_bundle_and_its_length():
    graph = camps()
    with pytest.raises(FacetUnavailable, match="bundle to read"):
        next(pretrain(Source(graph), config_of("kge")))
    dials = config_of("contrastive", "kge", combination="summed", dim=8)
    with pytest.raises(ConfigError, match="dim should be 4"):
        next(pretrain(Source(graph, kge_of(graph)), dials))


@pytest.mark.parametrize(
    "wrong",
    [
        {"facets": ()},
        {"facets": ("kge", "kge")},
        {"facets": ("taste",)},
        {"combination": "mean"},
        {"dim": 0},
        {"sketch_width": 100},
        {"temperature": 0.0},
        {"seed": -1},
    ],
)
def test_a_dial_that_makes_no_sense_is_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PretrainingConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"fanouts": ()}, {"fanouts": (3, 0)}, {"backend": "jax"}])
def test_a_networks_dial_that_makes_no_sense_is_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        GnnConfig(**wrong)
