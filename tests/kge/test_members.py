"""Members: each learns as if it were alone, and together they are one model."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from graphsvc.artifact import ArtifactStore
from kge.bundle import seal_bundle
from kge.checkpoint import load, save
from kge.config import TransRAConfig
from kge.errors import ConfigError, ShapeMismatch
from kge.evaluate import scorer_of
from kge.frame import previous_of
from kge.members import alone, together
from kge.model import build_model
from kge.train import Trained, Training
from kge.triples import Graph, graph_of_snapshot
from kge.validation import sample_of

EDGES = [(f"u{u}", "click", f"f{f}") for u in range(8) for f in range(8) if u // 4 == f // 4]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(8)]
TWO = TransRAConfig(
    dim=16, relation_dim=12, members=2, block=8, batch=8, epochs=6.0, anchors_per_type=2,
    nearest_anchors=2, frame_per_type=4, settle=False,
)  # fmt: skip
FORMS = [
    {},
    {"tails": "own", "projection": "block", "projection_blocks": 4},
    {"tails": "still", "relation_dim": 16, "inverse": "transpose", "optimizer": "adam"},
    {"reciprocal": False, "bias": False, "projection": "low_rank", "projection_rank": 2},
]


@pytest.fixture
def graph(make_snapshot) -> Graph:
    return graph_of_snapshot(make_snapshot(EDGES))


def finished(training: Training, share=None) -> Trained:
    for _ in training.steps(share):
        pass
    return training.trained()


@pytest.mark.parametrize("dials", FORMS)
def test_each_learns_as_if_it_were_alone_and_their_scores_add_up(graph: Graph, dials):
    config = dataclasses.replace(TWO, **dials)
    both = Training(graph, config)
    found = finished(both).arrays()
    parted = [finished(Training(graph, alone(config, n))).arrays() for n in (0, 1)]
    assert not np.array_equal(parted[0].vectors, parted[1].vectors)
    np.testing.assert_array_equal(
        found.vectors, np.concatenate([one.vectors for one in parted], axis=1)
    )
    assert both.step == 2 * len(list(Training(graph, alone(config)).steps()))
    heads = np.arange(graph.entity_count)
    for side in range(2 * len(graph.relations)):
        each = [
            scorer_of(one).scores(side, heads, 0, graph.entity_count) for one in (found, *parted)
        ]
        np.testing.assert_allclose(each[0], each[1] + each[2], rtol=1e-4, atol=1e-4)


def test_what_is_learned_so_far_is_that_of_those_who_are_done(graph: Graph):
    training = Training(graph, TWO)
    total = next(iter(Training(graph, TWO).steps())).total
    for told in training.steps():
        trained = training.trained()
        assert len(trained.models) == (2 if told.step == total else 1), told
        assert trained.config == together(TWO, len(trained.models))
        assert trained.arrays().vectors.shape[1] == 8 * len(trained.models)
        assert told.note.startswith(f"member {1 + (told.step > total // 2)} of 2, ")
    assert training.step == total


def test_a_clock_gives_each_an_equal_part(graph: Graph):
    training = Training(graph, TWO)
    learning = [training.numbers()["members"] for _ in training.steps(lambda step: step / 20)]
    assert learning == [0] * 10 + [1] * 10
    assert len(training.trained().models) == 2


def test_members_part_what_a_clock_that_jumps_has_left(graph: Graph):
    training = Training(graph, dataclasses.replace(TWO, dim=18, members=3))
    share = lambda step: 0.0 if step < 4 else 0.8 + (step - 4) / 50  # noqa: E731
    learning = [training.numbers()["members"] for _ in training.steps(share)]
    assert learning == [0] * 4 + [1] * 5 + [2] * 5
    assert len(training.trained().models) == 3


def test_who_never_learned_is_no_member(graph: Graph):
    training = Training(graph, TWO)
    steps = list(training.steps(lambda step: float(step == 4)))
    assert len(steps) == 4
    assert len(training.trained().models) == 1
    assert not list(Training(graph, TWO).steps(lambda _: 1.0)), "no time, no step"


def test_by_a_clock_nobody_counts_before_the_part_is_over(graph: Graph):
    """However many rounds it holds: each learns on at falling rates to the end of its part."""
    training = Training(graph, dataclasses.replace(TWO, epochs=0.5))
    models = [len(training.trained().models) for _ in training.steps(lambda step: step / 60)]
    assert models == [1] * 60
    assert len(training.trained().models) == 2


def test_what_is_over_can_be_saved(graph: Graph, tmp_path: Path):
    training, other = (Training(graph, dataclasses.replace(TWO, epochs=0.5)) for _ in range(2))
    finished(training)
    save(training, tmp_path / "training.safetensors")
    load(other, tmp_path / "training.safetensors")
    assert not list(other.steps())
    np.testing.assert_array_equal(
        other.trained().arrays().vectors, training.trained().arrays().vectors
    )


@pytest.mark.parametrize("early", [0.0, 0.5])
@pytest.mark.parametrize("steps", [5, 60, 75])  # in the first, at its end, in the second
def test_a_checkpoint_goes_on_in_any_member(graph: Graph, tmp_path: Path, steps: int, early: float):
    config = dataclasses.replace(TWO, early_share=early, early_negatives=2)
    whole, first, second = (Training(graph, config) for _ in range(3))
    expected = [told.loss for told in whole.steps()]
    assert len(expected) == 120
    begun = [told.loss for told in itertools.islice(first.steps(), steps)]
    save(first, tmp_path / "training.safetensors")
    load(second, tmp_path / "training.safetensors")
    assert begun + [told.loss for told in second.steps()] == expected
    left, right = whole.trained().arrays(), second.trained().arrays()
    np.testing.assert_array_equal(left.vectors, right.vectors)
    np.testing.assert_array_equal(left.projections, right.projections)
    np.testing.assert_array_equal(left.bias, right.bias)


def test_a_refresh_begins_each_where_it_was(graph: Graph, store: ArtifactStore):
    before = finished(Training(graph, TWO)).arrays()
    bundle = seal_bundle(store, "1" * 64, before, dials={}, metrics={})
    config = dataclasses.replace(TWO, learning_rate=1e-9, relation_learning_rate=1e-9)
    refreshed = finished(Training(graph, config, previous_of(bundle, graph))).arrays()
    np.testing.assert_allclose(refreshed.vectors, before.vectors, atol=1e-5)
    np.testing.assert_allclose(refreshed.projections, before.projections, atol=1e-5)
    np.testing.assert_allclose(refreshed.bias, before.bias, atol=1e-5)
    assert refreshed.frame == bundle.frame
    halfway = Training(graph, config, previous_of(bundle, graph))
    next(iter(halfway.steps()))
    first = halfway.trained()
    assert first.arrays().frame is None, "a ranker cannot read half of its vectors"
    assert first.frame_kept(first.arrays()) == 0.0
    with pytest.raises(ShapeMismatch, match="whose maps cannot be parted into 4"):
        Training(graph, dataclasses.replace(TWO, members=4), previous_of(bundle, graph))
    with pytest.raises(ShapeMismatch, match=r"relation_dim and dim should .* \(12, 16\)"):
        Training(graph, dataclasses.replace(TWO, dim=32), previous_of(bundle, graph))


def test_validation_asks_all_that_are_done(make_snapshot):
    acts = [(u, f, n, 0) for n, (u, r, f) in enumerate(EDGES) if r == "click"]
    snapshot = make_snapshot(EDGES, [*acts, ("u0", "f5", 100, 2), ("u6", "f2", 101, 2)])
    graph = graph_of_snapshot(snapshot)
    sample = sample_of(snapshot, graph)
    assert sample is not None
    parted = [Training(graph, alone(TWO, n)) for n in (0, 1)]
    both = Training(graph, TWO)
    for training in (both, *parted):
        finished(training)
    films = next(t for t in graph.types if t.name == "film")
    row = {name: n for n, name in enumerate(graph.ids.tolist())}
    expected = []
    for user, film in (("u0", "f5"), ("u6", "f2")):
        told = sum(
            scorer_of(one.trained().arrays()).scores(
                0, np.array([row[user]]), films.start, films.stop
            )[0]
            for one in parted
        )
        known = {f for u, r, f in EDGES if u == user and r == "click"}
        rest = [f for f in range(films.start, films.stop) if graph.ids[f] not in known | {film}]
        own = told[row[film] - films.start]
        expected.append(1 / (1 + sum(told[f - films.start] > own for f in rest)))
    assert sample.mrr(both) == pytest.approx(np.mean(expected), abs=1e-6)


def test_dials_that_cannot_be_parted_are_refused(graph: Graph):
    with pytest.raises(ConfigError, match=r"members should divide dim, .* received 3 with dim 64"):
        TransRAConfig(members=3)
    with pytest.raises(ConfigError, match="received 4 with dim 64, relation_dim 64 and 2 blocks"):
        TransRAConfig(members=4, projection="block", projection_blocks=2)
    with pytest.raises(ConfigError, match="members of one model should be 1, received 2"):
        build_model(graph, TWO)
