"""Following the ledger: a trio that cannot be opened is not swapped in, and is tried again."""

import logging
import shutil
from pathlib import Path

import pytest
from running import eventually

from api.live import Live
from graphsvc import ledger
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.schema import load_schema


def test_what_cannot_be_opened_is_not_swapped_in(
    trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The same ledger, and a copy of the artifacts in which one bundle lacks a byte.
    store = ArtifactStore(tmp_path / "artifacts")
    shutil.copytree(trained.settings.artifacts_dir, store.root)
    database = Database(trained.settings.graph_url)
    with database.reading() as connection:
        bundle = ledger.live(connection).bundle
    damaged = store.path("bundle", bundle) / "arrays.safetensors"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    live = Live(database, store, lambda: load_schema("film"))
    caplog.set_level(logging.WARNING)
    live.follow(0.02)
    eventually("the reason is logged", lambda: bundle in caplog.text, seconds=5)
    assert live.generation == 0
    assert caplog.text.count(bundle) == 1, "once, not at every poll"
    damaged.write_bytes(whole)
    eventually("the next poll opens it", lambda: live.generation > 0, seconds=5)
    assert live.trio().bundle.digest == bundle
    live.stop()
    database.dispose()
