"""A ranker of MovieLens-100k whose clients are users, as a problem that federated methods race on.

Takes the service's own examples, gives clients and AUCs; the embedding is not read, so nothing was
learned from the users' rows in one place but what is said on the page.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from fed_problems import Problem
from ladder_worlds import MovieLens, open_world
from lifts import finished
from numpy.typing import NDArray
from torch import Tensor

from graphsvc.snapshot import Span
from ranking.bundle import TrainedRanker
from ranking.chance import seeded
from ranking.config import RankerConfig
from ranking.examples import Examples, LabelledRows
from ranking.features import Encoder, FeatureBatch
from ranking.fedda.inprocess import StepDials
from ranking.fedda.ranker_clients import RankerClients, Taught
from ranking.metrics import auc, log_loss
from ranking.model import RankerModel, head_scores

#: Rows of a local step; rate of a client's own rows.
BATCH, OWN_RATE = 32, 0.05
#: The embedding's epochs: it is asked for by examples, and read by no ranker here.
_EPOCHS = 1.0


class _Part(NamedTuple):
    """Rows of a span, ready for the model."""

    batch: FeatureBatch
    labels: NDArray[np.int8]
    #: Number of the client of each row; -1 of one without rows in TRAIN.
    client: NDArray[np.int64]


class _Ready(NamedTuple):
    """What all runs of a seed share."""

    trained: TrainedRanker
    parts: Mapping[Span, _Part]
    examples: Examples


def problem_of(data: Path | None, work: Path, threads: int) -> Callable[[int], Problem]:
    """Problems by seed; the examples are made once, in the work folder."""

    @cache
    def examples() -> Examples:
        world = open_world(
            MovieLens(data, work / "cache"),
            "ctr",
            work,
            split="per_user_time",
            threads=threads,
            dials={"epochs": _EPOCHS},
        )
        return _uncounted(world.examples(world.bundle(0)))

    @cache
    def ready(seed: int) -> _Ready:
        return _ready(examples(), seed)

    return lambda seed: _problem(ready(seed), seed)


def _uncounted(examples: Examples) -> Examples:
    """Rows without counters: these would be counted in one place, and leave little to learn."""

    def without(rows: LabelledRows) -> LabelledRows:
        nothing = np.zeros(len(rows.labels), dtype=np.int64)
        heads, tails = (
            replace(side, exposures=nothing, outcomes=nothing) for side in (rows.heads, rows.tails)
        )
        return rows._replace(heads=heads, tails=tails)

    spans = {span: without(rows) for span, rows in examples.rows.items()}
    return examples._replace(rows=spans)


def _problem(ready: _Ready, seed: int) -> Problem:
    latest: list[RankerClients] = []

    def clients() -> RankerClients:
        dials = StepDials(batch=BATCH, own_rate=OWN_RATE, seed=seed)
        made = RankerClients(_fresh(ready), _taught(ready.parts[Span.TRAIN]), dials)
        latest[:] = [made]
        return made

    start = clients().begin()

    def worth(weights: Tensor) -> Mapping[str, float]:
        """AUC with the rows at their clients, on VALID and TEST; and as it would be served."""
        [now] = latest
        now.put_into_model(weights)
        test, valid = ready.parts[Span.TEST], ready.parts[Span.VALID]
        return {
            "score": _auc(now.scores_at_clients(valid.batch, valid.client), valid),
            "reached": _auc(now.scores_at_clients(test.batch, test.client), test),
            "served": _auc(head_scores(now.model, test.batch), test),
        }

    def loss(weights: Tensor) -> float:
        [now] = latest
        now.put_into_model(weights)
        valid = ready.parts[Span.VALID]
        logits = now.scores_at_clients(valid.batch, valid.client)[:, 0]
        return log_loss(1 / (1 + np.exp(-np.clip(logits, -60, 60))), valid.labels)

    def reference() -> Mapping[str, float]:
        return {
            name: _auc(head_scores(ready.trained.model, part.batch), part)
            for name, part in (
                ("score", ready.parts[Span.VALID]),
                ("reached", ready.parts[Span.TEST]),
            )
        }

    return Problem(start, clients, clients, worth, loss, reference)


def _ready(examples: Examples, seed: int) -> _Ready:
    """The service's ranker of the same rows: what centralized training reaches, and its encoder."""
    trained = finished(examples, replace(RankerConfig(), arm="none", seed=seed))
    encoder = trained.encoder
    users = np.unique(examples.rows[Span.TRAIN].cluster)
    parts = {
        span: _part(encoder, examples.rows[span], users)
        for span in (Span.TRAIN, Span.VALID, Span.TEST)
    }
    return _Ready(trained, parts, examples)


def _part(encoder: Encoder, rows: LabelledRows, users: NDArray[np.int32]) -> _Part:
    place = np.searchsorted(users, rows.cluster).clip(max=len(users) - 1)
    client = np.where(users[place] == rows.cluster, place, -1).astype(np.int64)
    batch = encoder.encode(rows.heads, rows.tails, rows.exposures)
    return _Part(batch, rows.labels, client)


def _fresh(ready: _Ready) -> RankerModel:
    with seeded(ready.trained.config.seed):
        return RankerModel(ready.trained.shape, ready.trained.config, ready.examples.maps)


def _taught(part: _Part) -> Taught:
    targets = torch.from_numpy(part.labels.astype(np.float32))[:, None]
    return Taught(part.batch, targets, torch.ones_like(targets), part.client)


def _auc(logits: NDArray[np.float64], part: _Part) -> float:
    return float(auc(logits[:, 0], part.labels))
