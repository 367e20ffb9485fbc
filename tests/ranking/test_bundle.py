import dataclasses
import shutil

import numpy as np
import pytest

from graphsvc.artifact import Recipe
from graphsvc.errors import ArtifactDamaged, ArtifactMissing
from graphsvc.snapshot import RelationInfo, Span
from kge.arrays import BundleArrays
from kge.bundle import seal_bundle
from ranking.bundle import config_of, open_ranker, seal_ranker
from ranking.config import (
    ARMS,
    CrossingConfig,
    FeatureConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import FrameMismatch, RankerFormat, StatesMismatch
from ranking.examples import build_examples
from ranking.features import Encoder
from ranking.model import raw_scores
from ranking.train import train

#: Sizes that rankers of format 1 do not name.
NEW_SIZES = {"head_own", "tail_own", "around"}

SMALL = RankerConfig(
    ids=IdTableConfig(dim=4, min_rows=20, buckets=8),
    features=FeatureConfig(min_rows=2),
    training=TrainingConfig(epochs=1, batch=128),
)


def run(generator):
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return stop.value


@pytest.fixture
def examples(leaning):
    return build_examples(leaning.snapshot, leaning.bundle)


@pytest.fixture
def seal(leaning, examples):
    def make(trained):
        return seal_ranker(
            leaning.store,
            trained,
            snapshot_digest=leaning.snapshot.digest,
            bundle_digest=leaning.bundle.digest,
            frame=leaning.bundle.frame,
            metrics={"auc": 0.5},
        )

    return make


@pytest.fixture
def ranker(leaning, examples, seal):
    sealed = seal(run(train(examples, SMALL)))
    return open_ranker(leaning.store, sealed.digest, leaning.bundle)


@pytest.mark.parametrize("arm", ARMS)
def test_training_and_serving_give_the_same_logit(leaning, examples, seal, arm):
    trained = run(train(examples, dataclasses.replace(SMALL, arm=arm)))
    rows = examples.rows[Span.TRAIN]
    encoder = Encoder(trained.spec, trained.head_ids, trained.tail_ids)
    training = raw_scores(trained.model, encoder.encode(rows.heads, rows.tails))
    ranker = open_ranker(leaning.store, seal(trained).digest, leaning.bundle)
    np.testing.assert_allclose(ranker.logits(rows.heads, rows.tails), training, atol=1e-6, rtol=0)
    # One row at a time, and one head beside several tails, as a request comes.
    for row in (0, 7):
        here = np.array([row])
        alone = ranker.logits(rows.heads.take(here), rows.tails.take(here))
        np.testing.assert_allclose(alone, training[here], atol=1e-6, rtol=0)
    tails = np.array([0, 7, 11])
    beside = ranker.logits(rows.heads.take(np.array([7])), rows.tails.take(tails))
    assert beside[1] == pytest.approx(training[7], abs=1e-6)
    probabilities = ranker.score(rows.heads, rows.tails)
    assert probabilities.dtype == np.float64
    assert ((probabilities > 0) & (probabilities < 1)).all()
    np.testing.assert_allclose(
        probabilities, trained.calibration.probabilities(training), atol=1e-6
    )


def test_the_manifest_says_what_it_is(leaning, ranker):
    assert ranker.artifact.parents == {
        "snapshot": leaning.snapshot.digest,
        "bundle": leaning.bundle.digest,
    }
    assert (ranker.arm, ranker.frame) == ("attention", leaning.bundle.frame)
    assert ranker.bundle_digest == leaning.bundle.digest
    assert ranker.snapshot_digest == leaning.snapshot.digest
    assert ranker.artifact.metrics == {"auc": 0.5}
    assert config_of(ranker.artifact.dials) == SMALL
    assert ranker.head_attributes == ("lean", "age")
    assert ranker.tail_attributes == ("lean", "tags", "year")


def test_sealed_twice_is_the_same_digest(examples, seal):
    assert seal(run(train(examples, SMALL))).digest == seal(run(train(examples, SMALL))).digest


@pytest.mark.parametrize("name", ["weights.safetensors", "ids.json", "manifest.json"])
def test_damage_is_refused(leaning, ranker, name):
    path = ranker.artifact.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactDamaged):
        open_ranker(leaning.store, ranker.digest, leaning.bundle)


def test_a_missing_ranker_is_named(leaning):
    with pytest.raises(ArtifactMissing):
        open_ranker(leaning.store, "0" * 64, leaning.bundle)


def test_another_frame_is_refused(leaning, ranker, retrained):
    other = retrained(leaning)
    assert other.frame != leaning.bundle.frame
    with pytest.raises(FrameMismatch, match=other.frame):
        open_ranker(leaning.store, ranker.digest, other)


