from dataclasses import replace

import numpy as np
import pytest
from crowds import crowd

from graphsvc.artifact import ArtifactStore
from graphsvc.errors import ArtifactDamaged, ArtifactFormat
from kge.arrays import BundleArrays, FacetArrays
from kge.bundle import Bundle, seal_bundle
from kge.config import IndexConfig
from kge.errors import ConfigError, ShapeMismatch, UnknownFacet, UnknownType
from kge.index import Index, build_index, open_index
from kge.parts import Recipe, directions
from kge.tuning import tune

KINDS = ("exact", "scan", "hnsw", "ivf_sq8")


@pytest.fixture
def many(store: ArtifactStore, arrays: BundleArrays) -> Bundle:
    return seal_bundle(store, "0" * 64, crowd(arrays, 3000), dials={}, metrics={})


def truth(bundle: Bundle, type_: str, query: np.ndarray, allowed: np.ndarray | None = None):
    """(distances, rows) of a whole type by the definition of cosine, nearest first."""
    start, stop = bundle.types[type_][1:]
    every = [
        1 - (v @ query) / (np.linalg.norm(v) * np.linalg.norm(query))
        for v in bundle.vectors[start:stop]
    ]
    order = [n for n in np.argsort(every, kind="stable") if allowed is None or allowed[n]]
    return np.array(every)[order], np.array(order, dtype=int) + start


