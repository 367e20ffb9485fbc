"""Work in a process of its own, so that its peak of memory and its threads are its own.

    .venv/bin/python benchmarks/apart.py MODULE FUNCTION < arguments.json

Takes a function of a module beside this one and plain arguments, gives its plain result; never
keeps a process.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: `run`, or what does the same without a process.
Run = Callable[..., Any]


def run(
    work: Callable[..., Any],
    asked: Mapping[str, Any],
    *,
    threads: int,
    python: str = sys.executable,
) -> Any:
    """The result of `work(**asked)` in a new process whose libraries use so many threads.

    `python` may be that of another environment, if it has what the module of `work` imports.
    """
    done = subprocess.run(
        [python, __file__, work.__module__, work.__name__],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{work.__name__} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_mib() -> float:
    """The most that this process has held so far; `getrusage` would begin with its parent's."""
    return _status("VmHWM")


def held_mib() -> float:
    """What this process holds now."""
    return _status("VmRSS")


def _status(field: str) -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) / 1024


if __name__ == "__main__":
    called = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
    print(json.dumps(called(**json.load(sys.stdin))))
