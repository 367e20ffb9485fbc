"""FairSmooth as a scikit-learn classifier: linear, binary, one for all groups.

Takes arrays as scikit-learn has them, gives scores, decisions and a certificate; never reads a
file. Beside any other classifier in fairlearn's `MetricFrame`: it is told `decide(X)`, or
`predict(X)`, which the certificate does not cover.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ranking.errors import GroupTooSmall
from ranking.fairsmooth.config import FairSmoothConfig
from ranking.fairsmooth.document import HeldOut, Terms, certificate
from ranking.fairsmooth.groups import balancing, members, rows_by_group
from ranking.fairsmooth.linear import LinearObjective, linear_rows, smoothed_scores
from ranking.fairsmooth.train import finish, train_groups

#: The one group of rows of which none is named.
ALL = "all"


class FairSmoothClassifier(ClassifierMixin, BaseEstimator):
    """A smoothed logistic regression near which every group's own one lies.

    g(x) = E f((w + e).x + b + e_0),   e normal with deviation `scale`,   f the `link`

    `scale`, `proximity`, `ridge`, `rounds`, `radius`, `least_rows`, `link` and `balance` are the
    dials of `FairSmoothConfig`. With the link `step`, `predict_proba` is the chance of a decision,
    and no probability of the class. The noise is the same on every weight, so features should be on
    one scale (`StandardScaler`). Rows without `sensitive_features` are one group: then it is a
    smoothed classifier, and nothing is certified about groups.
    """

    def __init__(  # noqa: PLR0913  (scikit-learn has a parameter for each dial)
        self,
        *,
        scale: Any = 0.3,
        proximity: Any = 1e-2,
        ridge: Any = 1e-4,
        rounds: Any = 5,
        radius: Any = math.inf,
        least_rows: Any = 50,
        link: Any = "sigmoid",
        balance: Any = 0.0,
    ) -> None:
        # Anything is taken: scikit-learn has a dial judged when it is used, which is in `fit`.
        self.scale = scale
        self.proximity = proximity
        self.ridge = ridge
        self.rounds = rounds
        self.radius = radius
        self.least_rows = least_rows
        self.link = link
        self.balance = balance

    def fit(self, X: Any, y: Any, *, sensitive_features: Any = None) -> "FairSmoothClassifier":
        """Fit the anchor, each group, and the mean that serves all.

        `sensitive_features`: the group of each row, one column. Raises `GroupTooSmall`,
        `ConfigError`, and `ValueError` as scikit-learn's classifiers do.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_, labels = _binary(y)
        config = self._config()
        places: Mapping[str, NDArray[np.int64]] = {ALL: np.arange(len(labels), dtype=np.int64)}
        if sensitive_features is not None:
            places = rows_by_group(_names(sensitive_features, len(labels)), labels, config)
        rows = linear_rows(X, labels, weight=balancing(places, labels, config.balance))
        groups = {
            name: LinearObjective(rows.take(own), config.scale) for name, own in places.items()
        }
        whole = LinearObjective(rows, config.scale)
        self.rounds_, self.fitted_ = finish(train_groups(whole, groups, config))
        self.group_rows_ = {name: len(own) for name, own in places.items()}
        self.coef_ = self.fitted_.mean[None, :-1]
        self.intercept_ = self.fitted_.mean[-1:]
        self.n_iter_ = len(self.rounds_)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The chance of each class that `decide` goes by: [n, 2]."""
        return _both(self._scores(X, None))

    def predict(self, X: Any) -> NDArray[Any]:
        """The class that is the likelier one. The certificate does not cover this: see `decide`."""
        score = self._scores(X, None)
        return self.classes_[(score > 0.5).astype(np.int64)]

    def decide(self, X: Any, *, seed: int = 0) -> NDArray[Any]:
        """A class drawn by its chance, row by row: the decision that the certificate is about."""
        score = self._scores(X, None)
        drawn = np.random.default_rng(seed).random(len(score)) < score
        return self.classes_[drawn.astype(np.int64)]

    def own_proba(self, X: Any, group: str) -> NDArray[np.float64]:
        """As `predict_proba`, by the classifier that was fitted to a group."""
        return _both(self._scores(X, group))

    def certify(
        self, X: Any, y: Any, *, sensitive_features: Any, confidence: float = 0.95, seed: int = 0
    ) -> dict[str, Any]:
        """The certificate, with rates measured on rows that `fit` did not see.

        The rows should be independent of each other: one per person. Raises `GroupTooSmall` where
        a group was not there to be fitted, or has no row here.
        """
        served = self._scores(X, None)
        y = np.asarray(y).ravel()
        check_consistent_length(served, y)
        labels = (y == self.classes_[1]).astype(np.int64)
        places = members(_names(sensitive_features, len(labels)))
        if set(places) != set(self.group_rows_):
            raise GroupTooSmall(
                f"groups should be {', '.join(self.group_rows_)}, as they were fitted, each with "
                f"at least 1 row, received {', '.join(places) or 'none'}"
            )
        groups = {
            name: HeldOut(
                distance=self.fitted_.distances[name],
                learned_from=self.group_rows_[name],
                own=self._scores(X, name)[own],
                served=served[own],
                labels=labels[own],
            )
            for name, own in places.items()
        }
        terms = Terms(
            scale=self.scale,
            smoothed="all weights of a linear classifier",
            weights=len(self.fitted_.mean),
            draws=0,
            seed=seed,
            confidence=confidence,
        )
        return certificate(groups, terms)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _config(self) -> FairSmoothConfig:
        return FairSmoothConfig(
            scale=self.scale,
            proximity=self.proximity,
            ridge=self.ridge,
            rounds=self.rounds,
            radius=self.radius,
            least_rows=self.least_rows,
            link=self.link,
            balance=self.balance,
        )

    def _scores(self, X: Any, group: str | None) -> NDArray[np.float64]:
        """The chance of the second class, by the mean or by a group's own weights."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        rows = linear_rows(X, np.zeros(len(X), dtype=np.int64))
        theta = self.fitted_.mean if group is None else self._own(group)
        return smoothed_scores(theta, rows, self.scale, link=self.link)

    def _own(self, group: str) -> NDArray[np.float64]:
        if group not in self.fitted_.own:
            known = ", ".join(self.fitted_.own)
            raise GroupTooSmall(f"group should be one of {known}, received {group!r}")
        return self.fitted_.own[group]


def _binary(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The two classes, and which of them each row has."""
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y", raise_unknown=True)
    if kind != "binary":
        raise ValueError(
            f"Only binary classification is supported. The type of the target is {kind}."
        )
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y should have two classes, received one class: {classes[0]!r}")
    return classes, labels.astype(np.int64)


def _names(column: Any, count: int) -> list[str]:
    """Groups as text, however they came: a list, an array, a column of a table."""
    values: Iterable[Any] = np.asarray(column, dtype=object).ravel().tolist()
    names = [str(value) for value in values]
    if len(names) != count:
        raise ValueError(
            f"sensitive_features should be one column of {count} rows, received {len(names)} values"
        )
    return names


def _both(score: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([1.0 - score, score], axis=1)