def test_a_later_bundle_may_have_further_relations_and_none_too_few(leaning, ranker):
    own = leaning.bundle
    assert ranker.relations == ("click", "save")
    assert ranker.artifact.payload["relations"] == ["click", "save"]
    extra = RelationInfo(name="buy", head="user", tail="film", source="offsite")
    heads = {
        "types": list(own.types.values()),
        "ids": own.ids,
        "vectors": own.vectors,
        "bias": own.bias,
        "degree": own.degree,
        "priors": np.stack([own.prior(name) for name in own.types]),
        "frame_rows": own.frame_rows,
        "frame": own.frame,
    }

    def bundle_of(relations, maps):
        arrays = BundleArrays(
            relations=relations,
            translations=np.zeros((2 * len(relations), 3), np.float32),
            projections=maps,
            **heads,
        )
        return seal_bundle(leaning.store, leaning.snapshot.digest, arrays, dials={}, metrics={})

    maps = own.projections
    odd = np.full_like(maps[:1], 7.0)
    wider = bundle_of([extra, *own.relations], np.concatenate([odd, maps[:3], odd, maps[3:]]))
    rows = build_examples(leaning.snapshot, own).rows[Span.TEST]
    wide = open_ranker(leaning.store, ranker.digest, wider)
    assert wide.relations == ("click", "save")
    np.testing.assert_array_equal(
        wide.score(rows.heads, rows.tails), ranker.score(rows.heads, rows.tails)
    )
    with pytest.raises(FrameMismatch, match=r"reads 2 relations .* with click of them"):
        open_ranker(leaning.store, ranker.digest, bundle_of(own.relations[:1], maps[[0, 3]]))


def test_strangers_score_like_nobody_in_particular(ranker, states):
    """Unseen ids, no vector, no attribute, nothing counted: a number near the base rate."""
    vectors = np.zeros((3, 4), np.float32)
    nobody = states(["who", "?", ""], vectors=vectors, known=[False] * 3)
    probabilities = ranker.score(nobody, nobody)
    assert np.isfinite(probabilities).all()
    assert ((probabilities > 0.2) & (probabilities < 0.8)).all()


def test_heads_have_to_fit_tails(ranker, states):
    with pytest.raises(StatesMismatch):
        ranker.score(states(["a", "b"]), states(["x", "y", "z"]))
    assert ranker.score(states(["a"]), states([])).shape == (0,)


def test_attention_explains_a_score(leaning, examples, ranker, seal):
    rows = examples.rows[Span.TEST]
    few = np.arange(5)
    found = ranker.explain(rows.heads.take(few), rows.tails.take(few))
    assert found.tokens == ("user", "film", "click", "save")
    np.testing.assert_allclose(found.weights.sum(axis=2), np.ones((5, 2)), atol=1e-6)
    plain = run(train(examples, dataclasses.replace(SMALL, arm="none")))
    assert seal(plain).explain(rows.heads.take(few), rows.tails.take(few)) is None


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"mask": True, "layer_norm": True}, {"mask": "instance", "norm": "after"}),
        ({"mask": False, "layer_norm": False}, {"mask": "none", "norm": "none"}),
    ],
)
def test_dials_of_rankers_that_had_switches_are_read(before, now):
    told = dataclasses.asdict(SMALL)
    told["crossing"] = {
        "kind": "dcn_v2",
        "layers": 3,
        "rank_share": 0.25,
        "mask_share": 1.0,
    } | before
    crossing = CrossingConfig(kind="dcn_v2", layers=3, rank_share=0.25, mask_share=1.0, **now)
    assert config_of(told) == dataclasses.replace(SMALL, crossing=crossing)


@pytest.mark.parametrize("kind", ["mask_net_parallel", "wukong", "rank_mixer"])
def test_a_family_whose_stack_has_another_width_is_sealed_and_opened(leaning, examples, seal, kind):
    config = dataclasses.replace(SMALL, arm="none", crossing=CrossingConfig(kind=kind))
    trained = run(train(examples, config))
    ranker = open_ranker(leaning.store, seal(trained).digest, leaning.bundle)
    rows = examples.rows[Span.TEST]
    np.testing.assert_array_equal(
        ranker.logits(rows.heads, rows.tails),
        raw_scores(trained.model, ranker.encoder.encode(rows.heads, rows.tails)),
    )


def test_a_ranker_of_the_former_format_opens(leaning, ranker):
    """It knows of no tokens of what tails lead to; one of an unknown format is refused by name."""
    store, artifact = leaning.store, ranker.artifact
    rows = build_examples(leaning.snapshot, leaning.bundle).rows[Span.TEST]

    def resealed(**changes):
        payload = {**artifact.payload, **changes}
        recipe = Recipe(
            kind="ranker",
            parents=artifact.parents,
            dials=artifact.dials,
            payload=payload,
            metrics={},
        )
        with store.draft() as folder:
            for name in ("weights.safetensors", "ids.json"):
                shutil.copy(artifact.path / name, folder / name)
            return store.seal(folder, recipe).digest

    shape = {k: v for k, v in artifact.payload["shape"].items() if k not in NEW_SIZES}
    spec = {k: v for k, v in artifact.payload["spec"].items() if k != "around"}
    former = resealed(ranker_format=1, shape=shape, spec=spec)
    opened = open_ranker(store, former, leaning.bundle)
    np.testing.assert_array_equal(
        opened.score(rows.heads, rows.tails), ranker.score(rows.heads, rows.tails)
    )
    with pytest.raises(RankerFormat, match=r"ranker_format 9, this version reads 1, 2"):
        open_ranker(store, resealed(ranker_format=9), leaning.bundle)
    with pytest.raises(RankerFormat, match=r"has arm 'odd', this version reads none, frozen"):
        open_ranker(store, resealed(arm="odd"), leaning.bundle)
