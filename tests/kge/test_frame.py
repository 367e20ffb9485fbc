import dataclasses

import numpy as np
import pytest
import torch

from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import RelationInfo
from kge.bundle import Bundle, seal_bundle
from kge.config import TransRAConfig
from kge.dials import Dials
from kge.errors import ShapeMismatch
from kge.facets import as_facet, group_of
from kge.frame import agreement, begin_with, hold, kept, previous_of
from kge.model import build_model, parts
from kge.policy import choose
from kge.train import Training, begin_graph
from kge.triples import Graph, graph_of_snapshot

EDGES = [(f"u{u}", "click", f"f{f}") for u in range(8) for f in range(8) if u // 4 == f // 4]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(8)]
#: A day later: somebody new, a new film, and another click.
LATER = [*EDGES, ("u9", "click", "f0"), ("u1", "click", "f9"), ("u0", "click", "f5")]
SMALL = TransRAConfig(
    dim=8, relation_dim=8, block=8, batch=8, epochs=30.0, anchors_per_type=2, nearest_anchors=2,
    frame_per_type=4,
)  # fmt: skip


def finished(training: Training) -> Training:
    for _ in training.steps():
        pass
    return training


@pytest.fixture
def before(make_snapshot, store: ArtifactStore) -> Bundle:
    snapshot = make_snapshot(EDGES)
    training = finished(Training(graph_of_snapshot(snapshot), SMALL))
    arrays = training.trained().arrays()
    return seal_bundle(store, snapshot.digest, arrays, dials={}, metrics={})


@pytest.fixture
def graph(make_snapshot):
    return graph_of_snapshot(make_snapshot(LATER))


def test_a_refresh_begins_with_the_vectors_scores_and_maps_before(before: Bundle, graph):
    model = build_model(graph, SMALL)
    previous = previous_of(before, graph)
    begin_with(previous, parts(model), SMALL, len(graph.relations))
    row = {name: n for n, name in enumerate(graph.ids.tolist())}
    assert set(graph.ids[previous.rows].tolist()) == set(before.ids.tolist())
    vectors = parts(model).vectors.every()
    for kind, name in (("film", "f2"), ("user", "u3"), ("thing", "t1")):
        [old] = before.rows(kind, [name])
        np.testing.assert_allclose(vectors[row[name]], before.vectors[old], atol=1e-5)
    triples = torch.tensor([[row["u3"], 0, row["f2"]]])
    [old_user], [old_film] = before.rows("user", ["u3"]), before.rows("film", ["f2"])
    expected = before.score_tails(0, before.vectors[[old_user]], np.array([old_film]))
    found = model.score_hrt(triples).item()
    assert found == pytest.approx(expected.item(), abs=1e-4)


def test_the_pull_is_the_gradient_of_its_loss(before: Bundle, graph):
    config = dataclasses.replace(SMALL, frame_weight=0.7)
    held = hold(previous_of(before, graph), config)
    assert held is not None
    now = torch.randn(
        len(held.rows), 8, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    loss = 0.7 * (now - held.places).square().sum(dim=1).mean()
    torch.testing.assert_close(held.slope(now.detach()), torch.autograd.grad(loss, now)[0])


def test_a_held_refresh_keeps_the_frame_and_a_training_from_nothing_does_not(
    before: Bundle, graph, store: ArtifactStore
):
    previous = previous_of(before, graph)
    refreshed = finished(Training(graph, SMALL, previous)).trained().arrays()
    alone = finished(Training(graph, dataclasses.replace(SMALL, seed=9))).trained().arrays()
    assert kept(previous, refreshed) > 0.95 > kept(previous, alone)
    for arrays, same in ((refreshed, True), (alone, False)):
        bundle = seal_bundle(store, "1" * 64, arrays, dials={}, metrics={})
        assert (bundle.frame == before.frame) is same


def test_a_frame_is_not_kept_by_its_holders_alone(before: Bundle, graph):
    """Not where others turned, where lengths changed, where maps did, or few holders are left."""
    previous = previous_of(before, graph)
    arrays = finished(Training(graph, SMALL, previous)).trained().arrays()
    others = np.setdiff1d(previous.rows, previous.rows[previous.held])
    assert len(others)
    assert len(previous.held)
    turned, longer = arrays.vectors.copy(), arrays.vectors.copy()
    turned[others] *= -1
    longer[previous.rows] = 2 * arrays.vectors[previous.rows]
    wrong = {
        "others": dataclasses.replace(arrays, vectors=turned),
        "lengths": dataclasses.replace(arrays, vectors=longer),
        "maps": dataclasses.replace(arrays, projections=-arrays.projections),
        "tails": dataclasses.replace(arrays, tail_projections=-arrays.projections),
    }
    assert kept(previous, arrays) > 0.95
    for name, changed in wrong.items():
        assert kept(previous, changed) < 0.85, name
    gone = dataclasses.replace(previous, holders=2 * len(previous.held) + 1)
    assert kept(gone, arrays) == 0.0
    nobody = dataclasses.replace(previous, held=previous.held[:0], holders=0)
    assert kept(nobody, arrays) == 0.0, "a frame that nobody holds is none"


def test_agreement_by_hand():
    """Half as long: 2 * 2 / (1 + 4) = .8; at right angles 0; opposite -1; a matrix as one row."""
    before = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    now = np.array([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(agreement(before, now), [0.8, 0.0, -1.0, 1.0])
    matrix = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    np.testing.assert_allclose(agreement(matrix, 2 * matrix), [0.8])


def test_a_refresh_that_does_not_hold_has_a_frame_of_its_own(before: Bundle, graph):
    free = dataclasses.replace(SMALL, frame_weight=0.0)
    training = finished(Training(graph, free, previous_of(before, graph)))
    assert training.trained().arrays().frame is None


def test_a_refresh_trains_a_share_of_the_epochs_at_the_last_rates(before: Bundle, graph):
    previous = previous_of(before, graph)
    quarter = dataclasses.replace(SMALL, refresh_share=0.25)
    whole, part = Training(graph, quarter), Training(graph, quarter, previous)
    steps = [sum(1 for _ in training.steps()) for training in (whole, part)]
    assert steps[1] == pytest.approx(steps[0] / 4, abs=1)
    # Rates begin where those of a whole training are after three quarters of it.
    asked: list[float] = []
    again = Training(graph, quarter, previous)
    learn = again._learner.learn
    again._learner.learn = lambda batch, decay, draw: (
        asked.append(decay),
        learn(batch, decay, draw),
    )[1]
    for _ in again.steps():
        pass
    assert asked[0] == 0.25
    assert asked == sorted(asked, reverse=True)


@pytest.mark.parametrize(
    ("dials", "says"),
    [
        ({"dim": 4}, "dim should be those"),
        ({"projection": "low_rank"}, "projection = full or block"),
        ({"tails": "still"}, "tails should be those of the bundle before"),
    ],
)
def test_a_bundle_of_another_form_is_refused(before: Bundle, graph, dials, says: str):
    config = dataclasses.replace(SMALL, **dials)
    with pytest.raises(ShapeMismatch, match=says):
        Training(graph, config, previous_of(before, graph))


def test_transposes_are_taken_over_as_such(make_snapshot, store: ArtifactStore, graph):
    own = dataclasses.replace(SMALL, tails="still")
    turned = dataclasses.replace(own, inverse="transpose")
    snapshot = make_snapshot(EDGES)
    bundles = {}
    for config in (own, turned):
        arrays = finished(Training(graph_of_snapshot(snapshot), config)).trained().arrays()
        bundles[config.inverse] = seal_bundle(store, snapshot.digest, arrays, dials={}, metrics={})
    # Two matrices may begin as transposes of each other, one cannot begin as two others.
    for later in (own, turned):
        training = Training(graph, later, previous_of(bundles["transpose"], graph))
        count = len(graph.relations)
        begun = training.trained().arrays().projections
        np.testing.assert_array_equal(begun[:count], begun[count:].transpose(0, 2, 1))
        assert np.isin(begun, bundles["transpose"].projections).all()
    with pytest.raises(ShapeMismatch, match="inverse should be those of the bundle before"):
        Training(graph, turned, previous_of(bundles["own"], graph))


@pytest.mark.parametrize(("blocks", "refused"), [(2, False), (1, False), (4, True)])
def test_blocks_are_taken_over_by_blocks_as_large(
    make_snapshot, store: ArtifactStore, graph, blocks: int, refused: bool
):
    config = dataclasses.replace(SMALL, projection="block", projection_blocks=2)
    snapshot = make_snapshot(EDGES)
    arrays = finished(Training(graph_of_snapshot(snapshot), config)).trained().arrays()
    bundle = seal_bundle(store, snapshot.digest, arrays, dials={}, metrics={})
    later = dataclasses.replace(config, projection_blocks=blocks)
    if refused:
        with pytest.raises(ShapeMismatch, match="should be those of the bundle before, or leave"):
            Training(graph, later, previous_of(bundle, graph))
        return
    training = Training(graph, later, previous_of(bundle, graph))
    places = [arrays.relations.index(relation) for relation in graph.relations]
    begun = training.trained().arrays().projections[: len(graph.relations)]
    np.testing.assert_array_equal(begun, arrays.projections[places])


def rare(graph: Graph) -> Graph:
    """Twenty new relations of one edge each."""
    names = [f"rare{n}" for n in range(20)]
    more = [RelationInfo(name=n, head="user", tail="film", source="structure") for n in names]
    film, user = (next(t for t in graph.types if t.name == name) for name in ("film", "user"))
    return dataclasses.replace(
        graph,
        relations=[*graph.relations, *more],
        head=np.concatenate([graph.head, np.full(20, user.start)]),
        relation=np.concatenate([graph.relation, len(graph.relations) + np.arange(20)]),
        tail=np.concatenate([graph.tail, np.full(20, film.start)]),
        weight=np.concatenate([graph.weight, np.ones(20, np.float32)]),
    )


def test_facts_are_refreshed_where_relations_or_a_first_click_came(
    make_snapshot, store: ArtifactStore
):
    dials = Dials(dim=16, epochs=30.0, anchors_per_type=2, nearest_anchors=2, frame_per_type=4)
    clicked = graph_of_snapshot(make_snapshot(EDGES))
    known = [dataclasses.replace(r, source="structure") for r in clicked.relations]
    facts = dataclasses.replace(clicked, relations=known)
    first = finished(begin_graph(facts, dials))
    form = (first.config.tails, first.config.projection, first.config.projection_blocks)
    assert form == ("still", "block", 2)  # 20 facts per relation, so blocks of 8
    arrays = first.trained().arrays()
    given = dataclasses.asdict(first.config)
    bundle = seal_bundle(store, "0" * 64, arrays, dials=given, metrics={})
    for later in (rare(facts), clicked):
        anew = choose(later, dials).config
        with pytest.raises(ShapeMismatch, match="of the bundle before"):
            Training(later, anew, previous_of(bundle, later))
        training = begin_graph(later, dials, previous=bundle)
        config = training.config
        assert (config.tails, config.projection, config.projection_blocks) == form
        assert training.reasons["tails"] == "as in the bundle before, whose maps it begins with"
    with pytest.raises(ShapeMismatch, match="projection_blocks and inverse should be those"):
        begin_graph(facts, dataclasses.replace(dials, projection_blocks=4), previous=bundle)


def test_a_facet_is_refreshed_in_its_own_form(make_snapshot, store: ArtifactStore):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    small = {"anchors_per_type": 2, "nearest_anchors": 2, "frame_per_type": 4, "epochs": 1.0}
    dials = Dials(**small)
    whole, genres = begin_graph(graph, dials), begin_graph(group_of(graph, ["genre"]), dials)
    assert (whole.config.dim, genres.config.dim) == (64, 256)
    facets = {"genres": as_facet(genres.trained().arrays())}
    arrays = dataclasses.replace(whole.trained().arrays(), facets=facets)
    given = dataclasses.asdict(whole.config)
    bundle = seal_bundle(store, "0" * 64, arrays, dials=given, metrics={})
    assert bundle.dials_of("genres") == dataclasses.asdict(genres.config)
    later = group_of(rare(graph), ["genre", *(f"rare{n}" for n in range(20))])
    again = begin_graph(later, dials, previous=bundle, facet="genres")
    assert again.config.dim == 256
    assert again.config.projection_blocks == genres.config.projection_blocks
