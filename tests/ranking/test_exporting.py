"""An exported network says what training's says: of every arm and family, in whatever bits."""

import dataclasses
import math
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from loops import finish

from graphsvc.snapshot import Span
from ranking.bundle import Tiers, open_ranker
from ranking.config import (
    ARMS,
    CROSSINGS,
    CrossingConfig,
    FeatureConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import ForwardUnusable, NotExportable
from ranking.exporting import TOLERANCE, exported, seal_forward
from ranking.forward import FILE, Forward
from ranking.train import train

SMALL = RankerConfig(
    ids=IdTableConfig(dim=5, min_rows=2, buckets=8),
    features=FeatureConfig(min_rows=2, hour=True),
    training=TrainingConfig(epochs=2, batch=64, table_share=1.0),
)
#: Each arm with another family of crossing layers, the default one with the default one.
_FAMILIES = list(CROSSINGS)
PAIRS = [(arm, _FAMILIES[(number - 4) % len(_FAMILIES)]) for number, arm in enumerate(ARMS)]


@pytest.fixture(autouse=True)
def unchecked():
    """Shapes stand for any number of rows while a network is exported; a check would fix them."""
    jaxtyping.config.update("jaxtyping_disable", True)


@pytest.fixture
def examples(clicked):
    return clicked


@pytest.fixture
def made(examples, seal):
    """Train and seal a ranker with the dials given; its digest."""

    def make(**dials):
        _, trained = finish(train(examples, dataclasses.replace(SMALL, **dials)))
        return seal(trained).digest

    return make


@pytest.fixture
def opened(leaning):
    def make(digest, **options):
        return open_ranker(leaning.store, digest, leaning.bundle, **options)

    return make


@pytest.mark.slow_as("frozen-*", "initial-*", "both-*", "attention_maps-*", "attention_[ab]*")
@pytest.mark.parametrize(("arm", "kind"), PAIRS)
def test_an_exported_network_says_the_same(leaning, examples, made, opened, arm, kind):
    plain = opened(made(arm=arm, crossing=CrossingConfig(kind=kind)))
    forward = seal_forward(leaning.store, plain)
    assert forward.metrics["logit_difference"] <= TOLERANCE
    ranker = opened(plain.digest, forward=forward.digest)
    assert ranker.forward is not None
    rows = examples.rows[Span.TEST]
    for count in (len(rows.labels), 3, 1, 0):
        some = np.arange(count)
        heads, tails = rows.heads.take(some), rows.tails.take(some)
        found, expected = ranker.scored(heads, tails), plain.scored(heads, tails)
        assert found.logits.shape == (count, 1)
        np.testing.assert_allclose(found.logits, expected.logits, atol=TOLERANCE, rtol=0)


def test_what_is_served_beside_it_is_not_in_the_file(leaning, examples, made, opened):
    """Rows in four bits, maps of another bundle: one file answers with all that it is given."""
    heads = HeadsConfig(kind="ctr_cvr", sharing="mmoe")
    whole = opened(made(arm="attention_vectors", heads=heads))
    ids = dataclasses.replace(SMALL.ids, served="int4")
    packed = opened(made(arm="attention_vectors", heads=heads, ids=ids))
    forward = seal_forward(leaning.store, whole).digest
    rows = examples.rows[Span.TEST]
    for plain in (whole, packed):
        ranker = opened(plain.digest, forward=forward)
        found, expected = (
            ranker.scored(rows.heads, rows.tails),
            plain.scored(rows.heads, rows.tails),
        )
        np.testing.assert_allclose(found.logits, expected.logits, atol=TOLERANCE, rtol=0)
        assert set(found.probabilities) == {"ctr", "cvr"}
        with torch.no_grad():
            for model in (ranker.model, plain.model):
                model.projections.mul_(-2.0)
                model.tokens.projections.mul_(-2.0)
        turned = plain.scored(rows.heads, rows.tails).logits
        assert np.abs(turned - expected.logits).max() > 100 * TOLERANCE
        ranker = dataclasses.replace(ranker, forward=Forward(_file(leaning, forward), plain.model))
        found = ranker.scored(rows.heads, rows.tails).logits
        np.testing.assert_allclose(found, turned, atol=TOLERANCE, rtol=0)


def test_a_network_on_a_device_answers_by_itself(leaning, made, opened):
    digest = made(arm="none")
    forward = seal_forward(leaning.store, opened(digest)).digest
    assert opened(digest, forward=forward, tiers=Tiers(device="cpu")).forward is None
    assert opened(digest, forward=forward, tiers=Tiers(cpu_bytes=1 << 30)).forward is not None


def test_a_file_names_no_folder_of_who_exported_it(leaning, made, opened):
    written = exported(opened(made(arm="none")))
    assert str(Path(__file__).parents[2]).encode() not in written
    assert b"site-packages" not in written


def test_a_network_that_would_say_something_else_is_not_sealed(leaning, made, opened, monkeypatch):
    """An exporter with a mistake: it writes the network of other weights."""
    ranker = opened(made(arm="none"))
    written = exported(ranker)
    monkeypatch.setattr("ranking.exporting.exported", lambda _ranker: written)
    with torch.no_grad():
        ranker.model.towers[0].last.bias.add_(1e-3)
    with pytest.raises(NotExportable, match=r"within 1e-05 .* they are 0\.001 off"):
        seal_forward(leaning.store, ranker)
    assert not list(leaning.store.root.glob("forward/*"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_that_says_no_number_is_not_sealed(leaning, made, opened, monkeypatch, value):
    ranker = opened(made(arm="none"))
    bias = ranker.model.towers[0].last.bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias.fill_(value)
        written = exported(ranker)
        bias.copy_(kept)
    monkeypatch.setattr("ranking.exporting.exported", lambda _ranker: written)
    with pytest.raises(NotExportable, match=r"within 1e-05 .* they are (nan|inf) off"):
        seal_forward(leaning.store, ranker)


def test_a_file_that_cannot_be_computed_is_not_sealed_and_not_opened(
    leaning, made, opened, monkeypatch
):
    ranker = opened(made(arm="none"))
    good = seal_forward(leaning.store, ranker)
    monkeypatch.setattr("ranking.exporting.exported", lambda _ranker: b"no network")
    with pytest.raises(NotExportable, match=r"ONNX Runtime cannot read forward\.onnx: "):
        seal_forward(leaning.store, ranker)
    good.file(FILE).write_bytes(b"no network")
    with pytest.raises(ForwardUnusable, match=f"forward {good.digest} cannot be used: "):
        opened(ranker.digest, forward=good.digest)


def test_smoothed_scores_are_not_exported(leaning, made, opened):
    smoothed = dataclasses.replace(opened(made(arm="none")), smoothing={"ctr": 0.1})
    with pytest.raises(NotExportable, match="scores are smoothed"):
        seal_forward(leaning.store, smoothed)


def _file(leaning, digest):
    return leaning.store.open("forward", digest).file(FILE)
