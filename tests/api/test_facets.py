"""Facets in answers: what is folded in, what is near, and the anchors that two lean on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from api import solving
from api.answers import Answerer
from api.explaining import Explaining
from api.nearest import Wanted, nearest
from api.overlay import Folded, Overlay, Place
from api.questions import Item, Leaning, Located
from api.solving import Solver
from graphsvc.artifact import ArtifactStore
from graphsvc.folding import NO_OUTCOMES, FoldEdge, Outcomes
from graphsvc.ids import EntityId
from graphsvc.schema import load_schema
from graphsvc.snapshot import RelationInfo, TypeRange
from kge.arrays import BundleArrays, FacetArrays
from kge.bundle import Bundle, open_bundle, seal_bundle
from kge.completion import Completion
from kge.config import FoldInConfig
from kge.errors import ShapeMismatch
from kge.foldin import FoldIn, FoldInEdges
from kge.index import build_index

FILM = load_schema("film")
FILMS, USERS = 8, 4


def made(**extra: object) -> BundleArrays:
    """Films and users; a facet of clicks alone, in which the last two films have no edge."""
    draw = np.random.default_rng(4)
    normal = lambda *shape: draw.normal(size=shape).astype(np.float32)  # noqa: E731
    count = FILMS + USERS
    click = RelationInfo(name="click", head="user", tail="film", source="onsite")
    sequel = RelationInfo(name="sequel", head="film", tail="film", source="structure")
    degree = np.full(count, 3, np.int32)
    degree[FILMS - 2 : FILMS] = 0
    clicks = FacetArrays(
        vectors=normal(count, 3),
        bias=normal(count),
        degree=degree,
        relations=[click],
        translations=normal(2, 2),
        projections=normal(2, 2, 3),
        priors=normal(2, 3),
    )
    return BundleArrays(
        types=[TypeRange("film", 0, FILMS), TypeRange("user", FILMS, count)],
        ids=np.array([f"f{n}" for n in range(FILMS)] + [f"u{n}" for n in range(USERS)], object),
        vectors=normal(count, 4),
        bias=normal(count),
        degree=np.full(count, 5, np.int32),
        relations=[click, sequel],
        translations=normal(4, 3),
        projections=normal(4, 3, 4),
        priors=normal(2, 4),
        frame_rows=np.array([0, FILMS], np.int32),
        facets={"clicks": clicks},
        **extra,  # type: ignore[arg-type]
    )


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def bundle(store: ArtifactStore) -> Bundle:
    return seal_bundle(store, "0" * 64, made(), dials={}, metrics={})


@pytest.fixture
def trio(store: ArtifactStore, bundle: Bundle) -> SimpleNamespace:
    return SimpleNamespace(
        bundle=bundle,
        index=build_index(store, bundle),
        overlay=Overlay(9),
        completion=Completion(bundle, 1 << 20),
    )


def edge(relation: str, other: str, *, inverse: bool) -> FoldEdge:
    kind = "user" if other[0] == "u" else "film"
    return FoldEdge(relation, EntityId(kind, other), inverse, 1.0, 1)


def solved(bundle: Bundle) -> list[Folded]:
    """A film that two clicked and that is a sequel; and one that is a sequel alone."""
    solver = Solver(bundle, FoldIn(bundle, FoldInConfig()))
    sequel = edge("sequel", "f1", inverse=True)
    clicks = [edge("click", name, inverse=True) for name in ("u0", "u1")]
    return solver.solve("film", [[*clicks, sequel], [sequel]])


def test_what_is_new_is_folded_in_by_every_facet(bundle: Bundle) -> None:
    both, alone = solved(bundle)
    assert (both.edges, both.within("clicks").edges) == (3, 2)
    assert (alone.edges, alone.within("clicks")) == (1, None)
    solver = Solver(bundle, FoldIn(bundle, FoldInConfig()))
    clicks = [edge("click", name, inverse=True) for name in ("u0", "u1")]
    (again,) = solver.solve("film", [clicks])
    np.testing.assert_array_equal(again.facets["clicks"].vector, both.facets["clicks"].vector)
    assert both.facets["clicks"].vector.shape == (3,)


@pytest.mark.parametrize("at_once", [1 << 20, 8])
def test_outcomes_are_edges_of_weight_1_as_often_as_they_happened(
    bundle: Bundle, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all heads at once, or for some, whatever some of them lack."""
    monkeypatch.setattr(solving, "NUMBERS", at_once)
    foldin = FoldIn(bundle, FoldInConfig())
    solver = Solver(bundle, foldin)
    first = Outcomes(("f1", "not trained", "f0"), (2, 5, 1))
    found = [first, NO_OUTCOMES, Outcomes(("f2",), (3,)), Outcomes(("new",), (1,))]
    made = solver.solve_outcomes("user", "click", found)
    f = bundle.rows("film", ["f0", "f1", "f2"])
    relation = [r.name for r in bundle.relations].index("click")
    edges = FoldInEdges(
        owner=np.array([0, 0, 0, 2, 2, 2], np.int32),
        relation=np.full(6, relation, np.int16),
        other=f[[1, 1, 0, 2, 2, 2]],
        inverse=np.zeros(6, bool),
        weight=np.ones(6, np.float32),
    )
    expected = foldin.solve("user", 4, edges)
    np.testing.assert_allclose([one.vector for one in made], expected, atol=1e-6)
    assert [one.edges for one in made] == [2, 0, 1, 0]
    assert not any(one.facets for one in made)
    (alone,) = solver.solve_outcomes("user", "click", found[2:3])
    np.testing.assert_allclose(alone.vector, expected[2], atol=1e-6)
    (prior,) = solver.solve_outcomes("user", "not trained", found[:1])
    np.testing.assert_array_equal(prior.vector, expected[1])


