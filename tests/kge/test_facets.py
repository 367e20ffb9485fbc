import dataclasses

import numpy as np
import pytest

from kge.bundle import open_bundle, seal_bundle
from kge.config import FoldInConfig, TransRAConfig
from kge.errors import UnknownRelation
from kge.facets import as_facet, check_groups, group_of
from kge.foldin import FoldIn, FoldInEdges
from kge.train import Training
from kge.triples import graph_of_snapshot

#: Clicks pair users with films of their half; buying pairs them with films of the other.
EDGES = [(f"u{u}", "click", f"f{f}") for u in range(8) for f in range(8) if u // 4 == f // 4]
GENRES = [(f"f{n}", "genre", f"t{n % 2}") for n in range(8)]
SMALL = TransRAConfig(
    dim=8, relation_dim=8, block=8, batch=8, epochs=40.0, nearest_anchors=2, anchors_per_type=2
)


def trained(graph):
    training = Training(graph, SMALL)
    for _ in training.steps():
        pass
    return training.trained().arrays()


def test_a_group_has_its_own_edges_over_the_same_rows(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES + GENRES))
    group = group_of(graph, ["genre"])
    assert [relation.name for relation in group.relations] == ["genre"]
    assert group.ids is graph.ids
    assert len(group.head) == len(GENRES)
    assert set(group.relation.tolist()) == {0}
    users = graph.types[-1]
    assert not group.degree[users.start : users.stop].any()
    np.testing.assert_array_equal(group_of(graph, ["genre", "click"]).head, graph.head)


def test_vectors_of_a_facet_follow_its_relations_alone(make_snapshot):
    """By click f0 is like f2 and unlike f4; by genre like f4, and unlike f1 in both halves."""
    graph = graph_of_snapshot(make_snapshot(EDGES + GENRES))
    row = {name: n for n, name in enumerate(graph.ids.tolist())}

    def cosine(facet, a: str, b: str) -> float:
        left, right = facet.vectors[row[a]], facet.vectors[row[b]]
        return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))

    by_click = as_facet(trained(group_of(graph, ["click"])))
    by_genre = as_facet(trained(group_of(graph, ["genre"])))
    assert cosine(by_click, "f0", "f1") > cosine(by_click, "f0", "f4")
    assert cosine(by_genre, "f0", "f4") > cosine(by_genre, "f0", "f1")


def test_who_has_no_edge_of_the_group_is_at_the_prior(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES + GENRES))
    facet = as_facet(trained(group_of(graph, ["genre"])))
    kinds = [kind.name for kind in graph.types]
    users = graph.types[kinds.index("user")]
    assert (facet.vectors[users.start : users.stop] == facet.priors[kinds.index("user")]).all()
    assert not facet.degree[users.start : users.stop].any()


def test_fold_in_leaves_a_settled_user_of_a_facet_where_training_put_him(make_snapshot, store):
    """Whoever is folded in from his training edges has not moved; else one click would move him."""
    graph = graph_of_snapshot(make_snapshot(EDGES + GENRES))
    clicks = group_of(graph, ["click"])
    facets = {"taste": as_facet(trained(clicks))}
    arrays = dataclasses.replace(trained(graph), facets=facets)
    dials = {"settle": True, "prior_edges": 7.0}
    sealed = seal_bundle(store, "0" * 64, arrays, dials=dials, metrics={})
    bundle = open_bundle(store, sealed.digest)
    assert bundle.fold_in() == FoldInConfig(prior_edges=7.0)
    assert bundle.fold_in("taste") == FoldInConfig(prior_edges=SMALL.prior_edges), "it has its own"
    foldin = FoldIn(bundle.alone("taste"), bundle.fold_in("taste"))
    for row in range(*bundle.type_range("user")[1:]):
        own = clicks.head == row
        size = int(own.sum())
        edges = FoldInEdges(
            owner=np.zeros(size, np.int32),
            relation=clicks.relation[own].astype(np.int16),
            other=clicks.tail[own].astype(np.int32),
            inverse=np.zeros(size, dtype=bool),
            weight=clicks.weight[own],
        )
        found = foldin.solve("user", 1, edges)[0]
        np.testing.assert_allclose(found, bundle.facet("taste").vectors[row], atol=1e-5)


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        (
            {"taste": ["clik"]},
            "facet taste should be among click, genre, received clik",
        ),
        ({"taste": []}, "received none"),
        ({"all": ["click"]}, "facet all holds every relation"),
    ],
)
def test_a_group_that_is_none_is_refused(make_snapshot, groups, says: str):
    graph = graph_of_snapshot(make_snapshot(EDGES + GENRES))
    with pytest.raises(UnknownRelation, match=says):
        check_groups(graph, groups)


def test_a_group_without_edges_is_refused(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES + GENRES))
    bare = dataclasses.replace(graph, relation=np.zeros_like(graph.relation))
    with pytest.raises(UnknownRelation, match="facet taste has no edge: nobody has genre yet"):
        check_groups(bare, {"taste": ["genre"]})
