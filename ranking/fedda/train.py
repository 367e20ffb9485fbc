"""The loop of a federated ranker: examples become a `TrainedRanker` that holds no private row.

Takes examples and dials, yields `FederatedProgress` at each look at VALID; never reads a clock,
writes a file or looks at TEST. What clients read of the examples beside their own rows was learned
in one place: vocabularies, scales, counters, and the bundle.
"""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from graphsvc.snapshot import Span
from ranking.begun import Begun, begin
from ranking.columns import distinct
from ranking.config import RankerConfig
from ranking.errors import ConfigError, TrainingDiverged
from ranking.examples import Examples, LabelledRows
from ranking.fedda.config import FederatedConfig
from ranking.fedda.inprocess import StepDials
from ranking.fedda.ranker_clients import RankerClients, Taught
from ranking.fedda.rounds import LOCAL, federate
from ranking.fedda.traffic import Traffic
from ranking.model import head_scores
from ranking.train import Progress, Task, ended, judge, task_of
from ranking.trained import TrainedRanker

#: The dial to lower where weights go to infinity.
_RATE = "method.rate"


class FederatedProgress(NamedTuple):
    """Where a training is. Epochs of `learned` are rounds, its figures are those as served."""

    learned: Progress
    #: local, or end
    phase: str
    #: Clients of the last round.
    clients: int
    #: Bytes and gradients of single rows, of all rounds so far.
    traffic: Traffic
    evaluations: int


def train_federated(
    examples: Examples, config: RankerConfig, federated: FederatedConfig
) -> Generator[FederatedProgress, None, TrainedRanker]:
    """Train one ranker in rounds; the look with the least calibrated VALID log loss is kept.

    It is judged, calibrated and given without the rows that are private to a client. Dials of
    `config.training`, and of who moves ID rows, say nothing here but which rows are learned from.
    Raises as `begin` does, `ConfigError` for clients that the examples do not name, and
    `TrainingDiverged`.
    """
    begun = begin(examples, config)
    task = task_of(begun.taught, config)
    client = client_of(begun.taught, federated.clients)
    dials = StepDials(batch=federated.batch, own_rate=federated.own_rate, seed=config.seed)
    clients = RankerClients(begun.model, Taught(begun.batch, *task, client), dials)
    heads, valid = config.heads.names, examples.rows[Span.VALID]

    def look(weights: Tensor) -> tuple[float, dict[str, dict[str, float]]]:
        if not bool(weights.isfinite().all()):
            raise TrainingDiverged(f"weights should be finite, received others; lower {_RATE}")
        clients.put_into_model(weights)
        found = judge(begun.model, begun.valid, valid, heads, rate=_RATE)
        return sum(config.heads.weight(head) * found[head]["loss"] for head in heads), found

    best_loss, best_round, best = float("inf"), 0, clients.begin()
    traffic, evaluations = Traffic(), 0
    trace: list[dict[str, Any]] = []
    rounds = federate(
        clients.begin(),
        clients,
        federated.method,
        federated.rounds,
        watched=lambda weights: look(weights)[0],
    )
    for done in rounds:
        traffic = traffic.plus(done.traffic)
        evaluations += done.evaluations
        last = done.round == federated.rounds.rounds or done.phase != LOCAL
        if done.round % federated.look_every and not last:
            continue
        loss, found = look(done.state.weights)
        if loss < best_loss:
            best_loss, best_round, best = loss, done.round, done.state.weights
        learned = Progress(
            epoch=done.round,
            epochs=federated.rounds.rounds,
            train_loss=_train_loss(begun, task),
            valid_loss=loss,
            valid_auc=found[heads[0]]["auc"],
            best_epoch=best_round,
            by_head=found,
        )
        trace.append(learned._asdict() | {"phase": done.phase, **traffic._asdict()})
        yield FederatedProgress(learned, done.phase, done.clients, traffic, evaluations)
    clients.put_into_model(best)
    return ended(begun, examples, tuple(trace))


def client_of(rows: LabelledRows, clients: str) -> Int64[np.ndarray, "n"]:
    """The client of each row, counted from 0 in the order of their first rows.

    Rows without a value of the category are one client's. Raises `ConfigError` for a category that
    the rows do not have.
    """
    side, _, name = clients.partition(".")
    states = rows.heads if side == "head" else rows.tails
    if not name:
        return distinct(states.ids).codes
    if name not in states.attributes:
        known = ", ".join(f"{side}.{one}" for one in sorted(states.attributes)) or "none"
        raise ConfigError(f"clients should be of what {side}s have ({known}), received {clients!r}")
    return distinct([str(value) for value in states.attributes[name]]).codes


def _train_loss(begun: Begun, task: Task) -> float:
    """The loss over all rows that are learned from, without dropout, as served."""
    logits = torch.from_numpy(head_scores(begun.model, begun.batch)).float()
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits, task.targets, weight=task.counts, reduction="none"
    )
    return float(losses.sum() / len(task.targets))
