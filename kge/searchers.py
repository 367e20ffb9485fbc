"""Searching one part of an index: what a kind is built of, and what it finds.

Takes unit vectors and queries, gives places; never reads or writes a file, never imports torch.
Which kind it is, and how hard it searches, is for `kge/tuning.py` to say.

One thread builds: with several, the same vectors would give other bytes each time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int

from kge.config import IndexConfig
from kge.kinds import KindName, cells, code_bytes

# Dimensions: n vectors, q queries, d vector, k found.

#: So many times k candidates are compared again by the bundle's own vectors. Items that few have
#: touched lie so near to each other that a byte per coordinate does not tell them apart.
WIDTH: dict[KindName, int] = {"hnsw": 1, "ivf_sq8": 4, "ivf_pq": 10}
#: Numbers of neighbors for which recall is stored.
DEPTHS = (10, 100)
#: Under a filter so many more have to be found: few of it, and the nearest may lie just beyond.
_BEYOND = 64
#: Searching never opens more, however narrow the filter: below that an exact search is quicker.
_MOST_EFFORT = 4096
_BLOCK = 1 << 17
#: From so many vectors on, an exact search is divided among at most so many threads.
_SHARDED_FROM, _MOST_SHARDS = 200_000, 4
#: Of the rows that a kind learns its cells from.
_SEED = 20


def effort_for(kind: KindName, effort: int, k: int, share: float) -> int:
    """How hard to search for k neighbors among a share of the rows; our design.

    A filter that lets one in ten pass needs ten times the candidates to find as many, and up to
    twice as many again where what passes lies together.
    """
    wanted = ceil(effort * (2.0 - share) / max(share, 1e-6))
    if kind == "hnsw":
        wanted = max(wanted, ceil(2 * k / max(share, 1e-6)))
    else:
        wanted = max(wanted, ceil(effort * (k / DEPTHS[0]) ** 0.5))
    return min(wanted, max(_MOST_EFFORT, effort))


def found_by(
    kind: KindName,
    built: Any,
    units: Float[np.ndarray, "q d"],
    k: int,
    *,
    effort: int,
    allowed: Bool[np.ndarray, "n"] | None = None,
) -> Int[np.ndarray, "q w"]:
    """Places that may be among the k nearest, nearest first by what the kind knows; -1 for none.

    Raises `ValueError` for a filter of an exact kind, which whoever searches sifts: `kge/parts.py`.
    """
    made: Any = faiss  # its stubs describe C++, not the Python wrappers
    options: dict[str, Any] = {}
    if allowed is not None:
        options["sel"] = made.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    if kind == "hnsw":
        params = made.SearchParametersHNSW(efSearch=effort, **options)
    elif kind == "exact":
        if allowed is not None:
            raise ValueError("allowed should be None of an exact kind, received a filter")
        params = None
    else:
        params = made.SearchParametersIVF(nprobe=effort, **options)
    wide = k * WIDTH.get(kind, 1) + (_BEYOND if kind in WIDTH and allowed is not None else 0)
    _, found = built.search(units, wide, params=params)
    return found


def comes_short(
    found: Int[np.ndarray, "q w"], k: int, allowed: Bool[np.ndarray, "n"] | None
) -> Bool[np.ndarray, "q"]:
    """For which queries all has to be compared: what is allowed lies where nothing was looked at.

    So it is where the index ran out of candidates, though more of them are allowed; our design.
    """
    wanted = k if allowed is None else min(found.shape[1], int(np.count_nonzero(allowed)))
    return np.asarray(np.count_nonzero(found >= 0, axis=1) < wanted)


def exact_places(
    units: Float[np.ndarray, "n d"],
    queries: Float[np.ndarray, "q d"],
    k: int,
    allowed: Bool[np.ndarray, "n"] | None = None,
) -> Int[np.ndarray, "q w"]:
    """Places of the k nearest, nearest first, by comparing everything: recall is measured by it."""
    places = np.arange(len(units)) if allowed is None else np.flatnonzero(allowed)
    k = min(k, len(places))
    best = np.full((len(queries), 0), -np.inf, np.float32)
    found = np.full((len(queries), 0), -1, np.int64)
    for start in range(0, len(places), _BLOCK):
        some = places[start : start + _BLOCK]
        cosines = queries @ units[some].T
        best, found = top(
            np.concatenate([best, cosines], axis=1),
            np.concatenate([found, np.broadcast_to(some, cosines.shape)], axis=1),
            k,
        )
    return found


def top(
    values: Float[np.ndarray, "q m"], names: Int[np.ndarray, "q m"], k: int
) -> tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """The k greatest values of each row and their names, greatest first; equal ones by name."""
    if values.shape[1] > k:
        chosen = np.argpartition(-values, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(values, chosen, axis=1)
        names = np.take_along_axis(names, chosen, axis=1)
    order = np.lexsort((names, -values), axis=1)
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(names, order, axis=1)


def flat(units: Float[np.ndarray, "n d"]) -> Any:
    """FAISS's exact search over unit vectors; it holds a copy of them.

    Of many, each of a few threads compares a part: a single query takes as long as memory is read.
    """
    shards = min(_MOST_SHARDS, os.cpu_count() or 1) if len(units) >= _SHARDED_FROM else 1
    if shards == 1:
        return _flat(units)
    made: Any = faiss
    built = made.IndexShards(units.shape[1], True, True)  # threads, and numbers that go on
    for some in np.array_split(units, shards):
        built.add_shard(_flat(some))
    return built


def _flat(units: Float[np.ndarray, "n d"]) -> Any:
    built: Any = faiss.IndexFlatIP(units.shape[1])
    built.add(units)
    return built


@contextmanager
def one_thread() -> Iterator[None]:
    """FAISS with one thread, and as it was afterwards."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def build(kind: KindName, units: Float[np.ndarray, "n d"], config: IndexConfig) -> Any:
    """An approximate kind over all vectors, by one seed."""
    count, dim = units.shape
    made: Any = faiss
    if kind == "hnsw":
        built = made.IndexHNSWFlat(dim, config.links, made.METRIC_INNER_PRODUCT)
        built.hnsw.efConstruction = config.construction
        built.add(units)
        return built
    coarse = made.IndexFlatIP(dim)
    if kind == "ivf_sq8":
        built = made.IndexIVFScalarQuantizer(
            coarse, dim, cells(count), made.ScalarQuantizer.QT_8bit, made.METRIC_INNER_PRODUCT
        )
    else:
        built = made.IndexIVFPQ(
            coarse, dim, cells(count), code_bytes(dim), 8, made.METRIC_INNER_PRODUCT
        )
    # FAISS draws its training rows by a fixed seed; more than it uses would only be copied.
    draw = np.random.default_rng(_SEED)
    most = max(64 * cells(count), 1 << 16)
    few = units if count <= most else units[np.sort(draw.choice(count, most, replace=False))]
    built.train(few)
    built.add(units)
    return built
