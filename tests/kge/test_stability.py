"""What benchmarks/refresh.py measures with: what moved, what was turned, what was withheld."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from planted_graph import graph_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from stability import as_frame, edges_of, procrustes, stability
from warm import measure, spread, without

from graphsvc.artifact import ArtifactStore
from kge.bundle import Bundle, seal_bundle
from kge.config import TransRAConfig
from kge.dials import Dials
from kge.train import Training
from kge.triples import Graph, graph_of_snapshot

EDGES = [(f"u{u:02}", "click", f"f{f:02}") for u in range(24) for f in range(24) if u % 3 == f % 3]
EDGES += [(f"f{n:02}", "genre", f"t{n % 3}") for n in range(24)]
#: One film has a genre more, so film and genre have changed.
LATER = [*EDGES, ("f00", "genre", "t1")]
SMALL = TransRAConfig(
    dim=8, relation_dim=8, block=8, batch=8, epochs=1.0, anchors_per_type=2, nearest_anchors=2,
)  # fmt: skip


def trained(store: ArtifactStore, graph) -> Bundle:
    training = Training(graph, SMALL)
    for _ in training.steps():
        pass
    return seal_bundle(store, "1" * 64, training.trained().arrays(), dials={}, metrics={})


@pytest.fixture
def snapshot(make_snapshot):
    return make_snapshot(EDGES)


@pytest.fixture
def bundle(snapshot, store: ArtifactStore) -> Bundle:
    return trained(store, graph_of_snapshot(snapshot))


def test_only_those_to_whom_nothing_happened_are_measured(
    bundle: Bundle, snapshot, make_snapshot, store: ArtifactStore
):
    edges = edges_of(snapshot), edges_of(make_snapshot(LATER))
    changed = {key for key, number in edges[0].items() if edges[1][key] != number}
    assert changed == {("film", "f00"), ("thing", "t1")}
    found = stability(bundle, bundle, edges)
    assert {kind: (told["unchanged"], told["in_both"]) for kind, told in found.items()} == {
        "user": (24, 24),
        "film": (23, 24),  # and three things are too few to have ten nearest
    }
    for told in found.values():
        assert (told["cosine"], told["overlap"]) == pytest.approx((1.0, 1.0))
    arrays = bundle.alone("all")
    [film] = bundle.rows("film", ["f00"])
    vectors = arrays.vectors.copy()
    vectors[film] *= -1
    moved = seal_bundle(
        store, "1" * 64, dataclasses.replace(arrays, vectors=vectors), dials={}, metrics={}
    )
    found = stability(bundle, moved, edges)["film"]
    assert found["cosine"] == pytest.approx(1.0), "the film is none of them"
    assert found["overlap"] < 1.0, "and yet it is no longer near to others"


def test_procrustes_takes_a_turn_back_and_scores_stay(bundle: Bundle, store: ArtifactStore):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0].astype(np.float32)
    turned = as_frame(store, bundle, "other", turn)
    assert turned.frame == "other"
    assert abs(turned.vectors - bundle.vectors).max() > 0.1
    np.testing.assert_allclose(procrustes(bundle, turned), turn.T, atol=1e-4)
    rows = np.arange(*bundle.types["film"][1:])
    users = slice(*bundle.types["user"][1:])
    before, now = (one.score_tails(0, one.vectors[users], rows) for one in (bundle, turned))
    np.testing.assert_allclose(now, before, atol=1e-4)


def test_procrustes_is_fitted_on_all_that_both_bundles_hold(bundle: Bundle, store: ArtifactStore):
    """Not on the frame's holders, which are few: here these alone were not turned."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0].astype(np.float32)
    arrays = bundle.alone("all")
    vectors, held = arrays.vectors @ turn, np.array([0, 1, 30])
    vectors[held] = arrays.vectors[held]
    few = dataclasses.replace(arrays, frame_rows=held.astype(np.int32))
    before, now = (
        seal_bundle(store, "1" * 64, one, dials={}, metrics={})
        for one in (few, dataclasses.replace(few, vectors=vectors))
    )
    found = now.vectors @ procrustes(before, now)
    others = np.delete(np.arange(len(vectors)), held)
    apart = np.linalg.norm((found - before.vectors)[others], axis=1)
    assert apart.mean() < 0.25 * np.linalg.norm(before.vectors[others], axis=1).mean()


def test_a_graph_without_some_edges_and_its_vectors_in_the_rows_of_the_whole(
    snapshot, store: ArtifactStore
):
    graph = graph_of_snapshot(snapshot)
    gone = np.flatnonzero(graph.ids == "u05")[0]
    smaller = without(graph, graph.head == gone)
    assert set(graph.ids) - set(smaller.ids) == {"u05"}
    assert len(smaller.head) == len(graph.head) - 8
    names = {(graph.ids[h], graph.ids[t]) for h, t in zip(graph.head, graph.tail, strict=True)}
    left = {
        (smaller.ids[h], smaller.ids[t]) for h, t in zip(smaller.head, smaller.tail, strict=True)
    }
    assert {pair for pair in names if pair[0] != "u05"} == left
    own = trained(store, smaller).alone("all")
    whole = spread(own, graph)
    assert (
        seal_bundle(store, "1" * 64, whole, dials={}, metrics={}).artifact.payload["entities"] == 51
    )
    np.testing.assert_array_equal(whole.vectors[gone], own.prior("user"))
    for name in ("u06", "f03", "t2"):
        np.testing.assert_array_equal(
            whole.vectors[graph.ids == name], own.vectors[own.ids == name]
        )


def test_a_refresh_keeps_the_form_of_what_it_begins_with():
    """128 facts are worth higher blocks than the few less that the bundle before had."""
    graph: Graph = graph_of([(n, 0, (n + 1) % 129) for n in range(129)], entities=129, relations=1)
    seen = []
    measure(graph, Dials(seed=0, dim=64, epochs=0.2), lambda one: seen.append(one) or {})
    full, refreshed, before = (bundle.artifact.dials for bundle in seen)
    assert full["projection_blocks"] < before["projection_blocks"], "or this says nothing"
    assert refreshed["projection_blocks"] == before["projection_blocks"]
