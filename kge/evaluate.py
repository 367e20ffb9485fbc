"""Link prediction: filtered MRR and Hits@k over all entities, both sides, realistic ranks.

Takes trained arrays or a bundle and triples of dense rows, gives figures; never trains. Equal to
PyKEEN's `RankBasedEvaluator`, with one matrix product per block instead of a matrix per triple.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from kge.arrays import BundleArrays
from kge.bundle import Bundle
from kge.errors import ShapeMismatch
from kge.ranks import distance_scores, realistic_ranks, spread

# Dimensions: n triples, b queries of one block.


class LinkPrediction(NamedTuple):
    """Figures over both sides, and the ranks they come from."""

    mrr: float
    #: k -> share of ranks <= k
    hits: dict[int, float]
    #: [n] rank of the true head among all heads, and of the true tail among all tails
    head_rank: NDArray[np.float64]
    tail_rank: NDArray[np.float64]


def link_prediction(
    embedding: Bundle | BundleArrays,
    triples: Int[np.ndarray, "n 3"],
    known: Sequence[Int[np.ndarray, "_ 3"]],
    *,
    ks: Sequence[int] = (1, 3, 10),
    block: int = 512,
) -> LinkPrediction:
    """Rank both ends of (head, relation, tail) rows among all entities.

    `known` are the triples to filter by (training, validation, test); the ranked ones are always
    among them. Heads are ranked by the reciprocal relation, as PyKEEN does for a model that was
    trained on inverse triples. Memory: block x N scores. Raises `ShapeMismatch` without triples.
    """
    if not len(triples):
        raise ShapeMismatch("triples should hold at least one row, received none")
    every = np.concatenate([*known, triples]).astype(np.int64)
    rows = triples.astype(np.int64)
    relations = len(embedding.relations)
    tail_rank = _ranks(embedding, rows, every, block)
    flip = np.array([0, relations, 0])
    head_rank = _ranks(embedding, rows[:, ::-1] + flip, every[:, ::-1] + flip, block)
    ranks = np.concatenate([head_rank, tail_rank])
    return LinkPrediction(
        mrr=float((1.0 / ranks).mean()),
        hits={k: float((ranks <= k).mean()) for k in ks},
        head_rank=head_rank,
        tail_rank=tail_rank,
    )


def _ranks(
    embedding: Bundle | BundleArrays,
    rows: NDArray[np.int64],
    every: NDArray[np.int64],
    block: int,
) -> Float[np.ndarray, "n"]:
    """Rank of the last column given the first two; relations index sides."""
    count = len(embedding.vectors)
    every = np.unique(every, axis=0)
    code = every[:, 1] * count + every[:, 0]
    order = np.argsort(code, kind="stable")
    code, known = code[order], every[order, 2]
    ranks = np.empty(len(rows))
    for side in np.unique(rows[:, 1]):
        matrix, shift = embedding.projections[side], embedding.translations[side]
        tails = embedding.tail_projections
        points = embedding.vectors @ (matrix if tails is None else tails[side]).T
        places = np.flatnonzero(rows[:, 1] == side)
        for start in range(0, len(places), block):
            part = places[start : start + block]
            head = rows[part, 0]
            query = embedding.vectors[head] @ matrix.T + shift
            scores = distance_scores(query, points, embedding.bias, embedding.scale)
            first = np.searchsorted(code, side * count + head, side="left")
            number = np.searchsorted(code, side * count + head, side="right") - first
            filtered = (np.repeat(np.arange(len(part)), number), known[spread(first, number)])
            ranks[part] = realistic_ranks(scores, rows[part, 2], filtered)
    return ranks
