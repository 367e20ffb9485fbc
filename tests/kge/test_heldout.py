import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from graphsvc.report import Row
from graphsvc.snapshot import Span
from kge.arrays import BundleArrays
from kge.bundle import Bundle, seal_bundle
from kge.config import FoldInConfig
from kge.foldin import FoldIn, FoldInEdges
from kge.heldout import METRICS, compare, evaluate

GRAPH, TRAIN, VALID, _, TEST = Span
EDGES = [("u1", "click", "f1"), ("u1", "click", "f2"), ("u2", "click", "f2"), ("u2", "click", "f3")]
EDGES += [(f"f{n}", "genre", "t1") for n in range(1, 6)]
#: u8 and u9 are new to the bundle, and so is f9.
ACTS = [
    ("u1", "f1", 1, GRAPH),
    ("u1", "f2", 2, GRAPH),
    ("u2", "f2", 3, GRAPH),
    ("u2", "f3", 4, GRAPH),
    ("u1", "f3", 10, TRAIN),
    ("u8", "f1", 11, TRAIN),
    ("u8", "f4", 20, VALID),
    ("u1", "f5", 30, TEST),
    ("u8", "f2", 31, TEST),
    ("u8", "f3", 31, TEST),
    ("u9", "f2", 32, TEST),
    ("u9", "f9", 33, TEST),
    ("u2", "f2", 34, TEST),  # a pair that is known already: no query
]
FILMS = ["f1", "f2", "f3", "f4", "f5", "f9"]


@pytest.fixture
def world(make_snapshot, store):
    snapshot = make_snapshot(EDGES, ACTS)
    return sealed(store, snapshot), snapshot


def sealed(store, snapshot) -> Bundle:
    draw = np.random.default_rng(11)
    normal = lambda *shape: draw.normal(size=shape).astype(np.float32)  # noqa: E731
    from kge.triples import graph_of_snapshot

    graph = graph_of_snapshot(snapshot)
    arrays = BundleArrays(
        types=graph.types,
        ids=graph.ids,
        vectors=normal(graph.entity_count, 4),
        bias=normal(graph.entity_count),
        degree=graph.degree,
        relations=graph.relations,
        translations=normal(4, 3),
        projections=normal(4, 3, 4),
        priors=normal(3, 4),
        frame_rows=np.array([0], np.int32),
    )
    return seal_bundle(store, snapshot.digest, arrays, dials={"prior_edges": 1.5}, metrics={})


def slow_ranks(bundle) -> list[tuple[str, int, float, float, int]]:
    """(user, history, rank by TransRA, rank by clicks, candidates) of every test query."""
    clicks = {film: sum(a[1] == film and a[3] == GRAPH for a in ACTS) for film in FILMS}
    first = {}
    for user, film, time, span in ACTS:
        first.setdefault((user, film), (time, span))
    found = []
    for (user, film), (time, span) in first.items():
        if span != TEST:
            continue
        past = [f for (u, f), (t, _) in first.items() if u == user and t < time]
        row = int(bundle.rows("user", [user])[0])
        head = bundle.vectors[row]
        if row < 0:
            other = bundle.rows("film", past)
            size = len(other)
            edges = FoldInEdges(
                np.zeros(size, np.int32),
                np.zeros(size, np.int16),
                other,
                np.zeros(size, bool),
                np.ones(size, np.float32),
            )
            head = FoldIn(bundle, FoldInConfig(prior_edges=1.5)).solve("user", 1, edges)[0]
        known = {f for (u, f) in first if u == user}
        rest = [f for f in FILMS if f == film or f not in known]
        score = {f: score_of(bundle, head, f) for f in rest}
        found.append(
            (
                user,
                len(past),
                rank(score, film),
                rank({f: clicks[f] for f in rest}, film),
                len(rest),
            )
        )
    return found


def score_of(bundle, head, film: str) -> float:
    row = int(bundle.rows("film", [film])[0])
    tail = bundle.vectors[row] if row >= 0 else bundle.prior("film")
    bias = bundle.bias[row] if row >= 0 else bundle.cold_bias("film", np.array([0]))[0]
    matrix, shift = bundle.projections[0], bundle.translations[0]
    return float(-np.square(matrix @ head + shift - matrix @ tail).sum() + bias)


def rank(score: dict[str, float], own: str) -> float:
    above = sum(value > score[own] + 1e-5 for value in score.values())
    equal = sum(abs(value - score[own]) <= 1e-5 for value in score.values())
    return above + (equal + 1) / 2


def value_of(rows: list[Row], split: str, model: str, metric: str) -> Row:
    (row,) = [r for r in rows if (r.split, r.model, r.metric) == (split, model, metric)]
    return row