@pytest.mark.parametrize("kind", ["auto", "scan", "exact"])
def test_search_equals_brute_force(store: ArtifactStore, bundle: Bundle, kind: str):
    built = build_index(store, bundle, IndexConfig(kind=kind))
    index = open_index(store, built.digest, bundle)
    queries = np.random.default_rng(1).normal(size=(6, bundle.dim)).astype(np.float32)
    for name in bundle.types:
        found = index.search(name, queries, 3)
        assert (found.plan, found.recall) == ("exact", 1.0)
        for query, rows, near in zip(queries, found.rows, found.distances, strict=True):
            distances, expected = truth(bundle, name, query)
            np.testing.assert_array_equal(rows, expected[:3])
            np.testing.assert_allclose(near, distances[:3], atol=1e-6)
        assert (found.distances.dtype, found.rows.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("kind", ["auto", "scan"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_what_is_not_allowed_is_passed_over(
    store: ArtifactStore, bundle: Bundle, kind: str, share: float
):
    index = build_index(store, bundle, IndexConfig(kind=kind))
    query = bundle.vectors[:1]
    allowed = np.random.default_rng(2).random(7) < share
    kept = int(allowed.sum())
    assert 0 < kept < 7
    distances, expected = truth(bundle, "film", query[0], allowed)
    found = index.search("film", query, 7, allowed=allowed)
    np.testing.assert_array_equal(found.rows[0, :kept], expected)
    np.testing.assert_allclose(found.distances[0, :kept], distances, atol=1e-6)
    assert (found.rows[0, kept:] == -1).all()
    assert np.isinf(found.distances[0, kept:]).all()
    with pytest.raises(ShapeMismatch, match="7 values"):
        index.search("film", query, 1, allowed=allowed[1:])


def test_nobody_allowed_is_nobody_found(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    found = index.search("film", bundle.vectors[:2], 3, allowed=np.zeros(7, bool))
    assert (found.rows == -1).all()


def test_length_does_not_matter_and_zero_is_near_nothing(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    one = index.search("film", bundle.vectors[:2], 2)
    thrice = index.search("film", 3 * bundle.vectors[:2], 2)
    np.testing.assert_allclose(one.distances, thrice.distances, atol=1e-6)
    zero = index.search("film", np.zeros((1, bundle.dim), np.float32), 2)
    np.testing.assert_array_equal(zero.distances, [[1.0, 1.0]])


def test_an_entity_is_its_own_nearest_neighbor(store: ArtifactStore, bundle: Bundle):
    found = build_index(store, bundle).search("user", bundle.vectors[7:12], 1)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(7, 12))


def test_a_type_with_fewer_than_k_pads_with_minus_one(store: ArtifactStore, bundle: Bundle):
    found = build_index(store, bundle).search("user", bundle.vectors[:1], 9)
    assert sorted(found.rows[0, :5]) == list(range(7, 12))
    assert found.rows[0, 5:].tolist() == [-1] * 4
    assert np.isinf(found.distances[0, 5:]).all()


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


def test_facets_have_parts_of_their_own(store: ArtifactStore, split_bundle: Bundle):
    index = build_index(store, split_bundle)
    assert set(index.recipes) == {
        (facet, type_) for facet in ("all", "clicks") for type_ in ("film", "user")
    }
    clicks = split_bundle.facet("clicks")
    found = index.search("film", clicks.vectors[7:9], 7, facet="clicks")
    assert sorted(found.rows[0][found.rows[0] >= 0]) == [2, 3, 4, 5, 6], "films with a click"
    with pytest.raises(UnknownFacet, match="clicks"):
        index.search("film", clicks.vectors[:1], 1, facet="likes")


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_left_out_is_in_no_part_and_is_found_where_it_is_back(
    store: ArtifactStore, many: Bundle, kind: str
):
    gone = np.array([3, 4, 2999, 3001], np.int32)
    config = IndexConfig(kind=kind, filter_rows=0)
    built = build_index(store, many, config, left_out=gone)
    index = open_index(store, built.digest, many)
    assert index.digest != build_index(store, many, config).digest
    assert index.recipes["all", "film"].rows == 2997
    np.testing.assert_array_equal(index.left_out, gone)
    assert np.flatnonzero(~index.held["film"]).tolist() == [3, 4, 2999]
    queries = many.vectors[[3, 4, 2999, 10]]
    found = index.search("film", queries, 5)
    assert not set(gone.tolist()) & set(found.rows.ravel().tolist())
    assert (found.rows >= 0).all()
    approximate = kind in ("hnsw", "ivf_sq8")
    assert found.plan == ("approximate" if approximate else "exact")
    back = np.ones(3000, bool)
    back[[4, 2999]] = False  # the first one is back
    again = index.search("film", queries, 5, allowed=back)
    assert again.rows[0, 0] == 3, "nearest to itself"
    assert not {4, 2999} & set(again.rows.ravel().tolist())
    assert again.plan == found.plan
    others = [row for row in again.rows[0].tolist() if row != 3]
    assert others == found.rows[0, :4].tolist()


def test_all_of_a_type_may_be_left_out(store: ArtifactStore, split_bundle: Bundle):
    """Films 2 to 6 have a click; films 0 and 1 are in no part of that facet anyway."""
    index = build_index(store, split_bundle, left_out=np.arange(7, dtype=np.int32))
    assert {type_: index.recipes["all", type_].rows for type_ in ("film", "user")} == {
        "film": 0,
        "user": 5,
    }
    for facet, back in (("all", 7), ("clicks", 5)):
        vectors = split_bundle.facet(facet).vectors[7:9]
        nobody = index.search("film", vectors, 7, facet=facet)
        assert (nobody.rows == -1).all()
        found = index.search("film", vectors, 7, facet=facet, allowed=np.ones(7, bool))
        assert (np.count_nonzero(found.rows >= 0, axis=1) == back).all()


def test_an_index_of_an_older_layout_is_read_or_refused(
    store: ArtifactStore, bundle: Bundle, monkeypatch
):
    monkeypatch.setattr("kge.index.INDEX_FORMAT", 2)
    older = open_index(store, build_index(store, bundle).digest, bundle)
    assert not len(older.left_out)
    assert not older.held
    monkeypatch.setattr("kge.index.INDEX_FORMAT", 1)
    with pytest.raises(ArtifactFormat, match="index_format 1"):
        open_index(store, build_index(store, bundle).digest, bundle)


def test_the_manifest_says_what_each_part_is(store: ArtifactStore, bundle: Bundle):
    index = build_index(store, bundle)
    assert index.artifact.metrics == {"recall@10": 1.0}
    told = index.artifact.payload["parts"][0]
    assert (told["facet"], told["type"], told["kind"]) == ("all", "film", "exact")
    assert "7 rows are at most exact_rows=50000" in told["reason"]
    assert index.artifact.dials["memory_mib"] == 1024


def test_an_index_names_its_bundle(store: ArtifactStore, bundle: Bundle, many: Bundle):
    index = build_index(store, bundle)
    assert index.bundle_digest == bundle.digest
    assert index.digest == build_index(store, bundle).digest
    with pytest.raises(UnknownType, match="ghost"):
        index.search("ghost", bundle.vectors[:1], 1)
    with pytest.raises(ShapeMismatch, match=bundle.digest):
        open_index(store, index.digest, many)


@pytest.mark.parametrize("kind", ["hnsw", "ivf_sq8"])
def test_the_same_vectors_give_the_same_bytes(store: ArtifactStore, many: Bundle, kind: str):
    config = IndexConfig(kind=kind)
    made: list[Index] = [build_index(store, many, config) for _ in range(2)]
    assert made[0].digest == made[1].digest


def test_a_damaged_index_is_refused(store: ArtifactStore, many: Bundle):
    index = build_index(store, many, IndexConfig(kind="hnsw"))
    file = index.artifact.file("all-film.faiss")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtifactDamaged, match=r"film\.faiss"):
        open_index(store, index.digest, many)


@pytest.mark.parametrize(
    ("field", "value"), [("memory_mib", -1), ("least_recall", 1.5), ("links", 1)]
)
def test_a_dial_out_of_bounds_is_named(field: str, value: object):
    with pytest.raises(ConfigError, match=field):
        IndexConfig(**{field: value})


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
