"""TransRA as link prediction sees it: the scorer of a bundle, a facet or trained arrays.

Takes vectors and matrices, gives scores; numpy only, never trains.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from kge.arrays import FacetArrays
from kge.bundle import Bundle
from kge.facet import Facet

# Dimensions: N entities, b heads, c candidates, d and k as in TransRA, f = k + 1, m entities that
# have an equal one, e classes of such entities, s those of m in one range.


#: What has vectors, bias, translations and projections.
Embedding = Bundle | Facet | FacetArrays

#: Classes that are always scored together, and entities that are given such scores at once.
_TOGETHER, _AT_ONCE = 64, 256
#: Bytes of rows that are looked at together.
_PIECE_BYTES = 1 << 18
#: Stands for every side whose tails stay still.
_NO_SIDE = -1


class FacetScorer:
    """`2 scale q.p + b - scale |p|^2` with q = M_r h + r and p = M_r t.

    That is TransRA's score but for `scale |q|^2`, which all candidates of a head share. A side's
    points are made once per range of candidates and kept for the next heads; where tails stay
    still, for the next sides too. Entities with equal
    vectors and bias (those without an edge share their type's prior) get scores that are equal to
    the last bit: a matrix product alone does not promise that, since libraries sum the last columns
    in another order than the first ones. Beside a range's arrays it holds up to three whole numbers
    per entity that has an equal one.
    """

    def __init__(self, embedding: Embedding, *, scale: float = 1.0) -> None:
        self._of, self._scale = embedding, scale
        own = embedding.tail_projections
        self._tails = embedding.projections if own is None else own
        self._known_still: dict[int, bool] = {}
        self._held: tuple[tuple[int, int, int], NDArray[np.floating]] | None = None
        self._sorted: tuple[tuple[int, int], NDArray[np.int64], NDArray[np.int64]] | None = None
        self._member, self._class, self._first = _equal_rows(embedding.vectors, embedding.bias)

    @property
    def entity_count(self) -> int:
        return len(self._of.vectors)

    @property
    def relation_count(self) -> int:
        return len(self._of.relations)

    @property
    def candidate_bytes(self) -> int:
        """A point twice, while the bias is put beside it, and the bias; who has an equal one."""
        vectors = self._of.vectors
        equal = 4 * np.dtype(np.int64).itemsize if len(self._member) else 0
        return (2 * self._of.translations.shape[1] + 4) * vectors.itemsize + equal

    def scores(
        self, side: int, heads: Int[np.ndarray, "b"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        of = self._of
        query_bk = of.vectors[heads] @ of.projections[side].T + of.translations[side]
        query_bk *= 2.0 * self._scale
        one_b = np.ones((len(heads), 1), query_bk.dtype)
        query_bf = np.concatenate([query_bk, one_b], axis=1)
        asked = (_NO_SIDE if self._still(side) else side, first, last)
        if self._held is None or self._held[0] != asked:
            self._held = None  # before the next ones are made
            self._held = (asked, self._points(side, slice(first, last)))
        scores_bc = query_bf @ self._held[1].T
        for block, columns, places in self._shared(first, last):
            # One product, the same for every range.
            rows = self._first[block * _TOGETHER : (block + 1) * _TOGETHER]
            classes_be = query_bf @ self._points(side, rows).T
            for start in range(0, len(columns), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                scores_bc[:, columns[part]] = classes_be[:, places[part]]
        return scores_bc

    def _shared(
        self, first: int, last: int
    ) -> Iterator[tuple[int, Int[np.ndarray, "_"], Int[np.ndarray, "_"]]]:
        """Blocks of classes in a range: their number, columns, and places in the block of these."""
        if self._sorted is None or self._sorted[0] != (first, last):
            self._sorted = None
            begin, end = np.searchsorted(self._member, [first, last])
            own = self._class[begin:end]
            order = np.argsort(own, kind="stable")
            self._sorted = ((first, last), self._member[begin:end][order] - first, own[order])
        _, column, class_ = self._sorted
        start = 0
        while start < len(class_):
            block = int(class_[start]) // _TOGETHER
            stop = int(np.searchsorted(class_, (block + 1) * _TOGETHER))
            yield block, column[start:stop], class_[start:stop] - block * _TOGETHER
            start = stop

    def _points(self, side: int, rows: slice | Int[np.ndarray, "c"]) -> Float[np.ndarray, "c f"]:
        """`[p, b - scale |p|^2]` of some entities."""
        of = self._of
        point_ck = of.vectors[rows]
        if not self._still(side):
            point_ck = point_ck @ self._tails[side].T
        base_c = of.bias[rows] - self._scale * np.einsum("ck,ck->c", point_ck, point_ck)
        return np.concatenate([point_ck, base_c[:, None]], axis=1)

    def _still(self, side: int) -> bool:
        """Whether tails are their own points, which all such sides share."""
        if side not in self._known_still:
            matrix = self._tails[side]
            self._known_still[side] = np.array_equal(matrix, np.eye(*matrix.shape))
        return self._known_still[side]


def _equal_rows(
    vectors: Float[np.ndarray, "n d"], bias: Float[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"], Int[np.ndarray, "e"]]:
    """Rows that have an equal one (ascending), the class of each, and the first row of each class.

    Equal to the bit. Looks at rows piece by piece, and holds a few numbers for each.
    """
    total = _sums(vectors, bias)
    rest = np.argsort(total, kind="stable")
    total = total[rest]
    #: the first of the rows that equal each
    leader = np.arange(len(total))
    while len(rest):
        # Rows with equal sums are compared in full with the first of them; it leads those it
        # equals, and what is left of them, for which a sum is no proof, goes on alone.
        new = np.concatenate([[True], total[1:] != total[:-1]])
        first = rest[np.flatnonzero(new)][np.cumsum(new) - 1]
        other = np.flatnonzero(rest != first)
        rest, first, total = rest[other], first[other], total[other]
        same = _same(vectors, bias, rest, first)
        leader[rest[same]] = first[same]
        rest, total = rest[~same], total[~same]
    shared = np.bincount(leader, minlength=len(leader)) > 1
    member = np.flatnonzero(shared[leader])
    firsts = np.flatnonzero(shared)
    return member, np.searchsorted(firsts, leader[member]), firsts


def _sums(vectors: Float[np.ndarray, "n d"], bias: Float[np.ndarray, "n"]) -> NDArray[np.uint64]:
    """A number for each row that equal rows share and others hardly do."""
    total = np.zeros(len(vectors), np.uint64)
    width = _bits(vectors[:1], bias[:1]).shape[1]
    draw = np.random.default_rng(0)
    factors = draw.integers(1, 1 << 63, (width,), dtype=np.uint64) | np.uint64(1)
    for part in _pieces(vectors):
        total[part] = _bits(vectors[part], bias[part]).astype(np.uint64) @ factors
    return total


def _same(
    vectors: Float[np.ndarray, "n d"],
    bias: Float[np.ndarray, "n"],
    left: Int[np.ndarray, "m"],
    right: Int[np.ndarray, "m"],
) -> NDArray[np.bool_]:
    """Whether rows and rows are equal to the bit."""
    same = np.empty(len(left), dtype=bool)
    for part in _pieces(vectors, len(left)):
        one, other = (_bits(vectors[rows[part]], bias[rows[part]]) for rows in (left, right))
        same[part] = (one == other).all(axis=1)
    return same


def _pieces(vectors: Float[np.ndarray, "n d"], count: int | None = None) -> Iterator[slice]:
    size = max(1, _PIECE_BYTES // max(1, vectors.itemsize * vectors.shape[1]))
    whole = len(vectors) if count is None else count
    yield from (slice(start, min(start + size, whole)) for start in range(0, whole, size))


def _bits(vectors: Float[np.ndarray, "n d"], bias: Float[np.ndarray, "n"]) -> NDArray[np.uint8]:
    """The bytes of each row, bias last."""
    whole = np.ascontiguousarray(np.concatenate([vectors, bias[:, None]], axis=1))
    return whole.view(np.uint8)
