"""A server for a bundle and an index alone: the whole HTTP path, and nobody to score.

Takes `KNN_STORE`, `KNN_BUNDLE`, `KNN_INDEX` and `KNN_CHANGED` (how many entities its overlay holds)
beside the settings, gives uvicorn an app; never trains. A service goes live with a ranker of the
same frame; nothing about neighbors reads one, and this benchmark is about them alone.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch  # noqa: F401  before FAISS: two OpenMP runtimes
import uvicorn
from knn_overlay import fill

from api import app as service
from api.columns import Columns
from api.live import Live, Trio
from api.overlay import Overlay, Remembered
from api.processes import KEEP_ALIVE
from api.settings import read_settings
from api.solving import Solver
from api.tail import Tail
from graphsvc.artifact import ArtifactStore
from kge.bundle import open_bundle
from kge.completion import Completion
from kge.config import FoldInConfig
from kge.foldin import FoldIn
from kge.index import open_index


class _Standing(Live):
    """What is live from the beginning, and stays so."""

    def refresh(self) -> bool:
        if self._trio is not None:
            return False
        store = ArtifactStore(Path(os.environ["KNN_STORE"]))
        bundle = open_bundle(store, os.environ["KNN_BUNDLE"])
        index = open_index(store, os.environ["KNN_INDEX"], bundle)
        ranker: Any = SimpleNamespace(digest="0" * 64)
        solver = Solver(bundle, FoldIn(bundle, FoldInConfig()))
        overlay = Overlay(self.following.overlay_entities)
        fill(overlay, bundle, int(os.environ["KNN_CHANGED"]))
        tail = Tail(
            database=self.database,
            schema=self.schema,
            solver=solver,
            overlay=overlay,
            watermark=0,
            most_edges=self.following.most_edges,
        )
        tail.start()
        for kind in bundle.types.values():
            bundle.rows(kind.name, [])
            index.search(kind.name, bundle.vectors[kind.start : kind.start + 1], 1)
        self._trio = Trio(
            generation=1,
            bundle=bundle,
            index=index,
            completion=Completion(bundle, self.following.relation_bytes),
            ranker=ranker,
            foldin=solver.foldin,
            solver=solver,
            columns=Columns(bundle),
            overlay=overlay,
            tail=tail,
            heads=Remembered(self.following.overlay_entities),
        )
        return True


def make() -> Any:
    service.Live = _Standing  # type: ignore[misc]
    return service.from_environment()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    settings = read_settings()
    uvicorn.run(
        "knn_server:make",
        factory=True,
        port=settings.port,
        workers=settings.processes,
        timeout_keep_alive=KEEP_ALIVE,
        log_level="warning",
        access_log=False,
        app_dir=str(Path(__file__).parent),
    )
