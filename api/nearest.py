"""What is near: the index of the bundle and the overlay beside it, as one list.

Takes vectors that ask for the same, gives what was found for each, nearest first; never gives one
that the overlay hides or that does not pass the filter. One that has changed since training is
where it is now, and nowhere else; of two at the same distance a learned one goes before a cold one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from api.filters import Filter
from api.live import Trio
from api.overlay import View, direction
from api.passing import Mask, Passing
from api.questions import Item
from kge.bundle import ALL
from kge.completion import Side


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What some vectors ask for together."""

    type: str
    #: What is asked for: the plan and the recall are those of so many.
    k: int
    #: So many more are found, of which some may be left out of the answer.
    spare: int = 0
    facet: str = ALL
    side: Side | None = None
    filter: Filter | None = None

    @property
    def most(self) -> int:
        return self.k + self.spare


@dataclass(frozen=True, slots=True)
class Near:
    """What was found for each vector, and how."""

    items: Sequence[list[Item]]
    exact: Sequence[bool]
    recall: Sequence[float]


def nearest(
    trio: Trio, wanted: Wanted, vectors: NDArray[np.float32], passing: Passing | None
) -> Near:
    """The nearest of one type for each vector; `passing` knows who passes the filter."""
    view = trio.overlay.view(wanted.type, wanted.facet)
    allowed = None if view.passed_over is None else ~view.passed_over
    if wanted.filter is not None and passing is not None:
        rows = passing.rows(wanted.filter, wanted.type)
        allowed = rows if allowed is None else allowed & rows
    beside = _beside(view, wanted, passing)
    if wanted.side is not None:
        return _completing(trio, wanted, vectors, (allowed, view, beside))
    if wanted.filter is None:
        allowed = _of_index(trio, wanted.type, allowed)
    found = trio.index.search(
        wanted.type,
        vectors,
        wanted.k,
        facet=wanted.facet,
        allowed=allowed,
        spare=wanted.spare,
    )
    items = _items(trio, wanted.type, found.rows, found.distances)
    if len(beside):
        units = np.stack([direction(vector) for vector in vectors])
        distances = 1.0 - units @ view.directions[beside].T
        for n, near in enumerate(distances):
            more = _folded(wanted, view, beside, near, None)
            items[n] = sorted([*items[n], *more], key=_by_distance)[: wanted.most]
    return Near(items, found.exact.tolist(), found.recalls.tolist())


def _of_index(trio: Trio, type_: str, allowed: Mask | None) -> Mask | None:
    """The same without a filter; None where those are allowed that the index holds.

    Whoever was out of answers when it was built and still is needs no passing over.
    """
    held = trio.index.held.get(type_)
    if allowed is None:
        return None if held is None else np.ones(len(held), np.bool_)
    return None if held is not None and np.array_equal(allowed, held) else allowed


def _beside(view: View, wanted: Wanted, passing: Passing | None) -> NDArray[np.int64]:
    """Places of the overlay's entities that may be found."""
    if wanted.filter is None or passing is None or not view.ids:
        return np.arange(len(view.ids))
    return np.flatnonzero(passing.ids(wanted.filter, wanted.type, view.ids))


def _completing(
    trio: Trio,
    wanted: Wanted,
    heads: NDArray[np.float32],
    among: tuple[Mask | None, View, NDArray[np.int64]],
) -> Near:
    """The best by the model's score of a relation; exact."""
    side, (allowed, view, beside) = wanted.side, among
    if side is None:
        return Near([], [], [])
    scores, rows = trio.completion.search(side, heads, wanted.most, allowed=allowed)
    facet = trio.bundle.facet(side.facet)
    items = _items(trio, wanted.type, rows, _gaps(scores, facet.bias[rows], facet.scale), scores)
    if len(beside):
        bias = trio.bundle.cold_bias(wanted.type, view.degree[beside], facet=side.facet)
        known = trio.bundle.rows(wanted.type, [view.ids[n] for n in beside.tolist()])
        # One that had no edge of the facet learned no bias in it.
        learned = view.changed[beside] & (facet.degree[known] > 0)
        bias[learned] = facet.bias[known[learned]]
        more = trio.completion.scores(side, heads, view.vectors[beside], bias)
        gaps = _gaps(more, bias[None, :], facet.scale)
        for n in range(len(heads)):
            folded = _folded(wanted, view, beside, gaps[n], more[n])
            items[n] = sorted([*items[n], *folded], key=_by_score)[: wanted.most]
    return Near(items, [True] * len(items), [1.0] * len(items))


def _gaps(
    scores: NDArray[np.float32], bias: NDArray[np.float32], scale: float
) -> NDArray[np.float32]:
    """How far a tail is from where its head looks: the score without the tail's bias."""
    squared = np.where(np.isneginf(scores), np.inf, (bias - scores) / scale)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), np.float32)


def _items(
    trio: Trio,
    type_: str,
    rows: NDArray[np.int64],
    distances: NDArray[np.float32],
    scores: NDArray[np.float32] | None = None,
) -> list[list[Item]]:
    ids = trio.bundle.ids[rows].tolist()
    told = [[None] * rows.shape[1]] * len(rows) if scores is None else scores.tolist()
    return [
        [
            Item(type_, id_, distance, score, row=row)
            for id_, distance, score, row in zip(*columns, strict=True)
            if row >= 0
        ]
        for columns in zip(ids, distances.tolist(), told, rows.tolist(), strict=True)
    ]


def _folded(
    wanted: Wanted,
    view: View,
    beside: NDArray[np.int64],
    distances: NDArray[np.float32],
    scores: NDArray[np.float32] | None,
) -> list[Item]:
    """The nearest of the overlay."""
    order = np.argsort(distances if scores is None else -scores, kind="stable")[: wanted.most]
    return [
        Item(
            wanted.type,
            view.ids[place],
            float(distances[n]),
            None if scores is None else float(scores[n]),
            cold=not view.changed[place],
            edges=int(view.edges[place]),
        )
        for n, place in zip(order.tolist(), beside[order].tolist(), strict=True)
    ]


def _by_distance(item: Item) -> tuple[float, bool]:
    return item.distance, item.cold


def _by_score(item: Item) -> tuple[float, bool]:
    return -(item.score or 0.0), item.cold
