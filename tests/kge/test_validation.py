"""What is looked for while a training goes on: the same sample, ranked as it is by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from graphsvc.snapshot import Span
from kge.config import TransRAConfig
from kge.evaluate import scorer_of
from kge.facets import group_of
from kge.train import Training
from kge.triples import graph_of_snapshot
from kge.validation import LOOKS, due, sample_of

GRAPH, TRAIN, VALID, CALIBRATE, TEST = Span
EDGES = [(f"u{u}", "click", f"f{f}") for u in range(8) for f in range(8) if (u + f) % 3]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(10)]
#: u9 and f11 are unknown to the graph.
ACTS = [(u, f, n, GRAPH) for n, (u, r, f) in enumerate(EDGES) if r == "click"]
ACTS += [
    ("u0", "f3", 100, TRAIN),
    ("u0", "f6", 110, VALID),
    ("u0", "f9", 111, VALID),
    ("u0", "f1", 112, VALID),  # a pair that is known already: no query
    ("u1", "f8", 113, VALID),
    ("u9", "f8", 114, VALID),
    ("u1", "f11", 115, VALID),
]
LATER = [("u0", "f8", 120, CALIBRATE), ("u1", "f9", 121, TEST)]
SMALL = TransRAConfig(
    dim=8, relation_dim=6, block=4, batch=8, negatives=2, epochs=3.0, anchors_per_type=2,
    nearest_anchors=2, settle=False,
)  # fmt: skip


@pytest.mark.parametrize(
    "dials",
    [{}, {"tails": "own"}, {"tails": "still", "relation_dim": 8}, {"bias": False},
     {"reciprocal": False, "bias": False}],
)  # fmt: skip
def test_it_is_the_filtered_rank_among_the_tails_type(make_snapshot, dials):
    snapshot = make_snapshot(EDGES, ACTS + LATER)
    graph = graph_of_snapshot(snapshot)
    training = Training(graph, replace(SMALL, **dials))
    list(itertools.islice(training.steps(), 9))
    sample = sample_of(snapshot, graph)
    assert sample is not None
    scores = scorer_of(training.trained().arrays())
    films = next(t for t in graph.types if t.name == "film")
    row = {name: n for n, name in enumerate(graph.ids.tolist())}
    expected = []
    for user, film in (("u0", "f6"), ("u0", "f9"), ("u1", "f8")):
        [told] = scores.scores(0, np.array([row[user]]), films.start, films.stop)
        own = told[row[film] - films.start]
        known = {f for u, f, _, _ in ACTS if u == user and f in row} - {film}
        others = [f for f in range(films.start, films.stop) if graph.ids[f] not in known]
        expected.append(1 / (1 + sum(told[f - films.start] > own for f in others)))
    assert sample.mrr(training) == pytest.approx(np.mean(expected), abs=1e-6)


def test_looking_changes_nothing_of_the_training(make_snapshot):
    snapshot = make_snapshot(EDGES, ACTS)
    graph = graph_of_snapshot(snapshot)
    longer = replace(SMALL, epochs=10.0, learning_rate=0.3)
    sample, watched = sample_of(snapshot, graph), Training(graph, longer)
    assert sample is not None
    looks = [sample.mrr(watched) for _ in watched.steps()]
    alone = Training(graph, longer)
    steps = sum(1 for _ in alone.steps())
    assert len(looks) == steps
    assert len(set(looks)) > 1
    left, right = watched.trained().arrays(), alone.trained().arrays()
    np.testing.assert_array_equal(left.vectors, right.vectors)
    np.testing.assert_array_equal(left.projections, right.projections)


def test_what_lies_behind_valid_is_not_read(make_snapshot):
    found = []
    for acts in (ACTS + LATER, [*ACTS, ("u0", "f2", 120, CALIBRATE), ("u1", "f2", 122, TEST)]):
        snapshot = make_snapshot(EDGES, acts)
        found.append(sample_of(snapshot, graph_of_snapshot(snapshot)))
    np.testing.assert_array_equal(found[0].queries, found[1].queries)
    np.testing.assert_array_equal(found[0].known, found[1].known)


def test_a_sample_is_bounded_and_the_same_each_time(make_snapshot):
    snapshot = make_snapshot(EDGES, ACTS)
    graph = graph_of_snapshot(snapshot)
    whole, first, again = (sample_of(snapshot, graph, most) for most in (500, 2, 2))
    assert [len(sample.queries) for sample in (whole, first, again)] == [3, 2, 2]
    np.testing.assert_array_equal(first.queries, again.queries)


def test_without_held_out_edges_or_their_relation_there_is_none(make_snapshot):
    snapshot = make_snapshot(EDGES, [act for act in ACTS if act[3] != VALID])
    assert sample_of(snapshot, graph_of_snapshot(snapshot)) is None
    snapshot = make_snapshot(EDGES, ACTS)
    assert sample_of(snapshot, group_of(graph_of_snapshot(snapshot), ["genre"])) is None


@pytest.mark.parametrize("total", [3, 8, 100, 1001])
def test_looks_are_few_and_the_last_step_is_one(total: int):
    looks = [step for step in range(1, total + 1) if due(step, total)]
    assert len(looks) == min(LOOKS, total)
    assert looks[-1] == total
