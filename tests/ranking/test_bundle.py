import dataclasses

import numpy as np
import pytest
from loops import finish
from safetensors.torch import load_file, save_file

from graphsvc.artifact import Recipe
from graphsvc.errors import ArtifactDamaged, ArtifactMissing
from graphsvc.snapshot import RelationInfo, Span
from kge.arrays import BundleArrays
from kge.bundle import seal_bundle
from ranking.bundle import Scored, alike, open_ranker
from ranking.config import (
    ARMS,
    CrossingConfig,
    FeatureConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import FrameMismatch, HeadMissing, RankerFormat, StatesMismatch
from ranking.examples import build_examples
from ranking.formats import config_of
from ranking.interactions.budget import UNIT, dense_cost
from ranking.model import head_scores
from ranking.reliability import judged
from ranking.train import train

#: Sizes that rankers of format 1 do not name.
NEW_SIZES = {"head_own", "tail_own", "around", "exposure_fields", "exposure_codes", "facets"}

SMALL = RankerConfig(
    ids=IdTableConfig(dim=4, min_rows=20, buckets=8),
    features=FeatureConfig(min_rows=2),
    training=TrainingConfig(epochs=1, batch=128),
)


def run(training):
    return finish(training)[1]


@pytest.fixture
def ranker(leaning, examples, seal):
    sealed = seal(run(train(examples, SMALL)))
    return open_ranker(leaning.store, sealed.digest, leaning.bundle)


@pytest.mark.parametrize("arm", ARMS)
def test_training_and_serving_give_the_same_logit(leaning, examples, seal, arm):
    trained = run(train(examples, dataclasses.replace(SMALL, arm=arm)))
    rows = examples.rows[Span.TRAIN]
    encoder = trained.encoder
    training = head_scores(trained.model, encoder.encode(rows.heads, rows.tails))[:, 0]
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


@pytest.mark.parametrize("budget", [1.0, 8.0])
def test_a_budget_makes_families_cost_the_same(leaning, examples, seal, budget):
    """With more layers where one layer cannot. What came of it is sealed, and opens as it was."""
    dials = TrainingConfig(epochs=1)
    reached = {}
    for kind in ("ml_dcn", "dcn_v2", "wukong", "mask_net_parallel"):
        crossing = CrossingConfig(kind=kind, layers=2)
        config = dataclasses.replace(
            SMALL, arm="none", crossing=crossing, budget=budget, training=dials
        )
        trained = run(train(examples, config))
        told = trained.crossing_metrics
        reached[kind] = told["budget_reached"]
        width = trained.model.norm.normalized_shape[0]
        unit = dense_cost(width, UNIT, SMALL.hidden).matrix
        assert told["crossing_flops"] == pytest.approx(budget * unit * reached[kind])
        sealed = seal(trained)
        kept = config_of(sealed.artifact.payload, sealed.artifact.dials)
        assert kept == trained.config
        assert (kept.budget, kept.crossing.kind) == (budget, kind)
        rows = examples.rows[Span.TEST]
        opened = open_ranker(leaning.store, sealed.digest, leaning.bundle)
        np.testing.assert_array_equal(
            opened.logits(rows.heads, rows.tails),
            trained.scored(rows.heads, rows.tails).logits[:, 0],
        )
    assert reached == {kind: pytest.approx(1.0, abs=0.05) for kind in reached}


def test_without_a_budget_the_dials_say_how_large(examples):
    trained = run(train(examples, SMALL))
    assert trained.config == SMALL
    assert set(trained.crossing_metrics) == {"crossing_flops"}


def test_the_manifest_says_what_it_is(leaning, ranker):
    assert ranker.artifact.parents == {
        "snapshot": leaning.snapshot.digest,
        "bundle": leaning.bundle.digest,
    }
    assert (ranker.arm, ranker.frame) == ("attention", leaning.bundle.frame)
    assert ranker.bundle_digest == leaning.bundle.digest
    assert ranker.snapshot_digest == leaning.snapshot.digest
    assert ranker.artifact.metrics == {"auc": 0.5}
    assert config_of(ranker.artifact.payload, ranker.artifact.dials) == SMALL
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


@pytest.mark.parametrize("kind", ["mask_net_parallel", "wukong", "rank_mixer"])
def test_a_family_whose_stack_has_another_width_is_sealed_and_opened(leaning, examples, seal, kind):
    config = dataclasses.replace(SMALL, arm="none", crossing=CrossingConfig(kind=kind))
    trained = run(train(examples, config))
    ranker = open_ranker(leaning.store, seal(trained).digest, leaning.bundle)
    rows = examples.rows[Span.TEST]
    np.testing.assert_array_equal(
        ranker.logits(rows.heads, rows.tails),
        head_scores(trained.model, ranker.encoder.encode(rows.heads, rows.tails))[:, 0],
    )


TWO = dataclasses.replace(
    SMALL,
    heads=HeadsConfig(kind="ctr_cvr", sharing="mmoe", experts=2),
    calibration="isotonic",
    features=FeatureConfig(min_rows=2, served_place=1, hour=True),
    training=TrainingConfig(epochs=2, batch=128, negatives_kept=0.5),
)


@pytest.fixture
def two(leaning, seal, clicked):
    """A sealed ranker of two heads, opened, beside what was trained and its examples."""
    trained = run(train(clicked, TWO))
    return open_ranker(leaning.store, seal(trained).digest, leaning.bundle), trained, clicked


def test_two_heads_survive_the_seal(two):
    ranker, trained, examples = two
    assert (ranker.head_names, ranker.orders) == (("ctr", "cvr"), ("ctr", "cvr", "ctcvr"))
    assert config_of(ranker.artifact.payload, ranker.artifact.dials) == TWO == ranker.config
    assert ranker.calibrations == trained.calibrations
    rows = examples.rows[Span.TEST]
    one, other = (r.scored(rows.heads, rows.tails, rows.exposures) for r in (ranker, trained))
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-6)
    for head in ranker.head_names:
        assert ((one.probabilities[head] > 0) & (one.probabilities[head] < 1)).all()
    np.testing.assert_array_equal(
        one.by("ctcvr"), one.probabilities["ctr"] * one.probabilities["cvr"]
    )
    assert (np.diff(one.by("cvr")[one.best_first("cvr")]) <= 0).all()


