"""How many threads the numeric libraries of this process use.

Two OpenMP runtimes are loaded (torch's and FAISS's); with more threads than cores each runs many
times slower. torch is imported first: FAISS is far slower the other way round.
"""

import faiss
import torch


def cap(threads: int) -> None:
    """Let torch and FAISS use at most `threads` threads each."""
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)


def one_here() -> None:
    """Let FAISS use one thread for whoever calls: `cap` holds for the thread that called it alone.

    Requests run in a pool of threads, which would each begin with as many as there are cores.
    """
    faiss.omp_set_num_threads(1)
