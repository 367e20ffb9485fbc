"""How many threads the numeric libraries of this process use.

Two OpenMP runtimes are loaded (torch's and FAISS's), and numpy's BLAS has threads of its own; with
more threads than cores each runs many times slower. torch is imported first: FAISS is far slower
the other way round.
"""

import os

import faiss
import torch
from threadpoolctl import threadpool_limits


def cap(threads: int) -> None:
    """Let torch, FAISS and numpy's products use at most `threads` threads each."""
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")


def one_here() -> None:
    """Let FAISS use one thread for whoever calls: `cap` holds for the thread that called it alone.

    Requests run in a pool of threads, which would each begin with as many as there are cores.
    """
    faiss.omp_set_num_threads(1)


def available() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