def test_all_are_scored_in_the_served_place(two):
    ranker, _, examples = two
    rows = examples.rows[Span.TEST]
    assert (ranker.reads_position, ranker.served_position) == (True, 1)
    served = ranker.score(rows.heads, rows.tails)
    count = len(rows.labels)
    np.testing.assert_array_equal(
        served, ranker.score(rows.heads, rows.tails, alike(count, position=1))
    )
    elsewhere = ranker.score(rows.heads, rows.tails, alike(count, position=0))
    assert not np.array_equal(served, elsewhere)
    at_night = ranker.score(rows.heads, rows.tails, alike(count, position=1, time=3_600))
    assert not np.array_equal(served, at_night)


def test_an_order_that_a_ranker_does_not_have_is_named(ranker, two):
    assert ranker.check_order(None) == "ctr"
    assert two[0].check_order("ctcvr") == "ctcvr"
    with pytest.raises(HeadMissing, match=r"order should be one of ctr, .* received 'cvr'"):
        ranker.check_order("cvr")


def test_of_equally_likely_ones_the_higher_logit_comes_first():
    scored = Scored(np.array([[1.0], [3.0], [2.0], [2.0]]), {"ctr": np.array([0.5, 0.5, 0.9, 0.5])})
    assert scored.best_first("ctr").tolist() == [2, 1, 3, 0]


