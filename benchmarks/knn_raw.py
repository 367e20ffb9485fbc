"""FAISS alone: what the service asks of it, asked in a process without anything around it.

Takes an index and unit vectors, searches or gives seconds; never answers anybody.
"""

import threading

import faiss
import numpy as np
from knn_recall import K, timed

from kge import parts
from kge.index import Index
from kge.searchers import effort_for, found_by

#: The machine's cores: server processes, and threads of the rival.
CORES = 2
#: The service takes one more than is wanted, since whoever is asked about finds themselves, and
#: compares a few more again, see `kge/parts.py`.
WIDE = K + 1 + parts._SPARE  # noqa: SLF001


def ask(index: Index, units: np.ndarray, allowed: np.ndarray | None = None) -> None:
    """The search that `Part.search` makes for so many, and nothing else."""
    part = index.part("ad")
    recipe, searcher = part.recipe, part._searcher  # noqa: SLF001
    share = 1.0 if allowed is None else float(allowed.mean())
    effort = effort_for(recipe.kind, recipe.effort, K, share)
    found_by(recipe.kind, searcher, units, WIDE, effort=effort, allowed=allowed)


def together(index: Index, units: np.ndarray) -> float:
    """Seconds for all batches, FAISS sharing each among its own threads."""
    faiss.omp_set_num_threads(CORES)
    ask(index, units[0])
    return timed(lambda: [ask(index, some) for some in units])


def in_turn(index: Index, units: np.ndarray) -> float:
    """The same, each core with batches of its own; quicker where a core is busy otherwise."""

    def work(first: int) -> None:
        faiss.omp_set_num_threads(1)  # holds for the thread that says so
        for some in units[first::CORES]:
            ask(index, some)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(CORES)]
    return timed(lambda: ([t.start() for t in threads], [t.join() for t in threads]))