def test_every_figure_equals_a_slow_loop(world):
    bundle, snapshot = world
    rows = evaluate(bundle, snapshot, seed=3)
    ranks = slow_ranks(bundle)
    assert len(ranks) == 5
    slices = {
        "global_time/test": ranks,
        "global_time/test/history=0": [r for r in ranks if r[1] == 0],
        "global_time/test/history=1-4": [r for r in ranks if 1 <= r[1] <= 4],
    }
    assert {row.split for row in rows} == set(slices)
    for split, part in slices.items():
        for model, column in (("transra", 2), ("click_count", 3)):
            place = np.array([r[column] for r in part])
            expected = {"mrr": 1 / place, "hits@10": place <= 10, "recall@50": place <= 50}
            for metric in METRICS:
                found = value_of(rows, split, model, metric).value
                assert found == pytest.approx(np.mean(expected[metric]), rel=1e-6)
        size = [r[4] for r in part]
        chance = np.mean([np.mean(1 / np.arange(1, n + 1)) for n in size])
        assert value_of(rows, split, "random", "mrr").value == pytest.approx(chance)
        apart = value_of(rows, split, "transra - click_count", "mrr")
        both = [value_of(rows, split, m, "mrr").value for m in ("transra", "click_count")]
        assert apart.value == pytest.approx(both[0] - both[1])
        assert apart.lo <= apart.value <= apart.hi


def test_the_interval_of_one_head_is_a_point(world):
    """With one cluster every resample is the sample itself."""
    bundle, snapshot = world
    rows = evaluate(bundle, snapshot, seed=1)
    row = value_of(rows, "global_time/test/history=0", "transra", "mrr")
    assert row.lo == pytest.approx(row.value)
    assert row.hi == pytest.approx(row.value)


def test_the_span_is_chosen_and_an_empty_one_has_no_rows(world, make_snapshot):
    bundle, snapshot = world
    valid = evaluate(bundle, snapshot, seed=0, span=VALID)
    assert valid[0].split == "global_time/valid"
    per_user = make_snapshot(EDGES, ACTS[:-6], protocol="per_user_time")
    assert evaluate(bundle, per_user, seed=0) == []
    rows = evaluate(bundle, per_user, seed=0, span=VALID)
    assert {row.split for row in rows} == {"per_user_time/valid"}


def test_bundles_are_compared_on_the_same_queries(world):
    bundle, snapshot = world
    alone = evaluate(bundle, snapshot, seed=3)
    rows = compare({"one": bundle, "two": bundle}, snapshot, seed=3)
    split = "global_time/test"
    for metric in METRICS:
        for model, ours in (("one", "transra"), ("two", "transra"), ("click_count", "click_count")):
            assert value_of(rows, split, model, metric).value == (
                value_of(alone, split, ours, metric).value
            )
        same = value_of(rows, split, "two - one", metric)
        assert (same.value, same.lo, same.hi) == (0.0, 0.0, 0.0)
        apart = value_of(rows, split, "two - click_count", metric)
        assert apart == replace(
            value_of(alone, split, "transra - click_count", metric), model="two - click_count"
        )
    # f9 is unknown to the bundle; the others have an edge to their genre, and clicks
    assert {row.split for row in rows} == {split, f"{split}/degree=0", f"{split}/degree=1-4"}
    ranks = slow_ranks(bundle)
    new = value_of(rows, f"{split}/degree=0", "one", "mrr")
    assert new.value == pytest.approx(1 / ranks[-1][2])


@pytest.mark.parametrize("memory", [1, 3_000])
def test_the_budget_changes_no_figure(world, memory: int):
    bundle, snapshot = world
    rows, expected = (
        evaluate(bundle, snapshot, seed=3, **more) for more in ({"memory": memory}, {})
    )
    for row, other in zip(rows, expected, strict=True):
        assert (row.split, row.model, row.metric) == (other.split, other.model, other.metric)
        assert (row.value, row.lo, row.hi) == pytest.approx((other.value, other.lo, other.hi))


@pytest.mark.parametrize("films", [1_000, 16_000])
def test_no_table_of_queries_times_candidates_is_held(make_snapshot, store, films: int):
    """400 queries, half of heads that are folded in: their scores alone would take 1600 m bytes."""
    edges = [(f"f{n}", "genre", "t1") for n in range(films)]
    edges += [(f"u{n}", "click", f"f{n}") for n in range(0, 400, 2)]
    acts = [(f"u{n}", f"f{n}", 1, GRAPH) for n in range(400)]
    acts += [(f"u{n}", f"f{7 * n % 900}", 2, TEST) for n in range(1, 401)]
    snapshot = make_snapshot(edges, acts)
    bundle = sealed(store, snapshot)
    expected = evaluate(bundle, snapshot, seed=0)  # and everything is read
    memory = 2 << 20
    tracemalloc.start()
    rows = evaluate(bundle, snapshot, seed=0, memory=memory)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < memory + 64 * films + (1 << 20)
    assert [row.value for row in rows] == pytest.approx([row.value for row in expected])
