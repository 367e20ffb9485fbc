"""By how much AUC differs under every draw of users, kept beside a cell for the mean over seeds.

Takes what two bundles scored on the same rows, gives differences and rows; never scores anything.
Draws depend on the number of users alone, so the same draw of several seeds is the same people, and
a mean over seeds has a bootstrap of its own.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.report import Row
from ranking.intervals import Judged, interval, resample, user_weights

#: A metric's name has this behind it where its interval is over users.
OVER_USERS = "_over_users"


class Scored(NamedTuple):
    """Rows, and how likely a click was said to be."""

    judged: Judged
    scores: NDArray[np.floating[Any]]


def gap(before: Scored, now: Scored, resamples: int) -> NDArray[np.float64]:
    """AUC of the second minus AUC of the first: of all users, then of every draw of them."""
    users = len(np.unique(now.judged.cluster))
    weights = user_weights(users, resamples, np.random.default_rng(0))
    one, other = (resample(*scored, weights)["auc"] for scored in (before, now))
    return other - one


def ends(draws: Mapping[str, NDArray[np.float64]]) -> dict[str, list[float]]:
    """[difference, low, high] by name."""
    return {name: list(interval(drawn)) for name, drawn in draws.items()}


def keep(file: Path, draws: Mapping[str, NDArray[np.float64]]) -> None:
    """Write the draws of a cell, by `metric/split/arm`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {name: drawn.astype(np.float32) for name, drawn in draws.items()}
    np.savez_compressed(file, **named)


def over_users(found: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Row]:
    """Of every chain of refreshes the mean over its seeds, its interval by draws of users.

    Raises `SystemExit` where a chain's draws do not lie beside its cell.
    """
    told: dict[tuple[str, str, str], list[NDArray[np.float32]]] = {}
    for cell, result in found.items():
        if "way" not in result:
            continue
        file = folder / f"{cell}.npz"
        if not file.exists():
            raise SystemExit(
                f"error: {file.name} should lie beside its cell; delete {cell}.json to measure both"
            )
        with np.load(file, allow_pickle=False) as kept:
            for name in kept.files:
                metric, split, arm = name.split("/")
                model = f"{result['way']} / {arm}"
                told.setdefault((metric, split, model), []).append(kept[name])
    for (metric, split, model), runs in told.items():
        value, low, high = interval(np.mean(runs, axis=0, dtype=np.float64))
        yield Row(
            metric=metric + OVER_USERS,
            value=value,
            lo=low,
            hi=high,
            unit="share",
            split=split,
            model=model,
            seed="all",
        )
