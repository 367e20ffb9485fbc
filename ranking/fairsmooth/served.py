"""A ranker of which last layers are smoothed: what they read, and their scores without a draw.

Takes a model and a batch, gives features, logits and probabilities; never fits anything.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray

from ranking.calibration import Calibration, Platt
from ranking.config import RankerConfig
from ranking.errors import ConfigError
from ranking.fairsmooth.smoothing import smoothed_sigmoid
from ranking.features import FeatureBatch
from ranking.heads import Tower
from ranking.model import SCORE_BATCH, Parts, RankerModel, corrected_heads
from ranking.scored import Scored


class HeadReads(NamedTuple):
    """What the last layer of a head reads: logit = offset + features @ (w, b)."""

    #: relu(W x + b), and 1
    features: Float64[np.ndarray, "n p"]
    #: rates, place and hour, which are not smoothed
    offset: Float64[np.ndarray, "n"]


def head_reads(model: RankerModel, batch: FeatureBatch, number: int) -> HeadReads:
    """What the head of that number reads of each row; dropout is off."""
    features: list[NDArray[np.float64]] = [np.empty((0, tower_of(model, number).last.in_features))]
    offset: list[NDArray[np.float64]] = [np.empty(0)]
    for parts in _parts(model, batch):
        tower = tower_of(model, number)
        with torch.inference_mode():
            hidden = torch.relu(tower.hidden(parts.crossed[:, number]))
            deep = tower.last(hidden).squeeze(1)
        features.append(hidden.double().numpy())
        offset.append((parts.logits[:, number].double() - deep.double()).numpy())
    joined = np.concatenate(features)
    ones = np.ones((len(joined), 1))
    return HeadReads(np.concatenate([joined, ones], axis=1), np.concatenate(offset))


def smoothed_scored(
    model: RankerModel,
    batch: FeatureBatch,
    config: RankerConfig,
    calibrations: Mapping[str, Calibration],
    smoothing: Mapping[str, float],
) -> Scored:
    """Logits, and probabilities that are smoothed for each head that `smoothing` has a scale of.

    p = E sigmoid(slope (logit + v z) + offset),   v = s sqrt(norm(features)^2 + 1)
    """
    logits: list[NDArray[np.float64]] = []
    lengths: list[NDArray[np.float64]] = []
    for parts in _parts(model, batch):
        logits.append(parts.logits.double().numpy())
        lengths.append(_lengths(model, parts))
    heads = len(config.heads.names)
    whole = np.concatenate([np.empty((0, heads)), *logits])
    spread = np.concatenate([np.empty((0, heads)), *lengths])
    corrected = corrected_heads(whole, config)
    probabilities: dict[str, NDArray[np.float64]] = {}
    for number, name in enumerate(config.heads.names):
        own, calibration = corrected[:, number], calibrations[name]
        if name in smoothing:
            deviation = smoothing[name] * spread[:, number]
            probabilities[name] = through(calibration, own, deviation)
        else:
            probabilities[name] = calibration.probabilities(own)
    return Scored(corrected, probabilities)


def through(
    calibration: Calibration, logits: Float64[np.ndarray, "n"], spread: Float64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    """Smoothed probabilities of logits with deviations. Raises `ConfigError` but for Platt's."""
    if not isinstance(calibration, Platt):
        raise ConfigError(
            "calibration of a smoothed head should be platt, received isotonic: the mean of a "
            "step curve over noise has no closed form here"
        )
    mean = calibration.slope * logits + calibration.offset
    return smoothed_sigmoid(mean, calibration.slope * spread).value


def _lengths(model: RankerModel, parts: Parts) -> NDArray[np.float64]:
    """sqrt(norm(features)^2 + 1) of each row and head."""
    columns = []
    for number in range(len(model.towers)):
        with torch.inference_mode():
            hidden = torch.relu(tower_of(model, number).hidden(parts.crossed[:, number])).double()
        columns.append(np.sqrt(hidden.square().sum(dim=1).numpy() + 1.0))
    return np.stack(columns, axis=1)


def _parts(model: RankerModel, batch: FeatureBatch) -> Iterator[Parts]:
    model.eval()
    for start in range(0, len(batch.dense), SCORE_BATCH):
        some = FeatureBatch(*(column[start : start + SCORE_BATCH] for column in batch))
        with torch.inference_mode():
            found = model.parts(some)
        yield found  # outside: who reads it would be in that mode, too


def tower_of(model: RankerModel, number: int) -> Tower:
    """The tower of the head of that number."""
    tower = model.towers[number]
    if not isinstance(tower, Tower):  # what an nn.ModuleList holds has no type
        raise TypeError(f"tower {number} should be a Tower, received {type(tower).__name__}")
    return tower
