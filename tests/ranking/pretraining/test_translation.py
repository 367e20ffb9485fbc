"""The KGE as a facet: the bundle's vectors by row, and its score as a loss."""

import math

import numpy as np
import pytest
from faceted import graph_of

from ranking.errors import FacetUnavailable
from ranking.examples import KgeMaps
from ranking.idtables.table import RowTable
from ranking.pretraining.batches import Batches, Positives
from ranking.pretraining.config import PretrainingConfig
from ranking.pretraining.graph import graph_of_snapshot
from ranking.pretraining.translation import KgeVectors, Translation, kge_vectors

EVENTS = [(0, 0, 0, 5, 1, 1), (1, 1, 0, 6, 0, 1)]


def test_a_bundles_vectors_stand_at_the_graphs_rows(world):
    """The bundle knows one film and two users of two and three."""
    triples = [(2, 0, 0), (3, 0, 1)]
    made = world(EVENTS, users=3, films=2, known_users=2, known_films=1, triples=triples)
    graph = graph_of_snapshot(made.snapshot)
    found = kge_vectors(graph, made.bundle)
    assert found.known.tolist() == [True, False, True, True, False]
    np.testing.assert_array_equal(found.vectors[[0, 2, 3]], made.bundle.vectors)
    np.testing.assert_array_equal(found.vectors[[1, 4]], 0.0)
    assert found.maps.names == ("click", "save")


def test_a_bundle_without_a_relation_is_refused(world):
    made = world(EVENTS, users=2, films=2, known_users=2, known_films=2, triples=[(2, 0, 0)])
    graph = graph_of_snapshot(made.snapshot)
    like = type(graph.relations[0])(name="like", head="user", tail="film", source="onsite")
    graph = type(graph)(
        **{
            **{name: getattr(graph, name) for name in ("head", "relation", "tail", "weight")},
            **{name: getattr(graph, name) for name in ("types", "ids", "head_type", "tail_type")},
            "relations": (like, *graph.relations[1:]),
        }
    )
    with pytest.raises(FacetUnavailable, match="relations like, save, received save"):
        kge_vectors(graph, made.bundle)


def test_its_loss_is_a_slow_loop_over_pairs_and_candidates():
    triples = [(4, 0, 0), (4, 1, 1), (5, 0, 2), (5, 1, 2), (6, 0, 1)]
    graph = graph_of(triples, films=3, genres=1, users=3)
    random = np.random.default_rng(0)
    maps = KgeMaps(
        names=("click", "save"),
        projections=random.normal(size=(2, 3, 4)).astype(np.float32),
        tail_projections=random.normal(size=(2, 3, 4)).astype(np.float32),
        translations=random.normal(size=(2, 3)).astype(np.float32),
    )
    known = np.ones(7, dtype=bool)
    kge = KgeVectors(np.zeros((7, 4), np.float32), known, maps, 0.5)
    [batch] = Batches(graph, PretrainingConfig(batch=5, random_negatives=9, epochs=1.0))
    table = RowTable(7, 4)
    found = float(Translation(graph, kge)(table, batch).detach())
    vectors, positives = table.weight.detach().double().numpy(), Positives(graph)

    def score(head, relation, tail):
        gap = maps.projections[relation] @ vectors[head] + maps.translations[relation]
        gap = gap - maps.tail_projections[relation] @ vectors[tail]
        return -0.5 * float(gap @ gap)

    slow = 0.0
    for n in range(5):
        head, relation = int(batch.heads[n]), int(batch.relations[n])
        own = score(head, relation, int(batch.tails[n]))
        for drawn in batch.candidates:
            inside = math.exp(own)
            for row, expected in zip(drawn.rows.tolist(), drawn.log_expected.tolist(), strict=True):
                if not positives.among(np.array([head]), np.array([row]))[0, 0]:
                    inside += math.exp(score(head, relation, row) - expected)
            slow += float(batch.weights[n]) * (math.log(inside) - own)
    assert found == pytest.approx(slow, rel=1e-4)
    assert not list(Translation(graph, kge).parameters()), "the maps stay"
