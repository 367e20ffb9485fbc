"""The embed step: it goes on from its checkpoint, and its bundle shows the training's curve."""

import os
import time
from collections.abc import Iterator

import pytest

from api.jobs import embedding
from api.jobs.embedding import embed, sweep_checkpoints
from api.jobs.steps import Workshop, open_workshop
from kge.bundle import open_bundle


@pytest.fixture
def shop(trained) -> Iterator[Workshop]:
    opened = open_workshop(trained.settings)
    yield opened
    opened.database.dispose()


@pytest.fixture
def snapshot_digest(trained) -> str:
    return trained.snapshot


class Killed(Exception):
    """What ends the first run."""


def folder(shop):
    return shop.settings.data_dir / "checkpoints"


def test_a_step_that_was_ended_goes_on_and_seals_the_same_bundle(
    shop, snapshot_digest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedding, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    steps: list[int] = []

    def until(most: int):
        def tick(done: int, _total: int, _note: str) -> None:
            steps.append(done)
            if done == most:
                raise Killed

        return tick

    with pytest.raises(Killed):
        embed(shop, snapshot_digest, seed=11, tick=until(9))
    [left] = folder(shop).glob("*.safetensors")
    assert left.stat().st_size > 1000
    digest = embed(shop, snapshot_digest, seed=11, tick=until(-1))
    # the ninth was told and not kept, so it is done again
    assert steps == [*range(1, 10), *range(9, steps[-1] + 1)]
    assert not list(folder(shop).iterdir())
    monkeypatch.setattr(embedding, "_SECONDS_BETWEEN_CHECKPOINTS", 1e9)
    assert embed(shop, snapshot_digest, seed=11, tick=until(-1)) == digest
    curve = open_bundle(shop.store, digest).artifact.file("curve.png").read_bytes()
    assert curve.startswith(b"\x89PNG")


def test_a_checkpoint_of_another_version_is_passed_over(shop, snapshot_digest, monkeypatch):
    monkeypatch.setattr(embedding, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def tick(done: int, _total: int, _note: str) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        embed(shop, snapshot_digest, seed=12, tick=tick)
    monkeypatch.setattr("kge.checkpoint.VERSION", 999)
    assert embed(shop, snapshot_digest, seed=12, tick=lambda *_: None)


def test_old_checkpoints_are_removed(shop):
    folder(shop).mkdir(exist_ok=True)
    old, new = folder(shop) / "old.safetensors", folder(shop) / "new.safetensors"
    for file, age in ((old, 3 * 86_400), (new, 60)):
        file.write_bytes(b"x")
        os.utime(file, (time.time() - age, time.time() - age))
    sweep_checkpoints(shop)
    assert [file.name for file in folder(shop).iterdir()] == ["new.safetensors"]
