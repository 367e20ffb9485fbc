"""The embed step: it goes on from its checkpoint, and its bundle shows the training's curve."""

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from api.demo.arms import measure
from api.jobs import embedding
from api.jobs.embedding import embed, sweep_checkpoints
from api.printing import progress_bars
from graphsvc.snapshot import open_snapshot
from kge.bundle import open_bundle
from kge.errors import UnknownRelation
from kge.memory import MIB, predict
from kge.train import begin


@pytest.fixture
def snapshot_digest(trained) -> str:
    return trained.snapshot


class Killed(Exception):
    """What ends the first run."""


def folder(shop):
    return shop.settings.data_dir / "checkpoints"


@pytest.mark.slow_as("sqlite")
def test_a_step_that_was_ended_goes_on_and_seals_the_same_bundle(
    shop, snapshot_digest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedding, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    steps: list[int] = []
    notes: list[str] = []

    def until(most: int):
        def tick(done: int, _total: int, note: str) -> None:
            steps.append(done)
            notes.append(note)
            if done == most:
                raise Killed

        return tick

    with pytest.raises(Killed):
        embed(shop, snapshot_digest, seed=11, tick=until(90))
    assert re.fullmatch(r"(click|genre), loss \d\.\d+, validation MRR 0\.\d+", notes[-1])
    [left] = folder(shop).glob("*.safetensors")
    assert left.stat().st_size > 1000
    digest = embed(shop, snapshot_digest, seed=11, tick=until(-1))
    # the last one was told and not kept, so it is done again
    assert steps == [*range(1, 91), *range(90, steps[-1] + 1)]
    assert not list(folder(shop).iterdir())
    monkeypatch.setattr(embedding, "_SECONDS_BETWEEN_CHECKPOINTS", 1e9)
    assert embed(shop, snapshot_digest, seed=11, tick=until(-1)) == digest
    sealed = open_bundle(shop.store, digest).artifact
    assert sealed.file("curve.png").read_bytes().startswith(b"\x89PNG")
    assert notes[-1].endswith(f"validation MRR {sealed.metrics['validation_mrr']:.4f}")


@pytest.mark.slow_as("sqlite")
def test_a_checkpoint_of_another_version_is_passed_over(shop, snapshot_digest, monkeypatch):
    monkeypatch.setattr(embedding, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def tick(done: int, _total: int, _note: str) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        embed(shop, snapshot_digest, seed=12, tick=tick)
    monkeypatch.setattr("kge.checkpoint.VERSION", 999)
    assert embed(shop, snapshot_digest, seed=12, tick=lambda *_: None)


def test_what_else_a_process_holds_has_no_say_in_the_dials(
    shop, snapshot_digest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedding, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    dials = replace(shop.settings.transra, seed=14, block=4096, batch=4096)
    begun = begin(open_snapshot(shop.store, snapshot_digest), dials)
    tight = predict(begun.graph, begun.config).peak - 1
    shop = replace(
        shop, settings=shop.settings.model_copy(update={"memory": tight, "transra": dials})
    )
    steps: list[int] = []

    def tick(done: int, _total: int, _note: str) -> None:
        steps.append(done)
        if steps == [1, 2, 3]:
            raise Killed

    with pytest.raises(Killed):
        embed(shop, snapshot_digest, seed=14, tick=tick)
    ballast = np.ones(200 * MIB // 8)
    digest = embed(shop, snapshot_digest, seed=14, tick=tick)
    assert steps[3] == 3, "it went on where its checkpoint was"
    assert ballast.all()
    planned = open_bundle(shop.store, digest).artifact.manifest["dials"]
    assert planned["block"] == begun.config.block // 2


def test_old_checkpoints_are_removed(shop):
    folder(shop).mkdir(exist_ok=True)
    old, new = folder(shop) / "old.safetensors", folder(shop) / "new.safetensors"
    for file, age in ((old, 3 * 86_400), (new, 60)):
        file.write_bytes(b"x")
        os.utime(file, (time.time() - age, time.time() - age))
    sweep_checkpoints(shop)
    assert [file.name for file in folder(shop).iterdir()] == ["new.safetensors"]


@pytest.mark.slow_as("sqlite")
def test_facets_are_trained_beside_the_whole(shop, snapshot_digest):
    relations = [r.name for r in open_snapshot(shop.store, snapshot_digest).relations]
    settings = shop.settings.model_copy(update={"facets": {"first": relations[:1]}})
    told: list[str] = []
    digest = embed(
        replace(shop, settings=settings),
        snapshot_digest,
        seed=13,
        tick=lambda _done, _total, note: told.append(note),
    )
    bundle = open_bundle(shop.store, digest)
    assert list(bundle.facets) == ["all", "first"]
    facet = bundle.facet("first")
    assert [relation.name for relation in facet.relations] == relations[:1]
    assert facet.vectors.shape == bundle.vectors.shape
    assert any(note.startswith(f"first: {relations[0]}, loss ") for note in told)
    assert bundle.artifact.file("curve-first.png").exists()


def test_a_facet_of_an_unknown_relation_is_refused(shop, snapshot_digest):
    settings = shop.settings.model_copy(update={"facets": {"first": ["clik"]}})
    with pytest.raises(UnknownRelation, match="facet first should be among"):
        embed(replace(shop, settings=settings), snapshot_digest, seed=1, tick=lambda *_: None)


@pytest.mark.parametrize("trained", ["sqlite"], indirect=True)
def test_the_demos_arms_are_measured_on_a_snapshot(shop, snapshot_digest, tmp_path: Path):
    with progress_bars(quiet=True) as progress:
        rows = measure(shop.settings, snapshot_digest, tmp_path / "arms", progress)
    whole = [row for row in rows if row.split == "arms/global_time/test" and row.metric == "mrr"]
    named = [row.model for row in whole if " - " not in row.model]
    assert named == ["transr", "compose", "frame", "both", "click_count", "random"]
    assert any(row.model == "both - transr" for row in whole)
    assert any("/degree=" in row.split for row in rows)
    assert [row.model for row in rows if row.metric == "frame_kept"] == ["frame", "both"]
