"""The four arms of the embedding on the demo's data, beside the click count.

Takes the folder of a demo that ran, gives report rows; trains in this process once the service is
gone, and leaves what the service made as it was.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress, TaskID

from api.demo.show import ARMS_SPLIT
from api.printing import announce
from api.settings import Settings
from graphsvc.artifact import ArtifactStore
from graphsvc.report import Row
from graphsvc.snapshot import open_snapshot


def measure(settings: Settings, snapshot: str, folder: Path, progress: Progress) -> list[Row]:
    """Train the arms on a snapshot and measure them on its test span; the rows' split is theirs.

    Their bundles lie in `folder`, which is emptied first.
    """
    # PyKEEN makes folders when it is imported, by default in the home folder.
    os.environ.setdefault("PYSTOW_HOME", str(settings.cache_dir / "pystow"))
    from api import threads
    from kge.arms import frames_kept, train_arms
    from kge.heldout import compare

    threads.cap(settings.threads)
    shutil.rmtree(folder, ignore_errors=True)
    source = open_snapshot(ArtifactStore(settings.artifacts_dir), snapshot)
    training = train_arms(source, ArtifactStore(folder), replace(settings.transra, seed=0))
    bars: dict[str, TaskID] = {}
    while True:
        try:
            arm, told = next(training)
        except StopIteration as done:
            bundles = done.value
            break
        if arm not in bars:
            announce(f"arm {arm}")
            bars[arm] = progress.add_task(f"arm {arm}", total=told.total, note="")
        progress.update(bars[arm], completed=told.step, note=f"loss {told.loss:.3f}")
    rows = [
        replace(row, split=f"{ARMS_SPLIT}/{row.split}") for row in compare(bundles, source, seed=0)
    ]
    return rows + [
        Row(metric="frame_kept", value=float(kept), unit="share", split=ARMS_SPLIT, model=arm)
        for arm, kept in frames_kept(bundles).items()
    ]