def test_a_facet_finds_those_that_have_an_edge_of_it(trio: SimpleNamespace) -> None:
    both, alone = solved(trio.bundle)
    trio.overlay.put(EntityId("film", "both"), both)
    trio.overlay.put(EntityId("film", "alone"), alone)
    trio.overlay.hide("film", Place(0, FILMS), hidden=True)
    vector = both.within("clicks").vector[None, :]
    found = nearest(trio, Wanted(type="film", k=9, facet="clicks"), vector, None)
    told = [item.id for item in found.items[0]]
    assert told[0] == "both"
    assert sorted(told) == ["both", "f1", "f2", "f3", "f4", "f5"], "not f0, f6, f7, alone"
    whole = nearest(trio, Wanted(type="film", k=20), both.vector[None, :], None)
    assert {"both", "alone", "f6", "f7"} <= {item.id for item in whole.items[0]}


def test_one_that_changed_is_at_its_new_place_in_the_facet_alone(trio: SimpleNamespace) -> None:
    both, _ = solved(trio.bundle)
    trio.overlay.put(EntityId("film", "f2"), both, replaces=Place(2, FILMS))
    vector = both.within("clicks").vector[None, :]
    found = nearest(trio, Wanted(type="film", k=9, facet="clicks"), vector, None).items[0]
    assert [item.id for item in found].count("f2") == 1
    assert (found[0].id, found[0].cold, found[0].edges) == ("f2", False, 2)
    trio.overlay.drop(EntityId("film", "f2"))
    back = nearest(trio, Wanted(type="film", k=9, facet="clicks"), vector, None).items[0]
    assert next(item.edges for item in back if item.id == "f2") == 0


def test_one_that_took_its_clicks_back_is_nowhere_in_the_facet(trio: SimpleNamespace) -> None:
    """It has an edge of another relation still, so it is somewhere in the whole."""
    answerer, f2 = Answerer(None, FILM, 200), EntityId("film", "f2")  # type: ignore[arg-type]
    trained = trio.bundle.facet("clicks").vectors[2]
    before = answerer.learned(trio, f2, 2, "clicks")
    np.testing.assert_array_equal(before.vector, trained)
    _, alone = solved(trio.bundle)
    trio.overlay.put(f2, alone, replaces=Place(2, FILMS))
    after = answerer.learned(trio, f2, 2, "clicks")
    assert (after.state, after.row, after.edges) == ("unknown", -1, 0)
    assert not after.vector.any()
    whole = answerer.learned(trio, f2, 2)
    assert (whole.state, whole.edges) == ("learned", 1)
    np.testing.assert_array_equal(whole.vector, alone.vector)


def test_what_is_new_completes_a_relation_by_the_same_score(trio: SimpleNamespace) -> None:
    both, _ = solved(trio.bundle)
    trio.overlay.put(EntityId("film", "both"), both)
    side = trio.completion.side("click", "user", inverse=False)
    heads = trio.bundle.vectors[FILMS : FILMS + 2]
    found = nearest(trio, Wanted(type="film", k=9, side=side), heads, None)
    for n, items in enumerate(found.items):
        assert [i.score for i in items] == sorted([i.score for i in items], reverse=True)
        new = next(item for item in items if item.id == "both")
        bias = trio.bundle.cold_bias("film", np.array([3]))
        expected = trio.bundle.score_vectors(0, heads[n : n + 1], both.vector[None, :], bias)
        assert new.score == pytest.approx(float(expected[0, 0]), abs=1e-4)
        gap = trio.bundle.whole.project(0, heads[n : n + 1]) - (
            both.vector[None, :] @ trio.bundle.tail_projections[0].T
        )
        assert new.distance == pytest.approx(float(np.linalg.norm(gap)), abs=1e-3)


