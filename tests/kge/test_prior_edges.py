"""What a prior weighs in fold-in: the value that ranks what people did later best."""

from dataclasses import replace

import numpy as np
import pytest

from graphsvc.snapshot import Span
from kge.config import TransRAConfig
from kge.evaluate import scorer_of
from kge.prior_edges import choose_prior_edges
from kge.train import Trained, Training
from kge.triples import graph_of_snapshot
from kge.validation import Sample, sample_of

FILMS = 24
DRAWN = np.random.default_rng(0).permutation(8 * FILMS).tolist()
CLICKS = [(f"u{n // FILMS}", f"f{n % FILMS}") for n in DRAWN]
EDGES = [(user, "click", film) for user, film in CLICKS[:60]]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(FILMS)]
ACTS = [(user, film, n, Span.GRAPH) for n, (user, film) in enumerate(CLICKS[:60])]
LATER = [(user, film, 100 + n, Span.VALID) for n, (user, film) in enumerate(CLICKS[60:90])]
SMALL = TransRAConfig(
    dim=8, relation_dim=6, block=4, batch=8, epochs=4.0, anchors_per_type=2, nearest_anchors=2
)


@pytest.fixture
def world(make_snapshot) -> tuple[Trained, Sample]:
    snapshot = make_snapshot(EDGES, ACTS + LATER)
    graph = graph_of_snapshot(snapshot)
    training = Training(graph, SMALL)
    list(training.steps())
    sample = sample_of(snapshot, graph)
    assert sample is not None
    return training.trained(), sample


def slow_mrr(trained: Trained, sample: Sample, value: float) -> float:
    """Of the whole settled arrays, query by query."""
    config = replace(trained.config, prior_edges=value)
    scores = scorer_of(replace(trained, config=config).arrays())
    found = []
    for head, _, tail in sample.queries.tolist():
        told = scores.scores(sample.relation, np.array([head]), sample.start, sample.start + FILMS)[
            0
        ]
        known = {t for h, _, t in sample.known.tolist() if h == head} - {tail}
        found.append(1 / (1 + sum(told[n] > told[tail] for n in range(FILMS) if n not in known)))
    return float(np.mean(found))


def test_each_value_is_judged_as_the_bundle_would_be(world):
    trained, sample = world
    values = (0.01, 1.0, 1000.0)
    choice = choose_prior_edges(trained, sample, values)
    assert choice is not None
    expected = {value: slow_mrr(trained, sample, value) for value in values}
    assert choice.found == pytest.approx(expected, abs=1e-6)
    assert len(set(expected.values())) > 1
    assert expected[choice.value] == max(expected.values())
    assert choice.reason.startswith("the best filtered MRR of held-out outcomes: 0.01 0.")


def test_of_level_values_the_one_that_trusts_edges_more_is_taken(world):
    choice = choose_prior_edges(*world, (1.0, 1.0000001))
    assert choice is not None
    assert choice.value == 1.0


def test_where_nobody_is_settled_there_is_nothing_to_choose(world):
    trained, sample = world
    assert choose_prior_edges(replace(trained, config=replace(SMALL, settle=False)), sample) is None
    films = replace(sample, queries=np.array([[sample.start, 0, 1]]))
    assert choose_prior_edges(trained, films) is None
