"""Who belongs to which group, what rows count, and whether a group has enough to be learned from.

Takes a column of names, gives the rows of each; never guesses where a name is missing.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from ranking.errors import GroupTooSmall
from ranking.fairsmooth.config import FairSmoothConfig


def rows_by_group(
    names: Sequence[str], labels: NDArray[np.int64], config: FairSmoothConfig
) -> dict[str, Int64[np.ndarray, "_"]]:
    """The rows of each group, groups in the order of their names.

    Raises `GroupTooSmall` where there is one group only, or one has too few rows, or too few of a
    label, for a classifier of its own.
    """
    rows = members(names)
    if len(rows) < 2:
        known = ", ".join(rows) or "none"
        raise GroupTooSmall(f"groups should be at least 2, received {len(rows)}: {known}")
    for name, own in rows.items():
        check_group(name, labels[own], config)
    return rows


def check_group(name: str, labels: NDArray[np.int64], config: FairSmoothConfig) -> None:
    """Raise `GroupTooSmall` unless a group of these labels can have a classifier of its own."""
    positive = int((labels == 1).sum())
    told = (len(labels), positive, len(labels) - positive)
    needs = (config.least_rows, config.least_outcomes, config.least_outcomes)
    if any(has < need for has, need in zip(told, needs, strict=True)):
        raise GroupTooSmall(
            f"group {name!r} should have at least {needs[0]} rows, {needs[1]} of each label, "
            f"received {told[0]} rows, {told[1]} with label 1 and {told[2]} with label 0"
        )


def balancing(
    places: Mapping[str, Int64[np.ndarray, "_"]], labels: NDArray[np.int64], balance: float
) -> Float64[np.ndarray, "n"]:
    """What each row counts: groups as much as before, labels in each as in all, as far as asked.

    w_i = (P(y) / P(y | k))^balance, scaled to a mean of 1 in each group k. With 1 these are the
    weights of reweighing (Kamiran and Calders, 2012).
    """
    weight = np.ones(len(labels))
    share = np.array([np.mean(labels == label) for label in (0, 1)])
    for own in places.values():
        here = np.array([np.mean(labels[own] == label) for label in (0, 1)])
        counts = ((share / here) ** balance)[labels[own]]
        weight[own] = counts / counts.mean()
    return weight


def members(names: Sequence[str]) -> dict[str, Int64[np.ndarray, "_"]]:
    """The rows of each group that has any."""
    column = np.asarray(names, dtype=object)
    return {name: np.flatnonzero(column == name).astype(np.int64) for name in sorted(set(column))}
