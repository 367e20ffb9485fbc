"""How much of the exact answer an index finds, and in what time as it searches harder.

Takes an index and vectors of its bundle to ask about, gives shares; never builds anything. Whoever
is asked about is in nobody's answer: an entity finds itself whatever an index is worth.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kge.bundle import Bundle
from kge.index import Index
from kge.parts import directions
from kge.searchers import exact_places, found_by, one_thread

K = 10
EFFORTS = (32, 64, 128, 256, 512, 1024, 1536)


class Asked(NamedTuple):
    """Vectors [q, d] to ask about, and each one's own place among those searched; -1: none."""

    vectors: NDArray[np.float32]
    own: NDArray[np.int64]


def asked_of(bundle: Bundle, count: int) -> Asked:
    """Half items, half users: people ask for items, too."""
    draw = np.random.default_rng(10)
    items, users = (bundle.types[name] for name in ("ad", "user"))
    rows = [draw.choice(np.arange(k.start, k.stop), count // 2) for k in (items, users)]
    own = np.concatenate([rows[0] - items.start, np.full(count // 2, -1)])
    return Asked(bundle.vectors[np.concatenate(rows)], own)


def truth_of(bundle: Bundle, asked: Asked) -> NDArray[np.int64]:
    """[q, K] places of the nearest items by comparing all of them, without each one's own."""
    kind = bundle.types["ad"]
    units = directions(bundle.vectors[kind.start : kind.stop])
    return others(exact_places(units, directions(asked.vectors), K + 1), asked.own)[:, :K]


def recall(index: Index, bundle: Bundle, asked: Asked, truth: NDArray[np.int64]) -> float:
    """Recall@K as the service searches: with one to spare, since its own may be one."""
    found = index.search("ad", asked.vectors, K, spare=1).rows - bundle.types["ad"].start
    return share(others(found, asked.own)[:, :K], truth)


def curve(index: Index, asked: Asked, truth: NDArray[np.int64]) -> list[dict[str, float]]:
    """Effort, median milliseconds of one query and recall; nothing of an exact search."""
    part, units = index.part("ad"), directions(asked.vectors)
    if part.recipe.kind in ("exact", "scan"):
        return []
    steps = []
    with one_thread():
        for effort in sorted({*EFFORTS, part.recipe.effort}):
            ask = partial(found_by, part.recipe.kind, part._searcher, effort=effort)  # noqa: SLF001
            took = [timed(partial(ask, units[n : n + 1], K + 1)) for n in range(len(units))]
            steps.append(
                {
                    "effort": effort,
                    "ms": 1e3 * float(np.median(took)),
                    # All candidates: the service puts them in order by the bundle's vectors.
                    "recall": share(ask(units, K + 1), truth),
                    "chosen": effort == part.recipe.effort,
                }
            )
    return steps


def others(found: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """[q, w - 1] the places that are not a query's own, in their order."""
    order = np.argsort(found == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)[:, :-1]


def share(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """The share of the truth that was found, each query counting alike."""
    pairs = zip(found, truth, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in pairs]))


def timed(work: Callable[[], Any]) -> float:
    """The seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
