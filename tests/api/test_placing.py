"""What a server finds of tiers, what it declares, and what it prints."""

import logging

import pytest
import torch

from api.errors import DeviceMissing
from api.live import Following, Live
from api.placing import tiers_of
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.schema import load_schema
from ranking.bundle import Tiers
from ranking.config import TierConfig


@pytest.mark.parametrize(
    ("device", "there", "found"),
    [("auto", True, "cuda"), ("auto", False, ""), ("none", True, ""), ("cuda", True, "cuda")],
)
def test_a_gpu_is_taken_where_it_is_wanted_and_there(
    monkeypatch: pytest.MonkeyPatch, device: str, there: bool, found: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    config = TierConfig(device=device, device_mib=2, cpu_mib=3)
    assert tiers_of(config) == Tiers(found, 2 << 20, 3 << 20)


def test_a_gpu_that_is_asked_for_in_vain_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceMissing, match="set it to auto or none"):
        tiers_of(TierConfig(device="cuda"))


def test_a_server_prints_where_a_ranker_lies(trained, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(trained.settings.graph_url)
    forced = Following(tiers=Tiers(device="cpu", device_bytes=1 << 30))
    live = Live(
        database=database,
        store=ArtifactStore(trained.settings.artifacts_dir),
        schema=lambda: load_schema("film"),
        following=forced,
    )
    with caplog.at_level(logging.INFO, logger="graphsvc.tiers"):
        live.refresh()
    placement = live.trio().ranker.placement
    told = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert placement is not None
    assert told == [*placement.lines, "its network is computed by PyTorch, as in training"]
    assert placement.tables_tier == "device"
    database.dispose()


def test_a_ranker_above_its_bytes_is_not_swapped_in(
    trained, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(trained.settings.graph_url)
    live = Live(
        database=database,
        store=ArtifactStore(trained.settings.artifacts_dir),
        schema=lambda: load_schema("film"),
        following=Following(tiers=Tiers(cpu_bytes=1)),
    )
    with caplog.at_level(logging.WARNING, logger="graphsvc.live"):
        live.follow(60.0)
    assert "cpu_mib should be at least" in caplog.text
    assert live.generation == 0
    live.stop()
    database.dispose()
