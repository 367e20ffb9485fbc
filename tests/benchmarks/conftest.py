"""What tests of benchmarks share: a small service in the place of MovieLens."""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from planted import planted_events

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

with warnings.catch_warnings():
    # PyKEEN imports PyTorch Geometric, which calls what torch 2.13 has deprecated.
    warnings.simplefilter("ignore")
    import pykeen.models  # noqa: F401

import ladder_worlds
import scoring_service


@dataclass(frozen=True)
class Planted(ladder_worlds.MovieLens):
    """People click what is of their genre."""

    def events(self, task: str) -> Iterator[dict[str, Any]]:
        assert task == "ctr"
        return iter(planted_events())


@pytest.fixture
def small_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks of scoring train their service on the planted log, in two epochs."""
    monkeypatch.setattr(scoring_service, "MovieLens", Planted)
    monkeypatch.setattr(scoring_service, "BUCKETS", 4096)
    monkeypatch.setenv("GRAPHSVC_TRANSRA__EPOCHS", "2")
    monkeypatch.setenv("GRAPHSVC_FORWARD", "onnx")
