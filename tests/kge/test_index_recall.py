"""Parts that do not compare everybody: which kind is taken, what they find, and what they tell."""

from dataclasses import replace

import numpy as np
import pytest
from crowds import KINDS, crowd, truth

from graphsvc.artifact import ArtifactStore
from kge import searchers
from kge.arrays import BundleArrays, FacetArrays
from kge.bundle import Bundle, seal_bundle
from kge.config import IndexConfig
from kge.index import build_index, open_index
from kge.parts import Recipe, directions
from kge.tuning import tune


@pytest.mark.parametrize("kind", ["hnsw", "ivf_sq8"])
def test_an_approximate_part_keeps_its_recall(store: ArtifactStore, many: Bundle, kind: str):
    config = IndexConfig(kind=kind, filter_rows=0)
    index = open_index(store, build_index(store, many, config).digest, many)
    recipe = index.recipes["all", "film"]
    assert (recipe.kind, recipe.rows) == (kind, 3000)
    assert recipe.recall[0][1] >= config.least_recall
    queries = many.vectors[np.random.default_rng(5).choice(3040, 50, replace=False)]
    found = index.search("film", queries, 10)
    assert found.plan == "approximate"
    hits = 0
    for query, rows, near in zip(queries, found.rows, found.distances, strict=True):
        distances, expected = truth(many, "film", query)
        hits += len(set(rows.tolist()) & set(expected[:10].tolist()))
        by_row = dict(zip(expected.tolist(), distances, strict=True))
        np.testing.assert_allclose(near, [by_row[row] for row in rows.tolist()], atol=1e-5)
        assert (np.diff(near) >= 0).all()
    assert hits / 500 >= recipe.recall[0][1] - 0.05, "within a sample's noise"


def test_a_batch_finds_what_each_query_finds_alone(store: ArtifactStore, many: Bundle):
    for kind in KINDS:
        index = build_index(store, many, IndexConfig(kind=kind, filter_rows=0))
        together = index.search("film", many.vectors[:30], 8)
        for n in range(30):
            alone = index.search("film", many.vectors[n : n + 1], 8)
            np.testing.assert_array_equal(alone.rows[0], together.rows[n])
            np.testing.assert_array_equal(alone.distances[0], together.distances[n])


def test_a_narrow_filter_is_answered_exactly(store: ArtifactStore, many: Bundle):
    index = build_index(store, many, IndexConfig(kind="hnsw", filter_rows=100))
    draw = np.random.default_rng(6)
    query = many.vectors[5:6]
    for share, plan in ((0.9, "approximate"), (0.4, "approximate"), (0.05, "exact")):
        allowed = draw.random(3000) < share
        found = index.search("film", query, 10, allowed=allowed)
        assert found.plan == plan, share
        assert allowed[found.rows[0]].all()
        if plan == "exact":
            assert found.recall == 1.0
            np.testing.assert_array_equal(
                found.rows[0], truth(many, "film", query[0], allowed)[1][:10]
            )
        else:
            assert 0.95 <= found.recall <= 1.0


@pytest.mark.parametrize("sharded_from", [100, 1 << 20])
@pytest.mark.parametrize("share", [0.9, 0.3, 0.11, 0.02])
def test_an_exact_part_finds_what_passes_wherever_it_lies(
    store: ArtifactStore,
    many: Bundle,
    share: float,
    sharded_from: int,
    monkeypatch: pytest.MonkeyPatch,
):
    """At random, near each other, and as far as can be from who asks; of several who ask at once.

    What passes is compared by itself only for those who find too little of it among the nearest.
    By one thread or by several.
    """
    monkeypatch.setattr(searchers, "_SHARDED_FROM", sharded_from)
    index = build_index(store, many, IndexConfig(kind="exact"))
    part = index.part("film")
    compare, asked = type(part)._compare, []

    def counted(self, units, k, among):
        asked.append(len(units))
        return compare(self, units, k, among)

    monkeypatch.setattr(type(part), "_compare", counted)
    draw = np.random.default_rng(6)
    queries = many.vectors[[5, 6]]
    first = directions(many.vectors[:3000]) @ directions(queries[:1])[0]
    filters = {
        "random": draw.random(3000) < share,
        "near": first >= np.quantile(first, 1 - share),
        "far": first <= np.quantile(first, share),
    }
    for name, allowed in filters.items():
        for k in (10, 200):
            asked.clear()
            found = index.search("film", queries, k, allowed=allowed)
            assert (found.plan, found.recall) == ("exact", 1.0)
            for query, rows in zip(queries, found.rows, strict=True):
                expected = truth(many, "film", query, allowed)[1][:k]
                np.testing.assert_array_equal(rows[: len(expected)], expected, err_msg=name)
                assert (rows[len(expected) :] == -1).all()
            if share <= 0.1:
                assert sum(asked) == len(queries), "gathered for all"
            elif name == "random":
                assert not asked, "enough of it is among the nearest"
            elif name == "far":
                assert asked, "none of it is"
            else:
                assert sum(asked) <= 1, "who asks from there is not compared by itself"


