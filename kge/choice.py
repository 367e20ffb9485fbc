"""Which entities of a type become its anchors: popular ones, typical ones, or half of each.

Takes what entities are connected with, gives the chosen ones; never learns a vector.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse

from kge.config import TransRAConfig
from kge.features import sketch
from kge.triples import Graph

# Dimensions: n entities of a type, a anchors, w sketched dimensions.

_SKETCH, _ITERATIONS = 64, 12


def choose(
    rows: sparse.csr_matrix,
    degree: Int[np.ndarray, "n"],
    owner: Int[np.ndarray, "n"],
    config: TransRAConfig,
) -> Int[np.ndarray, "a"]:
    """Up to `anchors_per_type` distinct entities, by position in the type.

    No owner (an advertiser, say; -1: nobody's) gets more than `anchors_per_owner` of them, so that
    one merchant with many popular products does not become the measure of all others.
    """
    wanted = min(config.anchors_per_type, len(degree))
    popular = np.argsort(-degree, kind="stable")
    bank = _Bank(owner, config.anchors_per_owner)
    if config.anchor_choice == "degree":
        bank.take(popular, wanted)
    else:
        typical = wanted if config.anchor_choice == "kmeans" else wanted - wanted // 2
        bank.take(popular, wanted - typical)
        bank.take_one_of_each(_by_cluster(rows, typical, config.seed), wanted)
        bank.take(popular, wanted)  # where clusters were fewer
    return np.array(bank.chosen, dtype=np.int64)


def owner_of(graph: Graph, type_name: str) -> Int[np.ndarray, "N"]:
    """The owner of every entity: the row of a type at the other end of a structural edge, or -1.

    An entity with several owners belongs to the first of them.
    """
    owner = np.full(graph.entity_count, -1, dtype=np.int64)
    for number, relation in enumerate(graph.relations):
        if relation.source == "structure" and relation.tail == type_name != relation.head:
            own = np.flatnonzero(graph.relation == number)[::-1]
            owner[graph.head[own]] = graph.tail[own]
    return owner


class _Bank:
    """The anchors chosen so far, and how many of them each owner has."""

    def __init__(self, owner: NDArray[np.int64], most: int) -> None:
        self.chosen: list[int] = []
        self._owner, self._most = owner, most
        self._number: dict[int, int] = {}
        self._seen: set[int] = set()

    def take(self, order: NDArray[np.int64], wanted: int) -> None:
        """Take the first that may be taken until there are `wanted`."""
        for entity in order.tolist():
            if len(self.chosen) >= wanted:
                return
            self._try(entity)

    def take_one_of_each(self, orders: Iterable[NDArray[np.int64]], wanted: int) -> None:
        """Of each order the first that may be taken."""
        for order in orders:
            if len(self.chosen) >= wanted:
                return
            next((entity for entity in order.tolist() if self._try(entity)), None)

    def _try(self, entity: int) -> bool:
        owner = int(self._owner[entity])
        number = self._number.get(owner, 0)
        full = 0 < self._most <= number and owner >= 0
        if entity in self._seen or full:
            return False
        self._seen.add(entity)
        self._number[owner] = number + 1
        self.chosen.append(entity)
        return True


def _by_cluster(rows: sparse.csr_matrix, count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Of each of `count` clusters its entities, the most typical first.

    Spherical k-means over sketched neighborhoods; entities without any are in no cluster.
    """
    some = np.flatnonzero(np.diff(rows.indptr))
    if not len(some) or not count:
        return
    points = _directions(sketch(rows[some], _SKETCH, seed))
    draw = np.random.default_rng([seed, 7])
    centers = points[draw.choice(len(points), size=min(count, len(points)), replace=False)]
    for _ in range(_ITERATIONS):
        cluster = (points @ centers.T).argmax(axis=1)
        summed = np.zeros_like(centers)
        np.add.at(summed, cluster, points)
        full = np.bincount(cluster, minlength=len(centers)) > 0
        centers[full] = _directions(summed[full])
    close = (points * centers[cluster]).sum(axis=1)
    order = np.lexsort((-close, cluster))
    for part in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
        yield some[part]


def _directions(rows: Float[np.ndarray, "n w"]) -> Float[np.ndarray, "n w"]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