def test_a_ranker_is_sealed_with_its_pictures_and_how_well_it_is_calibrated(seal, two):
    _, trained, examples = two
    sealed = seal(trained, beside=judged(trained, examples))
    for name in ("curve.png", "calibration.png"):
        assert sealed.artifact.file(name).read_bytes().startswith(b"\x89PNG")
    told = sealed.artifact.payload["reliability"]
    assert told["span"] == "test"
    assert set(told["heads"]) == {"ctr", "cvr"}
    rows = examples.rows[Span.TEST]
    assert sum(part["rows"] for part in told["heads"]["ctr"]["tenths"]) == len(rows.labels)
    clicks = int((rows.labels == 1).sum())
    assert sum(part["rows"] for part in told["heads"]["cvr"]["tenths"]) == clicks


def resealed(leaning, ranker, *, weights=None, dials=None, **changes):
    """The same ranker with other words in its manifest; None leaves a word out."""
    artifact = ranker.artifact
    payload = {k: v for k, v in {**artifact.payload, **changes}.items() if v is not None}
    recipe = Recipe(
        kind="ranker", parents=artifact.parents, dials=dials or artifact.dials, payload=payload
    )
    with leaning.store.draft() as folder:
        own = load_file(artifact.file("weights.safetensors"))
        save_file(own if weights is None else weights, folder / "weights.safetensors")
        (folder / "ids.json").write_bytes(artifact.file("ids.json").read_bytes())
        return leaning.store.seal(folder, recipe).digest


def test_a_ranker_of_the_former_format_still_opens(leaning, examples, seal):
    """As it was sealed when it had one head: names of tensors, one calibration, fewer dials.

    It knows of no place, and of no tokens of what tails lead to; and what was called attention then
    had rows that began at zero.
    """
    blank = run(train(examples, dataclasses.replace(SMALL, arm="attention_blank")))
    ranker = open_ranker(leaning.store, seal(blank).digest, leaning.bundle)
    new = {
        "experts.stacks.0.": "crossing.",
        "towers.0.hidden.": "hidden.",
        "towers.0.last.": "last.",
        "towers.0.additive": "additive",
    }
    weights = {}
    for name, tensor in load_file(ranker.artifact.file("weights.safetensors")).items():
        was = next((was for was in new if name.startswith(was)), None)
        weights[new[was] + name.removeprefix(was) if was else name] = tensor
    assert {"crossing.0.norm.weight", "hidden.weight", "last.bias", "additive"} <= set(weights)
    told = ranker.artifact.payload
    later = ("heads", "calibrations", "reliability", "others")
    former = resealed(
        leaning,
        ranker,
        weights=weights,
        dials={k: v for k, v in ranker.artifact.dials.items() if k not in ("heads", "calibration")}
        | {"arm": "attention"},
        arm="attention",
        **dict.fromkeys(later),
        ranker_format=1,
        calibration=told["calibrations"]["ctr"],
        spec={k: v for k, v in told["spec"].items() if k not in ("around", "exposure")},
        shape={k: v for k, v in told["shape"].items() if k not in NEW_SIZES},
    )
    opened = open_ranker(leaning.store, former, leaning.bundle)
    rows = examples.rows[Span.TEST]
    np.testing.assert_array_equal(
        opened.score(rows.heads, rows.tails), ranker.score(rows.heads, rows.tails)
    )
    assert (opened.head_names, opened.reads_position) == (("ctr",), False)
    assert opened.arm == "attention_blank"


def test_a_ranker_of_before_its_rows_could_be_quantized_still_opens(leaning, examples, ranker):
    told = ranker.artifact.dials
    ids = {name: value for name, value in told["ids"].items() if name != "served"}
    former = resealed(leaning, ranker, dials={**told, "ids": ids}, ranker_format=2, placement=None)
    opened = open_ranker(leaning.store, former, leaning.bundle)
    rows = examples.rows[Span.TEST]
    np.testing.assert_array_equal(
        opened.score(rows.heads, rows.tails), ranker.score(rows.heads, rows.tails)
    )
    assert opened.config == ranker.config


def test_an_unknown_format_is_refused_by_name(leaning, ranker):
    odd = resealed(leaning, ranker, ranker_format=9)
    with pytest.raises(RankerFormat, match=r"ranker_format 9, this version reads 1, 2, 3"):
        open_ranker(leaning.store, odd, leaning.bundle)