def test_an_exact_search_takes_no_filter():
    units = np.eye(3, dtype=np.float32)
    built = searchers.flat(units)
    with pytest.raises(ValueError, match="allowed should be None of an exact kind"):
        searchers.found_by("exact", built, units, 1, effort=0, allowed=np.ones(3, bool))


def test_without_a_filter_the_index_is_asked_however_many_a_narrow_one_may_let_pass(
    store: ArtifactStore, many: Bundle
):
    index = build_index(store, many, IndexConfig(kind="hnsw", filter_rows=10_000))
    assert index.search("film", many.vectors[5:6], 10).plan == "approximate"
    allowed = np.arange(3000) != 7
    assert index.search("film", many.vectors[5:6], 10, allowed=allowed).plan == "exact"


@pytest.mark.parametrize("kind", ["hnsw", "ivf_sq8"])
def test_to_allow_all_is_to_say_nothing(store: ArtifactStore, many: Bundle, kind: str, monkeypatch):
    monkeypatch.setattr("kge.tuning._EFFORTS", {"hnsw": (4,), "ivf_sq8": (1,)})
    index = build_index(store, many, IndexConfig(kind=kind, filter_rows=0, least_recall=0.1))
    plain = index.search("film", many.vectors[:40], 10)
    assert plain.plan == "approximate"
    allowing = index.search("film", many.vectors[:40], 10, allowed=np.ones(3000, bool))
    for one, other in zip(plain, allowing, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("least", [0.0, 0.95])
def test_what_passes_may_lie_far_from_who_asks(
    store: ArtifactStore, arrays: BundleArrays, least: float
):
    bundle = seal_bundle(store, "0" * 64, crowd(arrays, 20_000), dials={}, metrics={})
    config = IndexConfig(kind="ivf_sq8", filter_rows=0, least_recall=least)
    index = build_index(store, bundle, config)
    assert index.recipes["all", "film"].kind == "ivf_sq8"
    films, centers = directions(bundle.vectors[:20_000]), directions(bundle.vectors[20_000:])
    allowed = (films @ centers.T).argmax(axis=1) < 6
    far = int((centers @ centers[:6].T).max(axis=1).argmin())
    queries = bundle.vectors[[20_000 + far, 20_000]]
    for k in (10, 100):
        found = index.search("film", queries, k, allowed=allowed)
        for n, query in enumerate(queries):
            distances, expected = truth(bundle, "film", query, allowed)
            alone = index.search("film", queries[n : n + 1], k, allowed=allowed)
            np.testing.assert_array_equal(alone.rows[0], found.rows[n])
            assert (alone.plan == "exact", alone.recall) == (found.exact[n], found.recalls[n])
            assert allowed[found.rows[n]].all(), "k of them, and none is missing"
            if found.exact[n]:
                assert found.recalls[n] == 1.0
                np.testing.assert_allclose(found.distances[n], distances[:k], atol=1e-5)
            hits = len(set(found.rows[n].tolist()) & set(expected[:k].tolist()))
            assert hits >= (0.6 if least else 0.3) * k, "what is told is a mean over who asks"
        if not least:
            assert found.exact.tolist() == [True, False], "the second one stands within"
            assert found.plan == "approximate"


@pytest.mark.parametrize(
    ("k", "effort", "recall"), [(1, 16, 0.97), (10, 16, 0.97), (11, 51, 0.96), (100, 51, 0.96)]
)
def test_a_search_is_as_hard_as_the_one_whose_recall_is_told(k: int, effort: int, recall: float):
    recipe = Recipe(
        facet="all",
        type="film",
        kind="ivf_sq8",
        effort=16,
        reason="",
        rows=1000,
        bytes_per_vector=1.0,
        recall=((1.0, 0.97, 0.96), (0.3, 0.96, 0.99)),
        tried=(),
    )
    assert recipe.plan(1.0, k, least=0.95) == (effort, recall)
    assert recipe.plan(0.2, k, least=0.95) is None, "narrower than any that was measured"


@pytest.mark.parametrize("kind", ["hnsw", "ivf_sq8"])
def test_those_to_spare_change_neither_plan_nor_recall(
    store: ArtifactStore, many: Bundle, kind: str
):
    index = build_index(store, many, IndexConfig(kind=kind, filter_rows=0, least_recall=0.5))
    alone = index.search("film", many.vectors[:20], 10)
    more = index.search("film", many.vectors[:20], 10, spare=17)
    assert more.rows.shape == (20, 27)
    assert more.recall == alone.recall == index.recipes["all", "film"].recall[0][1]
    deep = index.search("film", many.vectors[:20], 11)
    assert deep.recall == min(index.recipes["all", "film"].recall[0][1:])


@pytest.mark.parametrize("kind", ["hnsw", "ivf_sq8"])
@pytest.mark.parametrize("share", [0.15, 0.4])
def test_recall_is_told_truly_where_filters_go_with_vectors(
    store: ArtifactStore, many: Bundle, kind: str, share: float
):
    index = build_index(store, many, IndexConfig(kind=kind, filter_rows=0, least_recall=0.5))
    films = directions(many.vectors[:3000])
    near = films @ films[17]
    queries = many.vectors[np.random.default_rng(8).choice(3040, 60, replace=False)]
    for allowed in (near >= np.quantile(near, 1 - share), near <= np.quantile(near, share)):
        found = index.search("film", queries, 10, allowed=allowed)
        hits = [
            len(set(rows.tolist()) & set(truth(many, "film", query, allowed)[1][:10].tolist()))
            for query, rows in zip(queries, found.rows, strict=True)
        ]
        assert np.mean(hits) / 10 >= found.recalls.mean() - 0.05, "within a sample's noise"


def test_a_kind_that_falls_short_is_not_taken(store: ArtifactStore, many: Bundle, monkeypatch):
    monkeypatch.setattr("kge.tuning._EFFORTS", {"hnsw": (1,), "ivf_sq8": (1,)})
    index = build_index(store, many, IndexConfig(kind="ivf_sq8"))
    recipe = index.recipes["all", "film"]
    assert recipe.kind == "exact"
    [(kind, reached)] = recipe.tried
    assert kind == "ivf_sq8"
    assert reached < 0.95
    assert "too low" in recipe.reason
    assert recipe.recall == ((1.0, 1.0, 1.0),)


def test_of_two_kinds_the_one_that_compares_less_is_taken(
    store: ArtifactStore, many: Bundle, monkeypatch
):
    config = IndexConfig(exact_rows=100)
    quick = build_index(store, many, config).recipes["all", "film"]
    assert (quick.kind, quick.tried) == ("ivf_sq8", ()), "it is quick, so no other one was built"
    assert "so few that hnsw was not built" in quick.reason
    monkeypatch.setattr("kge.tuning.is_quick", lambda _compared, _count: False)
    slow = {"hnsw": (8,), "ivf_sq8": (64,)}
    monkeypatch.setattr("kge.tuning._EFFORTS", slow)
    both = build_index(store, many, IndexConfig(exact_rows=100, least_recall=0.5))
    recipe = both.recipes["all", "film"]
    # 3 * 32 * 8 = 768 vectors of the graph, all 76 cells but 12 of 3,000.
    assert recipe.kind == "hnsw"
    assert [kind for kind, _ in recipe.tried] == ["ivf_sq8"]
    assert "and is slower" in recipe.reason


def test_who_has_no_edge_of_a_facet_does_not_ask_when_its_recall_is_measured(
    store: ArtifactStore, arrays: BundleArrays, monkeypatch
):
    """Of 40 users 5 have a click, and 3 of them are left out; the others have the type's prior."""
    crowded = crowd(arrays, 300)
    facet = {name: getattr(crowded, name) for name in ("bias", "translations", "projections")}
    vectors, degree = crowded.vectors.copy(), crowded.degree.copy()
    vectors[305:], degree[305:] = crowded.priors[1], 0
    clicks = FacetArrays(
        vectors=vectors,
        degree=degree,
        relations=arrays.relations,
        priors=crowded.priors,
        **facet,
    )
    sealed = replace(crowded, facets={"clicks": clicks})
    bundle = seal_bundle(store, "0" * 64, sealed, dials={}, metrics={})
    asked, tuned = [], tune

    def watched(choices, units, sample, config):
        asked.append(sample)
        return tuned(choices, units, sample, config)

    monkeypatch.setattr("kge.index.tune", watched)
    gone = np.array([300, 302, 304], np.int32)
    index = build_index(store, bundle, IndexConfig(sample=200), left_out=gone)
    queries, own = asked[list(index.recipes).index(("clicks", "film"))]
    foreign = queries[own < 0]
    wanted = directions(vectors[[301, 303]])
    np.testing.assert_array_equal(np.sort(foreign, axis=0), np.sort(wanted, axis=0))
    whole, _ = asked[list(index.recipes).index(("all", "film"))]
    assert len(whole) == 100 + 37, "everybody else of another type"


def test_every_plan_gives_the_same_distances(store: ArtifactStore, many: Bundle):
    made = {kind: build_index(store, many, IndexConfig(kind=kind, filter_rows=0)) for kind in KINDS}
    draw = np.random.default_rng(9)
    queries = many.vectors[draw.choice(3040, 20, replace=False)]
    for share in (0.02, 0.4, 0.7, 1.0):
        allowed = draw.random(3000) < share
        found = {
            kind: index.search("film", queries, 10, allowed=allowed) for kind, index in made.items()
        }
        scan = found.pop("scan")
        for kind, other in found.items():
            assert other.plan == "exact" or kind in ("hnsw", "ivf_sq8")
            for n in range(20):
                by_row = dict(zip(scan.rows[n], scan.distances[n], strict=True))
                shared = [row for row in other.rows[n] if row in by_row]
                assert len(shared) >= (10 if other.plan == "exact" else 6)
                for row, distance in zip(other.rows[n], other.distances[n], strict=True):
                    assert allowed[row]
                    assert distance == by_row.get(row, distance), "to the last bit"
