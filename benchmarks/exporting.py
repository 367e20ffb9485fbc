"""A snapshot of a filled database: how fast, and in how much memory.

Takes a service's folder, gives rows per second and the peak of a process that does nothing else.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

_PROGRAM = """
import sys, time
from pathlib import Path
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.export import Split, export_snapshot
from graphsvc.schema import load_schema
database = Database(sys.argv[1])
def peak_mib():  # of this program alone: getrusage would begin with its parent's
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
before = peak_mib()
start = time.perf_counter()
with database.reading() as connection:
    sealed = export_snapshot(
        connection, ArtifactStore(Path(sys.argv[2])), load_schema("ads"), Split()
    )
seconds = time.perf_counter() - start
print(f'{{"seconds":{seconds},"peak_mib":{peak_mib()},"idle_mib":{before},'
      f'"triples":{len(sealed.triples().head)},"entities":{sealed.entity_count}}}')
"""


def measure_export(folder: Path, url: str, events: int) -> Mapping[str, Any]:
    """Export what a service holds now."""
    where = url or f"sqlite:///{folder}/data/graph.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, where, str(folder / "exported")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    told: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return {"events": events, "rate": events / told["seconds"], **told}
