"""FairSmooth on a trained ranker: the last layer of its first head, by group of the people.

Takes a ranker, its examples and an attribute of heads, yields a `Round` after each, gives the
ranker with smoothed scores and its certificate; never changes the one it was given. The layer is
fitted on VALID, whose rows the layers below have not learned by heart; calibrated on CALIBRATE;
certified on TEST, on one row of each person.
"""

import copy
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from graphsvc.snapshot import Span
from ranking.calibration import Platt
from ranking.config import RankerConfig
from ranking.errors import ConfigError
from ranking.examples import Examples, LabelledRows, of_head
from ranking.fairsmooth.config import FairSmoothConfig
from ranking.fairsmooth.document import HeldOut, Terms, certificate
from ranking.fairsmooth.groups import members, rows_by_group
from ranking.fairsmooth.linear import LinearObjective, LinearRows, smoothed_scores
from ranking.fairsmooth.served import head_reads, tower_of
from ranking.fairsmooth.train import Fitted, Round, train_groups
from ranking.model import RankerModel
from ranking.sampling import corrected
from ranking.spec import text_of
from ranking.trained import TrainedRanker

#: The spans that something is read of here.
_USED = (Span.VALID, Span.CALIBRATE, Span.TEST)
#: The group of people without a value.
UNSET = "(unset)"
#: Between which numbers the offset of the calibration is looked for, and how often halved.
_WIDEST, _HALVINGS = 40.0, 60
_NOTE = (
    "Rates are those of a yes that is drawn with the chance of the outcome that the ranker says, "
    "so the rate of yes is the mean of its scores; times_base_rate says how many times a group's "
    "base rate that may be. Rows are one per person, drawn among those of the test span."
)


class FairRanker(NamedTuple):
    """A ranker whose first head is smoothed, and what is certified about it."""

    trained: TrainedRanker
    certificate: Mapping[str, Any]


def fair_ranker(
    trained: TrainedRanker, examples: Examples, by: str, config: FairSmoothConfig
) -> Generator[Round, None, FairRanker]:
    """Fit the last layer of the first head for each group of heads, and take the mean.

    `by` is a category of the heads. The scores are smoothed over noise on that layer, exactly. The
    calibration is one offset, by which the mean smoothed score is the base rate; it is the same
    for all groups' classifiers, so that certificates hold behind it. Our design. Raises
    `ConfigError` and `GroupTooSmall`.
    """
    if config.link != "sigmoid":
        raise ConfigError(f"link of a ranker should be sigmoid, received {config.link!r}")
    if config.balance:
        raise ConfigError(f"balance of a ranker should be 0, received {config.balance!r}")
    head = trained.config.heads.names[0]
    spans = of_head(examples, head).rows
    names = {span: _groups(rows, examples, by) for span, rows in spans.items()}
    reads = {span: _reads(trained, rows, head) for span, rows in spans.items() if span in _USED}
    valid = reads[Span.VALID]
    places = rows_by_group(names[Span.VALID], valid.labels, config)
    groups = {name: LinearObjective(valid.take(own), config.scale) for name, own in places.items()}
    whole = LinearObjective(valid, config.scale)
    fitted = yield from train_groups(whole, groups, config, start=_weights(trained.model))
    model = copy.deepcopy(trained.model)
    mean = _put(model, fitted.mean)
    # The layer holds single precision: what is certified is what it holds.
    fitted = Fitted(fitted.anchor, mean, fitted.own)
    offset = base_offset(reads[Span.CALIBRATE], mean, config.scale)
    fair = trained._replace(
        model=model,
        calibrations={**trained.calibrations, head: Platt(1.0, offset)},
        smoothing={**trained.smoothing, head: config.scale},
    )
    one_each = _one_per_person(spans[Span.TEST].cluster, config.seed)
    test = reads[Span.TEST].take(one_each)
    shifted = test._replace(offset=test.offset + offset)
    among = [names[Span.TEST][row] for row in one_each]
    learned = {name: len(own) for name, own in places.items()}
    return FairRanker(fair, _certified(fitted, shifted, (among, learned), config))


