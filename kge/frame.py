"""The coordinate frame: keeping vectors where the bundle before had them.

Takes a bundle and a new graph, gives where a training begins and what holds it there; never trains.

    L_A = lambda_A * mean_{v in F} || e_v - e_v^previous ||^2

Scores do not change under `e -> A e, M_r -> M_r A^-1`, so each training of TransR from scratch
lands in another affine frame, and a ranker that reads refreshed vectors reads noise. So a refresh
begins with the vectors and maps of the bundle before, and F, entities of every type and degree
that both graphs hold, is held. Our design, after the idea of anchors in arXiv 2508.02609.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from kge.arrays import BundleArrays
from kge.bundle import Bundle
from kge.config import TransRAConfig
from kge.errors import ShapeMismatch
from kge.facet import ALL
from kge.model import AnchoredEmbedding, Parts
from kge.projection import Matrices
from kge.triples import Graph

# Dimensions: w entities in both graphs, F of them held, R relations, d and k as in TransRA.

#: A gate below this is taken for it when own vectors are solved for: x would explode otherwise.
_LEAST_GATE = 0.1
#: Entities, and sides of relations, that are compared at a time.
_ROWS, _SIDES = 1 << 14, 8


@dataclass(frozen=True, kw_only=True)
class Previous:
    """What the bundle before knows of the entities and relations of a new graph."""

    #: its frame and its digest
    frame: str
    digest: str
    #: int64 [w] rows of the new graph that it held, ascending
    rows: NDArray[np.int64]
    #: float32 [w, d], [w]
    vectors: NDArray[np.float32]
    bias: NDArray[np.float32]
    #: positions in `rows` of those that hold the frame, and how many of these it had itself
    held: NDArray[np.int64]
    holders: int
    #: float32 [T, d], by type of the new graph
    priors: NDArray[np.float32]
    #: sides of the new graph whose maps it has, and these
    sides: NDArray[np.int64]
    translations: NDArray[np.float32]
    projections: NDArray[np.float32]
    tail_projections: NDArray[np.float32]


def previous_of(bundle: Bundle, graph: Graph, facet: str = ALL) -> Previous:
    """Match a bundle's entities and relations with those of a new graph, by type, id and name.

    `facet`: whose vectors and maps are taken; `graph` holds its relations. Raises `UnknownFacet`.
    """
    part, codes = bundle.facet(facet), list(bundle.types)
    found = np.full(graph.entity_count, -1, dtype=np.int64)
    priors = np.zeros((len(graph.types), part.vectors.shape[1]), dtype=np.float32)
    for code, kind in enumerate(graph.types):
        if kind.name in bundle.types:
            own = slice(kind.start, kind.stop)
            found[own] = bundle.rows(kind.name, graph.ids[own])
            priors[code] = part.arrays["priors"][codes.index(kind.name)]
    rows = np.flatnonzero(found >= 0)
    held = np.flatnonzero(np.isin(found[rows], bundle.frame_rows))
    names = {relation.name: n for n, relation in enumerate(part.relations)}
    count, old = len(graph.relations), len(part.relations)
    known = [(n, names[r.name]) for n, r in enumerate(graph.relations) if r.name in names]
    sides = np.array([n + d * count for d in (0, 1) for n, _ in known], dtype=np.int64)
    olds = np.array([n + d * old for d in (0, 1) for _, n in known], dtype=np.int64)
    return Previous(
        frame=bundle.frame,
        digest=bundle.digest,
        rows=rows,
        vectors=part.vectors[found[rows]],
        bias=part.bias[found[rows]],
        held=held,
        holders=len(bundle.frame_rows),
        priors=priors,
        sides=sides,
        translations=part.translations[olds],
        projections=part.projections[olds],
        tail_projections=part.tail_projections[olds],
    )


def of_member(previous: Previous, config: TransRAConfig, number: int) -> Previous:
    """The part that one of `config.members` begins with: its coordinates, its share of the bias.

    Raises `ShapeMismatch` where dimensions differ, or maps lead from one member to another.
    """
    shape, members = (config.relation_dim, config.dim), config.members
    if previous.projections.shape[1:] != shape:
        raise ShapeMismatch(
            f"relation_dim and dim should be those of the bundle before, "
            f"{previous.projections.shape[1:]}, received {shape}"
        )
    if members == 1:
        return previous
    rows, columns = (
        slice(number * size // members, (number + 1) * size // members) for size in shape
    )
    for maps in (previous.projections, previous.tail_projections):
        if np.count_nonzero(maps[:, rows]) > np.count_nonzero(maps[:, rows, columns]):
            raise ShapeMismatch(
                f"members should be those of the bundle before, whose maps cannot be parted into "
                f"{members}"
            )
    return replace(
        previous,
        vectors=previous.vectors[:, columns],
        bias=previous.bias / np.float32(members),
        priors=previous.priors[:, columns],
        translations=previous.translations[:, rows],
        projections=previous.projections[:, rows, columns],
        tail_projections=previous.tail_projections[:, rows, columns],
    )


def begin_with(previous: Previous, part: Parts, config: TransRAConfig, count: int) -> None:
    """Set a new model's parameters so that known entities and relations are where they were.

    `count`: relations of the graph. Raises `ShapeMismatch` where the dials give matrices another
    form than the bundle's can take.
    """
    if config.projection == "low_rank" or not config.reciprocal:
        raise ShapeMismatch(
            "a refresh that begins with the bundle before needs projection = full or block and "
            "reciprocal = true: matrices of other forms cannot take its maps over"
        )
    if config.tails != "own" and not np.array_equal(
        previous.tail_projections, _tails(previous, config)
    ):
        raise ShapeMismatch(
            f"tails should be those of the bundle before, whose tails go through other matrices, "
            f"received {config.tails!r}"
        )
    rows = torch.from_numpy(previous.rows)
    with torch.no_grad():
        _begin_vectors(previous, part.vectors, rows)
        if part.bias is not None:
            part.bias.values[rows] = torch.from_numpy(previous.bias)
        sides = torch.from_numpy(previous.sides)
        relation = 2 * (sides % count) + sides // count
        part.translations.values[relation] = torch.from_numpy(previous.translations)
        _begin_matrices(part.matrices, relation, previous.projections)
        if part.tail_matrices is not None:
            _begin_matrices(part.tail_matrices, relation, previous.tail_projections)


def _begin_matrices(matrices: Matrices, relation: Tensor, before: NDArray[np.float32]) -> None:
    """Raise `ShapeMismatch` where blocks are smaller than those of the bundle before."""
    wanted = torch.from_numpy(before)
    for row, matrix in zip(relation.tolist(), wanted, strict=True):
        [own] = matrices.slopes(row, matrix)  # each number of these forms is one of the matrix
        matrices.parts[0][matrices.row(row)] = own
    if not torch.equal(matrices(relation), wanted):
        raise ShapeMismatch(
            "projection, projection_blocks and inverse should be those of the bundle before, or "
            "leave its matrices more freedom: they are not zero outside of such blocks, or not "
            "each other's transposes"
        )


def _tails(previous: Previous, config: TransRAConfig) -> NDArray[np.float32]:
    """What tails go through where they have no learned matrices of their own."""
    if config.tails == "same":
        return previous.projections
    return np.broadcast_to(np.eye(config.dim, dtype=np.float32), previous.projections.shape)


def _begin_vectors(previous: Previous, vectors: AnchoredEmbedding, rows: Tensor) -> None:
    """Anchors become the mean of who leans on them; own parts take up the rest."""
    wanted = torch.from_numpy(previous.vectors)
    gate, nearest = vectors.gate[rows, None], vectors.nearest[rows]
    weight = (1.0 - gate) * vectors.weight[rows]
    total = torch.zeros(len(vectors.anchors))
    summed = torch.zeros_like(vectors.anchors)
    for column in range(nearest.shape[1]):
        total.index_add_(0, nearest[:, column], weight[:, column])
        summed.index_add_(0, nearest[:, column], wanted * weight[:, column, None])
    leaned = total > 0
    vectors.anchors[leaned] = summed[leaned] / total[leaned, None]
    # A type's first anchors are priors, which stand for entities of which nothing is known.
    vectors.anchors[: len(previous.priors)] = torch.from_numpy(previous.priors)
    rest = wanted - vectors.rows(rows, torch.zeros_like(wanted))
    vectors.own[rows] = rest / gate.clamp_min(_LEAST_GATE)


@dataclass(frozen=True)
class Hold:
    """The frame's pull on the entities that hold it."""

    #: int64 [F] rows of the graph, ascending
    rows: NDArray[np.int64]
    places: Float[Tensor, "F d"]
    weight: float

    def slope(self, now: Float[Tensor, "F d"]) -> Float[Tensor, "F d"]:
        """The gradient of L_A by the composed vectors."""
        return (2.0 * self.weight / len(self.rows)) * (now - self.places)


