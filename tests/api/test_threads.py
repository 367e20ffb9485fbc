"""Numeric libraries use as many threads as they are told, whatever the machine offers them."""

import os
import subprocess
import sys
from pathlib import Path

import orjson

PROGRAM = """
import json, os
import numpy, scipy.linalg
from api import threads
from threadpoolctl import threadpool_info
import faiss, torch

def blas():
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

before = blas()
threads.cap(1)
told = [torch.get_num_threads(), faiss.omp_get_max_threads()]
print(json.dumps([before, blas(), told, threads.available(), sorted(os.sched_getaffinity(0))]))
"""


def test_a_cap_holds_for_all_of_them() -> None:
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    four = own | {"OPENBLAS_NUM_THREADS": "4", "MKL_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=four, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    before, after, told, available, cores = orjson.loads(done.stdout)
    assert max(before) > 1
    assert set(after) == {1}
    assert told == [1, 1]
    assert available == len(cores)
