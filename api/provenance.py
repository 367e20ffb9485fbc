"""What a report's header says: on which machine, at which commit, with which dials.

Takes dials, gives the header; never measures anything.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any


def header(dials: Mapping[str, Any]) -> dict[str, Any]:
    """Machine, commit and dials, for `graphsvc.report.as_report`."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(
                os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1
            ),
            "processor": _processor(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "commit": commit(),
        "dials": dict(dials),
    }


def commit() -> str:
    """The commit of a source checkout, else the package's version."""
    root = Path(__file__).resolve().parent.parent
    git = shutil.which("git")  # neither the image nor every machine has it
    if git:
        asked = subprocess.run(  # noqa: S603  fixed words
            [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    return f"version {version('graphsvc')}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
