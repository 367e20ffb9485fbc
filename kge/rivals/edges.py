"""Batches of edges between two types, and negatives of each end.

Takes a graph, gives rows; never sees a vector or a score.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from graphsvc.snapshot import TypeRange
from kge.triples import Graph

# Dimensions: b edges, m negatives.


class Batch(NamedTuple):
    """Edges whose heads are of one type, and whose tails are of one type."""

    #: int64 [b] positions in the graph's columns
    edges: NDArray[np.int64]
    heads: TypeRange
    tails: TypeRange


class Negatives(NamedTuple):
    """Entities of one type, drawn alike."""

    #: int64 [m]
    rows: Tensor
    #: log of how often each is expected among the m
    log_expected: float


def passes(graph: Graph, size: int, random: np.random.Generator) -> Iterator[Batch]:
    """Batches without end: every edge once per pass, in a new order each time."""
    kinds = len(graph.types)
    pair = graph.type_code[graph.head] * kinds + graph.type_code[graph.tail]
    groups = [np.flatnonzero(pair == code) for code in np.unique(pair)]
    while True:
        cuts = []
        for group in groups:
            order = random.permutation(group)
            cuts += [order[start : start + size] for start in range(0, len(order), size)]
        for n in random.permutation(len(cuts)):
            edges = cuts[n]
            head, tail = graph.head[edges[0]], graph.tail[edges[0]]
            types = graph.types
            yield Batch(edges, types[graph.type_code[head]], types[graph.type_code[tail]])


def batches_per_pass(graph: Graph, size: int) -> int:
    """How many batches a pass has."""
    pair = graph.type_code[graph.head] * len(graph.types) + graph.type_code[graph.tail]
    return sum(math.ceil(n / size) for n in np.unique(pair, return_counts=True)[1].tolist())


def draw(kind: TypeRange, count: int, random: np.random.Generator) -> Negatives:
    """`count` entities of a type with replacement; a type of at most so many is taken whole."""
    size = kind.stop - kind.start
    if size <= count:
        return Negatives(torch.arange(kind.start, kind.stop), 0.0)
    rows = torch.from_numpy(random.integers(kind.start, kind.stop, count))
    return Negatives(rows, math.log(count / size))


def plain_sparse() -> AbstractContextManager[object]:
    """Sparse gradients as torch makes them: it warns where nobody says whether to check them."""
    return torch.sparse.check_sparse_tensor_invariants(enable=False)


def contrast(
    positive: Float[Tensor, "b"],
    negative: Float[Tensor, "b m"],
    own: Tensor,
    drawn: Negatives,
    *,
    logistic: bool = False,
) -> Float[Tensor, "b"]:
    """Loss per edge: sampled softmax with logQ correction, or logistic with each negative alone.

    A negative that is the edge's own end is left out.
    """
    collision = own[:, None] == drawn.rows[None, :]
    if logistic:
        per_negative = torch.nn.functional.softplus(negative).masked_fill(collision, 0.0)
        return torch.nn.functional.softplus(-positive) + per_negative.mean(dim=1)
    logits = (negative - drawn.log_expected).masked_fill(collision, -torch.inf)
    whole = torch.cat([positive[:, None], logits], dim=1)
    return torch.logsumexp(whole, dim=1) - positive
