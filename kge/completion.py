"""What completes (h, r, ?): the tails of one type in the order of the model's own score.

    f(h, r, t) = -s ||M_r h + r - T_r t||^2 + b_t
               = 2 s <T_r^T q, t> + c_t - s ||q||^2     q = M_r h + r    c_t = b_t - s ||T_r t||^2

So no tail is ever projected: a head becomes one vector of the bundle's own space, every tail is
compared with it by one product, and what a relation adds is one number per tail, which is kept.
Exact; our design.

Takes a bundle, gives scores and rows; never holds more than its bound, never imports torch.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from kge.bundle import Bundle
from kge.errors import ShapeMismatch, UnknownRelation
from kge.facet import ALL, Facet
from kge.searchers import top

# Dimensions: b heads, n tails of a type, m tails by vector, d vector.

_BLOCK = 1 << 15
#: Scores that are held at a time.
_CELLS = 1 << 23


class Side(NamedTuple):
    """A relation in one direction: which type asks, which one is found, and its index."""

    facet: str
    relation: int
    head: str
    tail: str


@dataclass(frozen=True)
class Completion:
    """Searches a bundle's relations; keeps the tails' numbers of those that were asked last."""

    bundle: Bundle
    most_bytes: int
    _kept: OrderedDict[tuple[str, int], NDArray[np.float32]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def side(self, relation: str, head_type: str, *, facet: str = ALL, inverse: bool) -> Side:
        """A relation as a type sees it. Raises `UnknownFacet` and `UnknownRelation`."""
        holds = self.bundle.facet(facet)
        index = holds.relation_index(relation)
        told = holds.relations[index]
        own, other = (told.tail, told.head) if inverse else (told.head, told.tail)
        if own != head_type:
            where = "into" if inverse else "from"
            raise UnknownRelation(
                f"relation should be one that leads {where} {head_type}, received {relation!r}, "
                f"which leads from {told.head} to {told.tail}"
            )
        return Side(facet, index + len(holds.relations) * inverse, own, other)

    def search(
        self,
        side: Side,
        heads: Float[np.ndarray, "b d"],
        k: int,
        *,
        allowed: Bool[np.ndarray, "n"] | None = None,
    ) -> tuple[Float[np.ndarray, "b k"], Int[np.ndarray, "b k"]]:
        """Scores and bundle rows of the k best tails that are allowed, best first.

        -inf and -1 where there are fewer.
        """
        kind, facet = self.bundle.type_range(side.tail), self.bundle.facet(side.facet)
        if allowed is not None and len(allowed) != kind.stop - kind.start:
            raise ShapeMismatch(
                f"allowed should have {kind.stop - kind.start} values, received {len(allowed)}"
            )
        asked, constant = _asked(facet, side.relation, heads)
        tails, adds = facet.vectors[kind.start : kind.stop], self._constants(side)
        best = np.full((len(heads), k), -np.inf, np.float32)
        rows = np.full((len(heads), k), -1, np.int64)
        step = max(1, _CELLS // _BLOCK)
        for start in range(0, len(heads), step):
            some = slice(start, start + step)
            for places, names in _blocks(len(tails), allowed):
                scores = asked[some] @ tails[places].T
                scores += adds[places]
                scores += constant[some, None]
                scores[:, names < 0] = -np.inf
                named = np.where(names < 0, -1, names + kind.start)
                more, found = top(scores, np.broadcast_to(named, scores.shape), k)
                best[some], rows[some] = top(
                    np.concatenate([best[some], more], axis=1),
                    np.concatenate([rows[some], found], axis=1),
                    k,
                )
        return best, rows

    def scores(
        self,
        side: Side,
        heads: Float[np.ndarray, "b d"],
        tails: Float[np.ndarray, "m d"],
        bias: Float[np.ndarray, "m"],
    ) -> Float[np.ndarray, "b m"]:
        """The same score of tails given by vector, such as those folded in."""
        return self.bundle.facet(side.facet).score_vectors(side.relation, heads, tails, bias)

    def _constants(self, side: Side) -> NDArray[np.float32]:
        """c_t of every tail of a side's type."""
        name = (side.facet, side.relation)
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        facet, kind = self.bundle.facet(side.facet), self.bundle.type_range(side.tail)
        adds = facet.bias[kind.start : kind.stop].astype(np.float32)  # a copy
        for start in range(0, len(adds), _BLOCK):
            rows = slice(kind.start + start, min(kind.start + start + _BLOCK, kind.stop))
            points = facet.vectors[rows] @ facet.tail_projections[side.relation].T
            adds[start : start + len(points)] -= facet.scale * np.einsum("nk,nk->n", points, points)
        with self._lock:
            self._kept[name] = adds
            while len(self._kept) > 1 and self._held() > self.most_bytes:
                self._kept.popitem(last=False)
        return adds

    def _held(self) -> int:
        return sum(adds.nbytes for adds in self._kept.values())


def _blocks(
    count: int, allowed: NDArray[np.bool_] | None
) -> Iterator[tuple[slice | NDArray[np.int64], NDArray[np.int64]]]:
    """What to score of the tails, block by block, and the place of each, -1 where not allowed.

    Where most of a block is allowed it is scored as it lies: to leave some out would copy the rest.
    """
    for start in range(0, count, _BLOCK):
        places = np.arange(start, min(start + _BLOCK, count))
        if allowed is None:
            yield slice(start, start + len(places)), places
            continue
        may = allowed[start : start + len(places)]
        held = places[may]
        if 2 * len(held) >= len(places):
            yield slice(start, start + len(places)), np.where(may, places, -1)
        elif len(held):
            yield held, held


def _asked(
    facet: Facet, index: int, heads: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`2 s T_r^T q` and `-s ||q||^2` of each head."""
    points = facet.project(index, heads)
    asked = 2.0 * facet.scale * (points @ facet.tail_projections[index])
    constant = -facet.scale * np.einsum("bk,bk->b", points, points)
    return asked.astype(np.float32), constant.astype(np.float32)