def check_groups(
    examples: Examples, head: str, by: str, config: FairSmoothConfig
) -> dict[str, int]:
    """Rows of each group that its layer would be fitted to, before any ranker is there.

    Raises `ConfigError` and `GroupTooSmall`, as `fair_ranker` would.
    """
    rows = of_head(examples, head).rows[Span.VALID]
    names = _groups(rows, examples, by)
    found = rows_by_group(names, rows.labels.astype(np.int64), config)
    return {name: len(own) for name, own in found.items()}


def base_offset(rows: LinearRows, theta: Float64[np.ndarray, "p"], scale: float) -> float:
    """The number c by which the mean smoothed score of logit + c is the base rate, by halving."""
    wanted = float(rows.weight @ rows.labels)
    lo, hi = -_WIDEST, _WIDEST
    for _ in range(_HALVINGS):
        middle = (lo + hi) / 2.0
        moved = rows._replace(offset=rows.offset + middle)
        if float(rows.weight @ smoothed_scores(theta, moved, scale)) < wanted:
            lo = middle
        else:
            hi = middle
    return (lo + hi) / 2.0


def _certified(
    fitted: Fitted,
    test: LinearRows,
    told: tuple[list[str], Mapping[str, int]],
    config: FairSmoothConfig,
) -> dict[str, Any]:
    among, learned = told
    served, found = smoothed_scores(fitted.mean, test, config.scale), members(among)
    groups = {}
    for name, theta in fitted.own.items():
        rows = found.get(name, np.empty(0, dtype=np.int64))
        groups[name] = HeldOut(
            distance=fitted.distances[name],
            learned_from=learned[name],
            own=smoothed_scores(theta, test.take(rows), config.scale),
            served=served[rows],
            labels=test.labels[rows],
        )
    terms = Terms(
        scale=config.scale,
        smoothed="the last layer of the first head",
        weights=len(fitted.mean),
        draws=0,
        seed=config.seed,
        confidence=config.confidence,
        note=_NOTE,
    )
    return certificate(groups, terms)


def _reads(trained: TrainedRanker, rows: LabelledRows, head: str) -> LinearRows:
    """What the last layer of the first head reads; its logits as if no negative were left out."""
    batch = trained.encoder.encode(rows.heads, rows.tails, rows.exposures)
    features, offset = head_reads(trained.model, batch, 0)
    return LinearRows(
        features=features,
        labels=rows.labels.astype(np.int64),
        offset=_as_served(offset, trained.config, head),
        weight=rows.weight.astype(np.float64),
    )


def _as_served(
    offset: Float64[np.ndarray, "n"], config: RankerConfig, head: str
) -> Float64[np.ndarray, "n"]:
    return corrected(offset, config.training.negatives_kept) if head == "ctr" else offset


def _groups(rows: LabelledRows, examples: Examples, by: str) -> list[str]:
    """The group of each row's head, as it was known at the row's time."""
    known = [name for name, kind in examples.head_kinds.items() if kind == "category"]
    if by not in known:
        raise ConfigError(
            f"groups should be by one of the categories of {examples.head_type} "
            f"({', '.join(known) or 'none'}), received {by!r}"
        )
    values = rows.heads.attributes.get(by, [None] * len(rows.labels))
    return [UNSET if value is None else text_of(value) for value in values]


def _one_per_person(cluster: NDArray[np.int32], seed: int) -> Int64[np.ndarray, "_"]:
    """One row of each person, drawn by chance, in order."""
    order = np.random.default_rng(seed).permutation(len(cluster))
    _, first = np.unique(cluster[order], return_index=True)
    return np.sort(order[first]).astype(np.int64)


def _weights(model: RankerModel) -> NDArray[np.float64]:
    """Weights and bias of the last layer, in one row."""
    last = tower_of(model, 0).last
    weights = torch.cat([last.weight.detach().flatten(), last.bias.detach()])
    return weights.double().numpy()


def _put(model: RankerModel, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the last layer other weights; what it holds of them."""
    last = tower_of(model, 0).last
    with torch.no_grad():
        last.weight.copy_(torch.tensor(theta[:-1]).view_as(last.weight))
        last.bias.copy_(torch.tensor(theta[-1:]))
    return _weights(model)
