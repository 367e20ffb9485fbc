"""What an item leads to by structure: an ad's product, its advertiser; a film's people.

Takes edges between items and what they lead to, gives the mean vector of each item and type; never
reads a time, since structure has none: an edge that is in the graph holds for every row, as it did
for the vectors. The same means in training, from a snapshot, and in serving, from the live graph.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Int32, Int64
from numpy.typing import NDArray

from graphsvc.snapshot import RelationInfo, Snapshot
from kge.bundle import Bundle
from ranking.states import Around

#: Edges whose vectors are held at once.
_EDGES = 1 << 16


def leads(relations: Iterable[RelationInfo], head_type: str, tail_type: str) -> dict[str, str]:
    """Relation -> the type it leads to, of the structure relations that tails are the head of.

    None that leads to the head type: what is said of a person and an item is what is asked.
    """
    return {
        relation.name: relation.tail
        for relation in relations
        if relation.source == "structure"
        and relation.head == tail_type
        and relation.tail != head_type
    }


def mean_vectors(
    bundle: Bundle, owner: Int64[np.ndarray, "e"], place: Int32[np.ndarray, "e"], count: int
) -> Around:
    """Of each of `count` owners the mean vector of where its edges lead.

    `place` are bundle rows, -1 for what the bundle does not hold: such edges say nothing. An owner
    without others is not known. Our design.
    """
    held = np.flatnonzero(place >= 0)
    held = held[np.argsort(owner[held], kind="stable")]
    owner, place = owner[held], place[held]
    sums, number = np.zeros((count, bundle.dim)), np.bincount(owner, minlength=count)
    for start in range(0, len(owner), _EDGES):
        own = owner[start : start + _EDGES]
        first = np.flatnonzero(np.diff(own, prepend=-1))
        vectors = bundle.vectors[place[start : start + _EDGES]].astype(np.float64)
        sums[own[first]] += np.add.reduceat(vectors, first, axis=0)
    means = sums / np.maximum(number, 1)[:, None]
    return Around(means.astype(np.float32), number > 0)


def around_tails(
    snapshot: Snapshot, bundle: Bundle, rows: Int32[np.ndarray, "n"]
) -> Mapping[str, Around]:
    """Type -> where what some tails lead to lies; `rows` are the tails' rows of the snapshot."""
    info = snapshot.interaction
    by_type: dict[str, list[int]] = defaultdict(list)
    led_to = leads(snapshot.relations, info.head, info.tail)
    for code, relation in enumerate(snapshot.relations):
        if relation.name in led_to and relation.tail in snapshot.types:
            by_type[relation.tail].append(code)
    tails = snapshot.types[info.tail]
    found: dict[str, Around] = {}
    for type_, codes in by_type.items():
        owner, other = _edges(snapshot, codes)
        kind = snapshot.types[type_]
        places = bundle.rows(type_, snapshot.ids[kind.start : kind.stop].tolist())
        means = mean_vectors(
            bundle, owner - tails.start, places[other - kind.start], tails.stop - tails.start
        )
        found[type_] = means.take(rows.astype(np.int64) - tails.start)
    return found


def _edges(snapshot: Snapshot, codes: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both ends of some relations' edges, but for those from an entity to itself."""
    heads, tails = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for block in snapshot.blocks("triples"):
        chosen = np.isin(block["relation"], codes) & (block["head"] != block["tail"])
        heads.append(block["head"][chosen].astype(np.int64))
        tails.append(block["tail"][chosen].astype(np.int64))
    return np.concatenate(heads), np.concatenate(tails)