def hold(previous: Previous, config: TransRAConfig) -> Hold | None:
    """What pulls; None without a weight or without anybody to hold."""
    if not config.frame_weight or not len(previous.held):
        return None
    rows = previous.rows[previous.held]
    return Hold(rows, torch.from_numpy(previous.vectors[previous.held]), config.frame_weight)


def kept(previous: Previous, arrays: BundleArrays) -> float:
    """How much of the frame is kept: 1 where nothing moved.

    The least of what holds it together: the vectors of those who hold it, those of all others that
    both bundles know, and the maps of the relations that both have, each a mean of `agreement`. 0
    where fewer than half of the holders are left, or vectors are of another length.
    """
    vectors, held = arrays.vectors, previous.held
    few = not len(held) or 2 * len(held) < previous.holders
    if few or vectors.shape[1] != previous.vectors.shape[1]:
        return 0.0
    others = np.setdiff1d(np.arange(len(previous.rows)), held)

    def of_entities(places: NDArray[np.int64]) -> NDArray[np.float64]:
        return agreement(previous.vectors[places], vectors[previous.rows[places]])

    def of_maps(places: NDArray[np.int64]) -> NDArray[np.float64]:
        return agreement(_maps(previous, places), _maps(arrays, previous.sides[places]))

    told = [_mean(of_entities, places, _ROWS) for places in (held, others) if len(places)]
    if len(previous.sides):
        told.append(_mean(of_maps, np.arange(len(previous.sides)), _SIDES))
    return min(told)


def _mean(
    compared: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    places: NDArray[np.int64],
    step: int,
) -> float:
    """The mean over some places, in parts: a copy of all would be in no plan of memory."""
    parts = (places[first : first + step] for first in range(0, len(places), step))
    return sum(float(compared(part).sum()) for part in parts) / len(places)


def _maps(of: Previous | BundleArrays, sides: NDArray[np.int64]) -> Float[np.ndarray, "s k x"]:
    """Matrices of heads and of tails, and the translation, of some sides, each side by side."""
    tails = of.projections if of.tail_projections is None else of.tail_projections
    parts = (of.projections[sides], tails[sides], of.translations[sides, :, None])
    return np.concatenate(parts, axis=2)


def agreement(
    before: Float[np.ndarray, "n ..."], now: Float[np.ndarray, "n ..."]
) -> Float[np.ndarray, "n"]:
    """`2 a.b / (|a|^2 + |b|^2)`: 1 where equal, the cosine of two of one length, else less."""
    a, b = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (before, now))
    lengths = np.square(a).sum(axis=1) + np.square(b).sum(axis=1)
    return 2 * np.einsum("nd,nd->n", a, b) / np.maximum(lengths, 1e-12)
