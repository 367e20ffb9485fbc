"""How sure a number is: paired bootstrap clustered by user, and t intervals over seeds.

Takes per-row figures of several models on the same rows, gives 95 % intervals; never fits
anything. All models and metrics share the same resamples, so differences are paired.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int8, Int32, Int64
from numpy.typing import NDArray
from scipy.special import stdtr

from ranking.errors import ConfigError
from ranking.metrics import TENTHS, group_aucs, row_losses, tenth_of, weighted_auc

#: Resamples of one block, and numbers in it: bounds memory, changes no figure.
_BLOCK, _CELLS = 50, 1 << 24
#: A difference below this is none: it is what the order of a sum makes.
_ROUNDING = 1e-9

#: Two-sided 97.5 % points of Student's t for 1, 2, ... degrees of freedom.
_T_POINTS = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    value: float
    lo: float
    hi: float


class Judged(NamedTuple):
    """Rows to be judged on: labels, which user each row belongs to, how many rows it stands for."""

    labels: Int8[np.ndarray, "n"]
    cluster: Int32[np.ndarray, "n"]
    weight: Float32[np.ndarray, "n"] | None = None


#: What is told of a model: AUC, log loss (nats), ECE, and AUC within users.
METRICS = ("auc", "logloss", "ece", "gauc")
#: metric -> one figure per resample; entry 0 is the data as it is.
Resampled = Mapping[str, Float64[np.ndarray, "b"]]


def user_weights(
    users: int, resamples: int, generator: np.random.Generator
) -> Float64[np.ndarray, "b users"]:
    """How often each user is drawn in each resample of as many users; row 0 draws each once."""
    drawn = generator.multinomial(users, np.full(users, 1 / users), size=resamples)
    return np.concatenate([np.ones((1, users)), drawn]).astype(np.float64)


def weight_blocks(
    users: int, resamples: int, generator: np.random.Generator
) -> Iterator[Float64[np.ndarray, "b users"]]:
    """`user_weights` a block of draws at a time: the same numbers, in bounded memory."""
    step = max(1, _CELLS // users)
    yield np.ones((1, users))
    for start in range(0, resamples, step):
        yield user_weights(users, min(step, resamples - start), generator)[1:]


def resample(
    judged: Judged,
    probabilities: Float64[np.ndarray, "n"],
    weights: Float64[np.ndarray, "b u"],
    metrics: Sequence[str] = METRICS,
) -> Resampled:
    """Some metrics of one model under every draw of users.

    `weights` has one column per distinct user, in rising order. Resampling users, not rows, keeps
    a user's rows together, as they would come. gauc takes rows as they are: within a user, what was
    sampled stands for what was not. Tenths of ece are those of the data as it is, in every draw.
    """
    _, user = np.unique(judged.cluster, return_inverse=True)
    stands_for = np.ones(len(user)) if judged.weight is None else judged.weight.astype(np.float64)
    draws = _Draws(user.reshape(-1), stands_for, weights)
    return {name: _RESAMPLED[name](judged, probabilities, draws) for name in metrics}


def resample_each(
    judged: Judged,
    models: Mapping[str, Float64[np.ndarray, "n"]],
    *,
    resamples: int,
    seed: int,
    metrics: Sequence[str] = METRICS,
) -> dict[str, Resampled]:
    """`resample` of several models under the same draws, so that their differences are paired."""
    users = len(np.unique(judged.cluster))
    blocks = [
        {name: resample(judged, values, weights, metrics) for name, values in models.items()}
        for weights in weight_blocks(users, resamples, np.random.default_rng(seed))
    ]
    return {name: _joined([block[name] for block in blocks]) for name in models}


def _joined(
    blocks: Sequence[Mapping[str, NDArray[np.float64]]],  # each as long as its draws
) -> dict[str, NDArray[np.float64]]:
    return {metric: np.concatenate([block[metric] for block in blocks]) for metric in blocks[0]}


class _Draws(NamedTuple):
    """Of each row its user and what it stands for, and how often each user is drawn."""

    user: Int64[np.ndarray, "n"]
    stands_for: Float64[np.ndarray, "n"]
    weights: Float64[np.ndarray, "b u"]

    def mean_of(self, values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "b"]:
        """The mean over rows of each draw."""
        users = self.weights.shape[1]
        rows_u = np.bincount(self.user, self.stands_for, minlength=users)
        sum_u = np.bincount(self.user, self.stands_for * values, minlength=users)
        mean: Float64[np.ndarray, "b"] = (self.weights @ sum_u) / (self.weights @ rows_u)
        return mean


def _auc(
    judged: Judged, probabilities: Float64[np.ndarray, "n"], draws: _Draws
) -> Float64[np.ndarray, "b"]:
    weights = draws.weights
    # Sorted once here, so that every block's gather and cumulative sums run over sorted rows.
    order = np.argsort(probabilities, kind="stable")
    scores, labels, user = probabilities[order], judged.labels[order], draws.user[order]
    stands_for = draws.stands_for[order]
    step = max(1, min(_BLOCK, _CELLS // max(1, len(scores))))
    blocks = [
        weighted_auc(scores, labels, weights[start : start + step, user] * stands_for)
        for start in range(0, len(weights), step)
    ]
    return np.concatenate(blocks)


def _log_loss(
    judged: Judged, probabilities: Float64[np.ndarray, "n"], draws: _Draws
) -> Float64[np.ndarray, "b"]:
    return draws.mean_of(row_losses(probabilities, judged.labels))


def _ece(
    judged: Judged, probabilities: Float64[np.ndarray, "n"], draws: _Draws
) -> Float64[np.ndarray, "b"]:
    user, stands_for, weights = draws
    users = weights.shape[1]
    part = user * TENTHS + tenth_of(probabilities, stands_for)
    gaps = stands_for * (probabilities - (judged.labels == 1))
    gap_ut = np.bincount(part, gaps, minlength=users * TENTHS).reshape(users, TENTHS)
    rows_b = weights @ np.bincount(user, stands_for, minlength=users)
    found: Float64[np.ndarray, "b"] = np.abs(weights @ gap_ut).sum(axis=1) / rows_b
    return found


def _gauc(
    judged: Judged, probabilities: Float64[np.ndarray, "n"], draws: _Draws
) -> Float64[np.ndarray, "b"]:
    both, auc_g, rows_g = group_aucs(probabilities, judged.labels, judged.cluster)
    weight_g = draws.weights[:, both] * rows_g
    with np.errstate(invalid="ignore"):  # a draw without any user who has both labels
        found: Float64[np.ndarray, "b"] = weight_g @ auc_g / weight_g.sum(axis=1)
    return found


_RESAMPLED = {"auc": _auc, "logloss": _log_loss, "ece": _ece, "gauc": _gauc}


def interval(figures: Float64[np.ndarray, "b"]) -> Interval:
    """The figure of the data, and the 2.5 % and 97.5 % points of the resamples."""
    draws = figures[1:][np.isfinite(figures[1:])]
    if not len(draws):
        return Interval(float(figures[0]), math.nan, math.nan)
    lo, hi = np.quantile(draws, [0.025, 0.975])
    return Interval(float(figures[0]), float(lo), float(hi))


def chance_without_loss(
    gains: Float64[np.ndarray, "b"], users: int, tolerated: float = 0.0
) -> float:
    """How likely gains as low as these are if no more than `tolerated` were lost: a p value.

    p = T_{u - 1}((gain + tolerated) / s),   s = deviation of resampled gains * sqrt(u / (u - 1))

    u users; T is the distribution of Student's t; our design. A share of the resamples would stop
    at one in their number, and a correction for many slices needs less than that.
    """
    draws = gains[1:][np.isfinite(gains[1:])]
    excess = float(gains[0]) + max(tolerated, _ROUNDING)
    spread = float(draws.std(ddof=1)) if len(draws) > 1 else math.nan
    if not spread > _ROUNDING:  # every user says the same
        return 0.0 if excess < 0 else 1.0
    return float(stdtr(users - 1, excess / spread / math.sqrt(users / (users - 1))))


def holm(chances: Float64[np.ndarray, "m"]) -> Float64[np.ndarray, "m"]:
    """Adjusted p values of m tests, so that the chance of any false alarm is bounded.

    adjusted_(k) = max_{j <= k} min(1, (m - j + 1) p_(j)),   p_(1) <= ... <= p_(m)   (Holm 1979)

    However the tests depend on one another.
    """
    order = np.argsort(chances, kind="stable")
    steps = (len(chances) - np.arange(len(chances))) * chances[order]
    adjusted = np.empty_like(chances)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def t_interval(values: Sequence[float]) -> Interval:
    """The mean over seeds, plus and minus t_{n-1} standard errors (n = 3: 4.30, n = 5: 2.78).

    Raises `ConfigError` for fewer than 2 or more than 21 values.
    """
    count = len(values)
    if not 2 <= count <= len(_T_POINTS) + 1:
        raise ConfigError(f"values should be 2 to {len(_T_POINTS) + 1} numbers, received {count}")
    mean = float(np.mean(values))
    reach = _T_POINTS[count - 2] * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - reach, mean + reach)