def test_what_is_new_completes_within_a_facet_by_the_bias_of_those_like_it(
    trio: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two edges of the facet are near the three of six films, far from none of two.

    That holds for one that is new, and for one of the two, which had none when it was trained.
    """
    monkeypatch.setattr("kge.cold_bias._ALIKE", 2)
    both, _ = solved(trio.bundle)
    trio.overlay.put(EntityId("film", "both"), both)
    trio.overlay.put(EntityId("film", "f6"), both, replaces=Place(6, FILMS))
    facet = trio.bundle.facet("clicks")
    side = trio.completion.side("click", "user", facet="clicks", inverse=False)
    heads = facet.vectors[FILMS : FILMS + 1]
    found = nearest(trio, Wanted(type="film", k=9, facet="clicks", side=side), heads, None)
    told = [item for item in found.items[0] if item.id in ("both", "f6")]
    bias = facet.bias[: FILMS - 2].mean(keepdims=True)
    vector = both.facets["clicks"].vector[None, :]
    expected = float(facet.score_vectors(0, heads, vector, bias)[0, 0])
    assert sorted(item.id for item in told) == ["both", "f6"]
    for item in told:
        assert item.score == pytest.approx(expected, abs=1e-4)
        assert item.distance**2 == pytest.approx(float(bias[0]) - expected, abs=1e-3)


def shared(bundle: Bundle, of: Located, item: Item, *hidden: Place) -> list[Leaning]:
    """The anchors of one item, in a graph from which nobody has gone since the overlay's step."""
    trio = SimpleNamespace(bundle=bundle, overlay=Overlay(9))
    for place in hidden:
        trio.overlay.hide("film", place, hidden=True)
    [told] = Explaining(None, FILM, trio, calm=True).anchors(of, [item])  # type: ignore[arg-type]
    return told


def leaning() -> dict[str, np.ndarray]:
    rows = np.full((FILMS + USERS, 2), -1, np.int32)
    shares = np.zeros((FILMS + USERS, 2), np.float32)
    rows[2], shares[2] = [0, 1], [0.5, 0.25]
    rows[3], shares[3] = [1, 0], [0.75, 0.125]
    return {"anchor_rows": rows, "anchor_weights": shares}


def test_anchors_that_both_lean_on_are_told(store: ArtifactStore) -> None:
    sealed = seal_bundle(store, "0" * 64, made(**leaning()), dials={}, metrics={})
    bundle = open_bundle(store, sealed.digest)
    of = Located(EntityId("film", "f2"), np.zeros(4, np.float32), 2, "learned", 0)
    told = shared(bundle, of, Item("film", "f3", 0.1, row=3))
    assert [(one.anchor.id, one.share) for one in told] == [("f1", 0.25), ("f0", 0.125)]
    assert shared(bundle, of, Item("film", "f4", 0.1, row=4)) == []
    assert shared(bundle, of, Item("film", "new", 0.1, cold=True, edges=3)) == []
    moved = Located(of.entity, of.vector, 2, "learned", 5)
    assert shared(bundle, moved, Item("film", "f3", 0.1, row=3)) == []


def test_in_another_facet_nobody_is_said_to_lean_on_anchors(store: ArtifactStore) -> None:
    """The bundle says of the vectors of all relations alone what they are composed of."""
    sealed = seal_bundle(store, "0" * 64, made(**leaning()), dials={}, metrics={})
    trio = SimpleNamespace(bundle=open_bundle(store, sealed.digest), overlay=Overlay(9))
    of = Located(EntityId("film", "f2"), np.zeros(3, np.float32), 2, "learned", 0)
    explaining = Explaining(None, FILM, trio, calm=True)  # type: ignore[arg-type]
    items = [Item("film", "f3", 0.1, row=3)]
    assert explaining.anchors(of, items, "clicks") == [[]]
    [whole] = explaining.anchors(of, items)
    assert [one.anchor.id for one in whole] == ["f1", "f0"]


def test_an_anchor_that_the_overlay_hides_makes_room_for_others(store: ArtifactStore) -> None:
    sealed = seal_bundle(store, "0" * 64, made(**leaning()), dials={}, metrics={})
    bundle = open_bundle(store, sealed.digest)
    of = Located(EntityId("film", "f2"), np.zeros(4, np.float32), 2, "learned", 0)
    told = shared(bundle, of, Item("film", "f3", 0.1, row=3), Place(1, FILMS))
    assert [one.anchor.id for one in told] == ["f0"]


@pytest.mark.parametrize(("asked", "found"), [("f0", "f1"), ("f1", "f0"), ("f0", "f2")])
def test_neither_of_the_two_is_what_both_lean_on(
    store: ArtifactStore, asked: str, found: str
) -> None:
    """f0 and f1 are anchors, and lean on themselves and on each other."""
    arrays = leaning()
    for row in (0, 1):
        arrays["anchor_rows"][row], arrays["anchor_weights"][row] = [row, 1 - row], [0.6, 0.4]
    sealed = seal_bundle(store, "0" * 64, made(**arrays), dials={}, metrics={})
    bundle = open_bundle(store, sealed.digest)
    of = Located(EntityId("film", asked), np.zeros(4, np.float32), int(asked[1]), "learned", 0)
    told = shared(bundle, of, Item("film", found, 0.1, row=int(found[1])))
    assert [one.anchor.id for one in told] == (["f1"] if found == "f2" else [])


@pytest.mark.parametrize(("share", "anchors"), [(0.0099, []), (0.0101, ["f1"])])
def test_an_anchor_that_one_hardly_leans_on_is_not_told(
    store: ArtifactStore, share: float, anchors: list[str]
) -> None:
    arrays = leaning()
    arrays["anchor_weights"][2], arrays["anchor_weights"][3] = [0.00002, share], [0.5, 0.5]
    sealed = seal_bundle(store, "0" * 64, made(**arrays), dials={}, metrics={})
    bundle = open_bundle(store, sealed.digest)
    of = Located(EntityId("film", "f2"), np.zeros(4, np.float32), 2, "learned", 0)
    told = shared(bundle, of, Item("film", "f3", 0.1, row=3))
    assert [one.anchor.id for one in told] == anchors


def test_a_bundle_that_does_not_say_has_no_anchors(bundle: Bundle) -> None:
    assert bundle.leaning is None
    of = Located(EntityId("film", "f2"), np.zeros(4, np.float32), 2, "learned", 0)
    assert shared(bundle, of, Item("film", "f3", 0.1, row=3)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"anchor_weights": None}, "both or neither"),
        ({"anchor_rows": np.zeros((3, 2), np.int32)}, "shape"),
        ({"anchor_rows": np.full((12, 2), 12, np.int32)}, "from -1 to 11"),
    ],
)
def test_anchors_that_do_not_fit_are_refused(store: ArtifactStore, change, words: str) -> None:
    arrays = made(**{**leaning(), **change})
    with pytest.raises(ShapeMismatch, match=words):
        seal_bundle(store, "0" * 64, arrays, dials={}, metrics={})


