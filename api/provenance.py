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

#: As Linux names what decides how quick products of matrices are, the quickest first.
_WIDTHS = ("amx_tile", "avx512f", "avx2")


def header(dials: Mapping[str, Any]) -> dict[str, Any]:
    """Machine, commit and dials, for `graphsvc.report.as_report`."""
    return {"machine": machine(), "commit": commit(), "dials": dict(dials)}


def machine() -> dict[str, Any]:
    """What a measurement depends on of where it runs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
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


def processor() -> str:
    """The processor's name, and the widest vectors or tiles it computes with: "AMD EPYC (avx2)"."""
    info = Path("/proc/cpuinfo")
    told: dict[str, str] = {}
    for line in info.read_text().splitlines() if info.is_file() else ():
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
    known = told.get("flags", "").split()
    widest = next((f" ({name})" for name in _WIDTHS if name in known), "")
    return (told.get("model name") or platform.processor() or "unknown") + widest
