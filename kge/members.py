"""Members: models that learn one after the other, and whose scores add up.

Takes dials and models, gives the dials of one member and the arrays of all; never trains.

A score is `-||M h + r - T t||^2 + b_t`. Where every member has coordinates of its own, that is the
sum of the members' scores: lengths add up over coordinates, and the matrices of all are
block-diagonal. So bundles, index, fold-in and evaluation see one model with longer vectors.
Implements the idea of Xu et al. 2021, arXiv 2104.05003.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pykeen.models import ERModel
from torch import Tensor

from kge.config import TransRAConfig
from kge.model import Parts, parts

# Dimensions: N entities, T types, R relations, d and k as in TransRA, of one member or of all.

_MEMBER = 4  # what else a seed is for: see `kge/blocks.py` and `kge/train.py`


def alone(config: TransRAConfig, number: int = 0) -> TransRAConfig:
    """The dials of one member; all but the first have a seed that follows from theirs."""
    count = config.members
    if count == 1:
        return config
    blocks = config.projection_blocks // (count if config.projection == "block" else 1)
    return replace(
        config,
        members=1,
        dim=config.dim // count,
        relation_dim=config.relation_dim // count,
        projection_blocks=blocks,
        seed=_seed(config.seed, number) if number else config.seed,
    )


def together(config: TransRAConfig, count: int) -> TransRAConfig:
    """The dials of the first `count` members."""
    if count == config.members:
        return config
    one = alone(config)
    blocks = one.projection_blocks * (count if config.projection == "block" else 1)
    return replace(
        one,
        members=count,
        dim=count * one.dim,
        relation_dim=count * one.relation_dim,
        projection_blocks=blocks,
    )


class Learned(NamedTuple):
    """What a model knows, as a bundle keeps it: relations first forward, then reciprocal."""

    vectors: Float[np.ndarray, "N d"]
    bias: Float[np.ndarray, "N"]
    translations: Float[np.ndarray, "2R k"]
    projections: Float[np.ndarray, "2R k d"]
    #: None: the same as a head goes through
    tail_projections: Float[np.ndarray, "2R k d"] | None
    priors: Float[np.ndarray, "T d"]


def learned(model: ERModel, config: TransRAConfig, types: int) -> Learned:
    """What one member learned. `config`: its dials; `types`: how many the graph has."""
    part = parts(model)
    vectors = part.vectors.every()
    with torch.no_grad():
        shift, heads, tails = _maps(part, config)
    return Learned(
        vectors=vectors,
        bias=np.zeros(len(vectors), np.float32)
        if part.bias is None
        else _numpy(part.bias.values).copy(),
        translations=shift,
        projections=heads,
        tail_projections=tails,
        priors=_numpy(part.vectors.anchors)[:types].copy(),
    )


def joined(members: Sequence[Learned]) -> Learned:
    """All members as one model: coordinates side by side, biases added up."""
    if len(members) == 1:
        return members[0]
    tails = [one.tail_projections for one in members if one.tail_projections is not None]
    return Learned(
        vectors=np.concatenate([one.vectors for one in members], axis=1),
        bias=np.sum([one.bias for one in members], axis=0),
        translations=np.concatenate([one.translations for one in members], axis=1),
        projections=_diagonal([one.projections for one in members]),
        tail_projections=_diagonal(tails) if tails else None,
        priors=np.concatenate([one.priors for one in members], axis=1),
    )


def _seed(seed: int, number: int) -> int:
    drawn = np.random.SeedSequence([seed, _MEMBER, number]).generate_state(1)
    return int(drawn[0] >> 1)


def _diagonal(matrices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """[n, k, d] of every member -> [n, sum k, sum d], 0 between members."""
    height, width = (sum(matrix.shape[axis] for matrix in matrices) for axis in (1, 2))
    made = np.zeros((len(matrices[0]), height, width), np.float32)
    row = column = 0
    for matrix in matrices:
        made[:, row : row + matrix.shape[1], column : column + matrix.shape[2]] = matrix
        row, column = row + matrix.shape[1], column + matrix.shape[2]
    return made


def _maps(
    part: Parts, config: TransRAConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
    """r, M_r and, where it is another, T_r of both directions in the bundle's order."""
    shift, heads = _numpy(part.translations.values), _numpy(part.matrices(None))
    if part.tail_matrices is not None:
        tails = _numpy(part.tail_matrices(None))
    elif config.tails == "same":
        tails = heads
    else:
        tails = np.broadcast_to(np.eye(config.dim), heads.shape)
    tails = np.asarray(tails, dtype=np.float32)
    if config.reciprocal:
        # PyKEEN's 2r, 2r + 1 -> r, r + R
        shift, heads, tails = (_by_direction(values) for values in (shift, heads, tails))
    else:
        # From the tail, the same distance is `||T t - r - M h||`.
        shift = np.concatenate([shift, -shift])
        heads, tails = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    own = None if config.tails == "same" else np.ascontiguousarray(tails, dtype=np.float32)
    return shift.copy(), heads.copy(), own


def _numpy(parameter: Tensor) -> np.ndarray:
    return parameter.detach().numpy()


def _by_direction(interleaved: np.ndarray) -> np.ndarray:
    return np.concatenate([interleaved[0::2], interleaved[1::2]])