def test_the_bias_of_what_is_new_goes_by_all_its_edges(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by those that it was not solved from: forty are near the forty of four films."""
    monkeypatch.setattr("kge.cold_bias._ALIKE", 2)
    degree = np.full(FILMS + USERS, 2, np.int32)
    degree[4:FILMS] = 40
    bundle = seal_bundle(store, "0" * 64, replace(made(), degree=degree), dials={}, metrics={})
    clicks = [edge("click", name, inverse=True) for name in ("u0", "u1")]
    (film,) = Solver(bundle, FoldIn(bundle, FoldInConfig())).solve(
        "film", [clicks], degrees=[{"click": 40, "of a later schema": 9}]
    )
    assert (film.edges, film.degree) == (2, 40)
    assert (film.facets["clicks"].edges, film.facets["clicks"].degree) == (2, 40)
    overlay, completion = Overlay(9), Completion(bundle, 1 << 20)
    overlay.put(EntityId("film", "new"), film)
    side = completion.side("click", "user", inverse=False)
    heads = bundle.vectors[FILMS : FILMS + 1]
    trio = SimpleNamespace(bundle=bundle, overlay=overlay, completion=completion)
    found = nearest(trio, Wanted(type="film", k=9, side=side), heads, None).items[0]
    (new,) = [item for item in found if item.id == "new"]
    bias = bundle.bias[4:FILMS].mean(keepdims=True)
    expected = bundle.score_vectors(0, heads, film.vector[None, :], bias)
    assert new.score == pytest.approx(float(expected[0, 0]), abs=1e-4)
    assert new.edges == 2
