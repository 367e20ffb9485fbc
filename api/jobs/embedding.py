"""The embed step: trains TransRA on a snapshot and seals the bundle.

Takes a digest and dials, gives a digest; owns what a training never sees: the clock, the disk and
who is told. A training that is killed goes on from its last checkpoint when the step runs again.
"""

import os
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic, time

from api.jobs.steps import Tick, Workshop
from graphsvc.ids import digest_of_json
from graphsvc.snapshot import open_snapshot
from kge.bundle import seal_bundle
from kge.config import TransRAConfig
from kge.errors import CheckpointMismatch

_SECONDS_BETWEEN_CHECKPOINTS = 30.0
#: Two days: a job that was stopped longer ago trains anew when it is resumed.
_SECONDS_KEPT = 2 * 86_400.0
#: A curve has about as many points.
_POINTS = 200
_CURVE = "curve.png"


def embed(
    shop: Workshop, snapshot: str, *, seed: int, tick: Tick, job_id: str | None = None
) -> str:
    """Train TransRA on a snapshot and seal the bundle with the curve of its training."""
    # PyKEEN makes folders when it is imported, by default in the home folder.
    os.environ.setdefault("PYSTOW_HOME", str(shop.settings.cache_dir / "pystow"))
    # These take seconds to import, and only this step needs them.
    from kge.checkpoint import load, save
    from kge.curves import Point, picture
    from kge.train import begin

    training = begin(open_snapshot(shop.store, snapshot), replace(shop.settings.transra, seed=seed))
    file = _checkpoint(shop, snapshot, training.config)
    points: list[Point] = []
    if file.exists():
        try:
            points = [Point(*point) for point in load(training, file)["points"]]
        except CheckpointMismatch:
            file.unlink()
    saved = monotonic()
    for told in training.steps():
        if told.step % max(1, told.total // _POINTS) == 0 or told.step == told.total:
            points.append(Point(told.step, training.loss))
        tick(told.step, told.total, told.note)
        if monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
            save(training, file, {"points": points})
            saved = monotonic()
    bundle = seal_bundle(
        shop.store,
        snapshot,
        training.trained().arrays(),
        dials=asdict(training.config),
        metrics={"loss": training.loss},
        reasons=training.reasons,
        beside={_CURVE: picture(points)},
    )
    digest = shop.record(bundle.artifact, job_id)
    file.unlink(missing_ok=True)
    return digest


def sweep_checkpoints(shop: Workshop) -> None:
    """Remove checkpoints of trainings that nobody went on with."""
    oldest = time() - _SECONDS_KEPT
    for file in _folder(shop).glob("*"):
        if file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)


def _folder(shop: Workshop) -> Path:
    return shop.settings.data_dir / "checkpoints"


def _checkpoint(shop: Workshop, snapshot: str, config: TransRAConfig) -> Path:
    """Where a training of these parents and dials keeps its checkpoint."""
    name = digest_of_json([snapshot, asdict(config)])[:32]
    return _folder(shop) / f"{name}.safetensors"
