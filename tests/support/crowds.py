"""Many vectors in clusters, to search in, and what a search of them should find."""

from dataclasses import replace

import numpy as np

from graphsvc.snapshot import TypeRange
from kge.arrays import BundleArrays
from kge.bundle import Bundle

#: Kinds of parts whose vectors are whole; codes have tests of their own.
KINDS = ("exact", "scan", "hnsw", "ivf_sq8")


def crowd(arrays: BundleArrays, count: int, *, dim: int = 16) -> BundleArrays:
    """So many films in some clusters, and a user in each."""
    draw = np.random.default_rng(3)
    centers = draw.normal(size=(40, dim)).astype(np.float32)
    spread = draw.normal(size=(count, dim)).astype(np.float32)
    films = centers[draw.integers(40, size=count)] + 0.7 * spread
    normal = lambda *shape: draw.normal(size=shape).astype(np.float32)  # noqa: E731
    return replace(
        arrays,
        types=[TypeRange("film", 0, count), TypeRange("user", count, count + 40)],
        ids=np.array([f"{n:06d}" for n in range(count + 40)], object),
        vectors=np.concatenate([films, centers]),
        bias=normal(count + 40),
        degree=np.ones(count + 40, np.int32),
        translations=normal(4, 3),
        projections=normal(4, 3, dim),
        priors=normal(2, dim),
        frame_rows=np.array([0, count], np.int32),
    )


def truth(bundle: Bundle, type_: str, query: np.ndarray, allowed: np.ndarray | None = None):
    """(distances, rows) of a whole type by the definition of cosine, nearest first."""
    start, stop = bundle.types[type_][1:]
    every = [
        1 - (v @ query) / (np.linalg.norm(v) * np.linalg.norm(query))
        for v in bundle.vectors[start:stop]
    ]
    order = [n for n in np.argsort(every, kind="stable") if allowed is None or allowed[n]]
    return np.array(every)[order], np.array(order, dtype=int) + start
