"""TransRA as link prediction sees it: the scorer of a bundle, a facet or trained arrays.

Takes vectors and matrices, gives scores; numpy only, never trains.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from kge.arrays import FacetArrays
from kge.bundle import Bundle
from kge.facet import Facet

# Dimensions: N entities, b heads, c candidates, d and k as in TransRA, e classes of equal entities.


#: What has vectors, bias, translations and projections.
Embedding = Bundle | Facet | FacetArrays


class FacetScorer:
    """`2 scale q.p + b - scale |p|^2` with q = M_r h + r and p = M_r t.

    That is TransRA's score but for `scale |q|^2`, which all candidates of a head share. A side's
    points are made once per range of candidates and kept for the next heads. Entities with equal
    vectors and bias (those without an edge share their type's prior) get scores that are equal to
    the last bit: a matrix product alone does not promise that, since libraries sum the last columns
    in another order than the first ones.
    """

    def __init__(self, embedding: Embedding, *, scale: float = 1.0) -> None:
        self._of, self._scale = embedding, scale
        self._held: tuple[tuple[int, int, int], NDArray[np.floating]] | None = None
        self._member, self._class, self._first = _equal_rows(embedding.vectors, embedding.bias)

    @property
    def entity_count(self) -> int:
        return len(self._of.vectors)

    @property
    def relation_count(self) -> int:
        return len(self._of.relations)

    @property
    def candidate_bytes(self) -> int:
        vectors = self._of.vectors
        return (2 * self._of.translations.shape[1] + 1) * vectors.itemsize

    def scores(
        self, side: int, heads: Int[np.ndarray, "b"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        of = self._of
        query_bk = of.vectors[heads] @ of.projections[side].T + of.translations[side]
        query_bk *= 2.0 * self._scale
        one_b = np.ones((len(heads), 1), query_bk.dtype)
        query_bf = np.concatenate([query_bk, one_b], axis=1)
        if self._held is None or self._held[0] != (side, first, last):
            self._held = ((side, first, last), self._points(side, np.arange(first, last)))
        scores_bc = query_bf @ self._held[1].T
        begin, end = np.searchsorted(self._member, [first, last])
        if end > begin:
            # One product, the same for every range.
            classes_be = query_bf @ self._points(side, self._first).T
            place = self._member[begin:end] - first
            scores_bc[:, place] = classes_be[:, self._class[begin:end]]
        return scores_bc

    def _points(self, side: int, rows: Int[np.ndarray, "c"]) -> Float[np.ndarray, "c f"]:
        """`[p, b - scale |p|^2]` of some entities."""
        of = self._of
        tails = of.projections if of.tail_projections is None else of.tail_projections
        point_ck = of.vectors[rows] @ tails[side].T
        base_c = of.bias[rows] - self._scale * np.einsum("ck,ck->c", point_ck, point_ck)
        return np.concatenate([point_ck, base_c[:, None]], axis=1)


def _equal_rows(
    vectors: Float[np.ndarray, "n d"], bias: Float[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"], Int[np.ndarray, "e"]]:
    """Rows that have an equal one (ascending), the class of each, and a row of each class."""
    whole = np.ascontiguousarray(np.concatenate([vectors, bias[:, None]], axis=1))
    # Rows whose bits have equal sums are few; they are compared in full.
    bits = whole.view(np.uint8).reshape(len(whole), -1)
    odd = np.random.default_rng(0).integers(1, 1 << 63, bits.shape[1], dtype=np.uint64) | 1
    total = np.zeros(len(whole), np.uint64)
    for column, factor in enumerate(odd):
        total += bits[:, column] * factor
    order = np.argsort(total, kind="stable")
    same = np.zeros(len(order) + 1, dtype=bool)
    same[1:-1] = total[order[1:]] == total[order[:-1]]
    rows = np.sort(order[same[1:] | same[:-1]])
    _, first, place, number = np.unique(
        whole[rows], axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    shared = number > 1
    kept = shared[place]
    return rows[kept], (np.cumsum(shared) - 1)[place[kept]], rows[first[shared]]
