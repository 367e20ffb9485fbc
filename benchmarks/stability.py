"""How much of a bundle's geometry a later bundle keeps, for those to whom nothing happened.

Takes bundles and snapshots, gives figures and turned bundles; never trains.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import Snapshot
from kge.bundle import Bundle, seal_bundle
from kge.facet import ALL

NEAREST = 10
#: Rows whose nearest ones are looked for at once.
_CHUNK = 1024
#: Entities of a type whose nearest ones are looked for.
_SAMPLE = 1000

#: (type, id) -> a sum over the edges of an entity, the same only where the edges are
Edges = Mapping[tuple[str, str], int]


def edges_of(snapshot: Snapshot) -> Edges:
    """A number per entity that tells its set of edges."""
    triples = snapshot.triples()
    names = [f"{name} {key}" for name, key in _named(snapshot)]
    relations = [relation.name for relation in snapshot.relations]
    total = np.zeros(len(names), dtype=np.uint64)
    codes = np.array(
        [
            int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
            for text in (
                f"{names[h]}\t{relations[r]}\t{names[t]}"
                for h, r, t in zip(
                    triples.head.tolist(),
                    triples.relation.tolist(),
                    triples.tail.tolist(),
                    strict=True,
                )
            )
        ],
        dtype=np.uint64,
    )
    with np.errstate(over="ignore"):
        np.add.at(total, triples.head, codes)
        np.add.at(total, triples.tail, codes)
    return dict(zip(_named(snapshot), total.tolist(), strict=True))


def _named(snapshot: Snapshot) -> list[tuple[str, str]]:
    kinds = sorted(snapshot.types.values(), key=lambda kind: kind.start)
    return [
        (kind.name, key) for kind in kinds for key in snapshot.ids[kind.start : kind.stop].tolist()
    ]


def stability(
    before: Bundle, now: Bundle, edges: tuple[Edges, Edges]
) -> dict[str, dict[str, float]]:
    """By type: mean cosine, and overlap of the 10 nearest, of those whose edges are what they were.

    Nearest by angle, as neighbors are served, among all of the type that both bundles hold; of a
    sample of those that are measured.
    """
    told = {}
    for kind in before.types.values():
        ids = before.ids[kind.start : kind.stop]
        rows = now.rows(kind.name, ids) if kind.name in now.types else np.full(len(ids), -1)
        both = np.flatnonzero(rows >= 0)
        same = [edges[0][kind.name, key] == edges[1].get((kind.name, key)) for key in ids[both]]
        unchanged = np.flatnonzero(np.array(same, dtype=bool))
        if not len(unchanged) or len(both) <= NEAREST:
            continue
        old = _directions(before.vectors[kind.start + both])
        new = _directions(now.vectors[rows[both]])
        asked = np.random.default_rng(0).permutation(unchanged)[:_SAMPLE]
        told[kind.name] = {
            "cosine": float(np.einsum("nd,nd->n", old, new)[unchanged].mean()),
            "overlap": float(_overlap(old, new, asked).mean()),
            "unchanged": len(unchanged),
            "in_both": len(both),
        }
    return told


def _overlap(
    old: NDArray[np.float32], new: NDArray[np.float32], asked: NDArray[np.int64]
) -> NDArray[np.float64]:
    shares = np.empty(len(asked))
    for start in range(0, len(asked), _CHUNK):
        part = asked[start : start + _CHUNK]
        a, b = (_nearest(vectors, part) for vectors in (old, new))
        shares[start : start + _CHUNK] = (a[:, :, None] == b[:, None, :]).any(axis=2).mean(axis=1)
    return shares


def _nearest(vectors: NDArray[np.float32], asked: NDArray[np.int64]) -> NDArray[np.int64]:
    close = vectors[asked] @ vectors.T
    close[np.arange(len(asked)), asked] = -np.inf
    return np.argpartition(-close, NEAREST, axis=1)[:, :NEAREST]


def _directions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def procrustes(previous: Bundle, now: Bundle) -> NDArray[np.float32]:
    """[d, d] orthogonal Q: the turn `e Q` that brings entities nearest to where they were.

    Schönemann 1966, on all entities that both bundles hold: the rival has all that there is to fit.
    """
    olds, news = [], []
    for kind in previous.types.values():
        if kind.name not in now.types:
            continue
        old = np.arange(kind.start, kind.stop)
        rows = now.rows(kind.name, previous.ids[old])
        olds.append(previous.vectors[old[rows >= 0]])
        news.append(now.vectors[rows[rows >= 0]])
    left, _, right = np.linalg.svd(np.concatenate(news).T @ np.concatenate(olds))
    return (left @ right).astype(np.float32)


def as_frame(
    store: ArtifactStore, bundle: Bundle, frame: str, turn: NDArray[np.float32] | None = None
) -> Bundle:
    """The bundle under the name of another frame, so that a ranker of that frame reads it.

    `turn`: turned before, `e -> e Q` and `M -> M Q`, which leaves every score as it is.
    """
    arrays = replace(bundle.alone(ALL), frame=frame)
    if turn is not None:
        turned = {
            name: getattr(arrays, name) @ turn
            for name in ("vectors", "priors", "side_priors", "projections", "tail_projections")
        }
        arrays = replace(arrays, **turned)
    return seal_bundle(
        store, bundle.snapshot_digest, arrays, dials=dict(bundle.artifact.dials), metrics={}
    )
