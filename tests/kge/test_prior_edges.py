"""What a prior weighs in fold-in: the value that ranks what people did later best."""

from dataclasses import replace

import numpy as np
import pytest

from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import Snapshot, Span
from kge.bundle import seal_bundle
from kge.config import TransRAConfig
from kge.heldout import evaluate
from kge.prior_edges import choose_prior_edges
from kge.train import Trained, Training
from kge.triples import graph_of_snapshot

FILMS = 24
DRAWN = np.random.default_rng(0).permutation(10 * FILMS).tolist()
CLICKS = [(f"u{n // FILMS}", f"f{n % FILMS}") for n in DRAWN]
#: u8 and u9 are unknown to the graph.
EDGES = [(u, "click", f) for u, f in CLICKS[:80] if u < "u8"]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(FILMS)]
ACTS = [(u, f, n, Span.GRAPH) for n, (u, f) in enumerate(CLICKS[:80]) if u < "u8"]
LATER = [(u, f, 100 + n, Span.TRAIN) for n, (u, f) in enumerate(CLICKS[80:110])]
LATER += [(u, f, 200 + n, Span.VALID) for n, (u, f) in enumerate(CLICKS[110:160])]
LATEST = [(u, f, 300 + n, Span.TEST) for n, (u, f) in enumerate(CLICKS[160:190])]
SMALL = TransRAConfig(
    dim=8, relation_dim=6, block=4, batch=8, epochs=4.0, anchors_per_type=2, nearest_anchors=2
)
VALUES = (0.01, 1.0, 1000.0)


@pytest.fixture
def world(make_snapshot) -> tuple[Trained, Snapshot]:
    snapshot = make_snapshot(EDGES, ACTS + LATER)
    training = Training(graph_of_snapshot(snapshot), SMALL)
    list(training.steps())
    return training.trained(), snapshot


def test_each_value_is_judged_as_the_report_judges_what_is_served(world, store: ArtifactStore):
    """Of people whom training knows and of new ones; all films have an edge and are known."""
    trained, snapshot = world
    choice = choose_prior_edges(trained, snapshot, VALUES)
    assert choice is not None
    expected = {}
    for value in VALUES:
        config = replace(trained.config, prior_edges=value)
        bundle = seal_bundle(
            store,
            snapshot.digest,
            replace(trained, config=config).arrays(),
            dials={"prior_edges": value},
            metrics={},
        )
        rows = evaluate(bundle, snapshot, seed=0, span=Span.VALID)
        name = f"{snapshot.split['protocol']}/valid"
        [expected[value]] = [
            r.value for r in rows if (r.model, r.metric, r.split) == ("transra", "mrr", name)
        ]
    assert choice.found == pytest.approx(expected, abs=1e-6)
    assert len(set(expected.values())) == len(VALUES)
    assert expected[choice.value] == max(expected.values())
    assert choice.reason.startswith("the best filtered MRR of held-out outcomes: 0.01 0.")


def test_what_comes_after_valid_is_not_read(make_snapshot, world):
    trained, snapshot = world
    longer = make_snapshot(EDGES, ACTS + LATER + LATEST)
    found = [choose_prior_edges(trained, source, VALUES) for source in (snapshot, longer)]
    assert found[0] is not None
    assert found[0] == found[1]


def test_of_level_values_the_one_that_trusts_edges_more_is_taken(world):
    choice = choose_prior_edges(*world, (1.0, 1.0000001))
    assert choice is not None
    assert choice.value == 1.0


def test_where_fold_in_has_no_say_there_is_nothing_to_choose(make_snapshot, world):
    trained, snapshot = world
    unsettled = replace(trained, config=replace(SMALL, settle=False))
    assert choose_prior_edges(unsettled, snapshot) is None
    assert choose_prior_edges(trained, make_snapshot(EDGES, ACTS)) is None
