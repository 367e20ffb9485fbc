"""The loop of a federated ranker: examples become a `TrainedRanker` that holds no private row.

Takes examples and dials, yields `FederatedProgress` at each look at VALID; never reads a clock,
writes a file or looks at TEST. What clients read of the examples beside their own rows was learned
in one place: vocabularies, scales, counters, and the bundle.
"""

from collections.abc import Callable, Generator, Sequence
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
from ranking.fedda.rounds import Progress as Round
from ranking.fedda.traffic import Traffic
from ranking.model import head_scores
from ranking.tables import Tables
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


class FederatedRanker(NamedTuple):
    """A ranker as it is served, and what stays at its clients."""

    trained: TrainedRanker
    #: With each client's private rows, as they were at the round that is kept.
    clients: RankerClients
    #: What each client is called, by its number.
    names: tuple[str, ...]
    #: Rounds that were done; bytes and gradients of single rows that they took.
    rounds: int
    traffic: Traffic
    evaluations: int


def train_federated(
    examples: Examples,
    config: RankerConfig,
    federated: FederatedConfig,
    *,
    tables: Tables | None = None,
) -> Generator[FederatedProgress, None, TrainedRanker]:
    """What `federated_ranker` gives to be served."""
    made = yield from federated_ranker(examples, config, federated, tables=tables)
    return made.trained


def federated_ranker(
    examples: Examples,
    config: RankerConfig,
    federated: FederatedConfig,
    *,
    tables: Tables | None = None,
    each: Callable[[Round], None] | None = None,
) -> Generator[FederatedProgress, None, FederatedRanker]:
    """Train one ranker in rounds; the look with the least calibrated VALID log loss is kept.

    It is judged, calibrated and given without the rows that are private to a client, those among
    them that `tables` know from elsewhere: a client begins with these, and keeps them. Dials of
    `config.training`, and of who moves ID rows, say nothing here but which rows are learned from.
    `each` is told of every round, also of those without a look. Raises as `begin` does,
    `ConfigError` for clients that the examples do not name, and `TrainingDiverged`.
    """
    begun = begin(examples, config, tables=tables)
    task = task_of(begun.taught, config)
    whose = distinct(names_of(begun.taught, federated.clients))
    dials = StepDials(batch=federated.batch, own_rate=federated.own_rate, seed=config.seed)
    clients = RankerClients(begun.model, Taught(begun.batch, *task, whose.codes), dials)
    clients.leave_out_private()
    looks = _Looks(begun, task, clients, examples, federated.rounds.rounds)
    rounds = federate(
        clients.begin(),
        clients,
        federated.method,
        federated.rounds,
        watched=lambda weights: looks.judged(weights)[0],
    )
    traffic, evaluations, looked = Traffic(), 0, 0
    done: Round | None = None
    for done in rounds:
        traffic = traffic.plus(done.traffic)
        evaluations += done.evaluations
        if each is not None:
            each(done)
        last = done.round == federated.rounds.rounds or done.phase != LOCAL
        if last or done.round % federated.look_every == 0:
            looked = done.round
            yield looks.look(done, traffic, evaluations)
    if done is not None and looked != done.round:  # a plateau with no end phase behind it
        yield looks.look(done, traffic, evaluations)
    count = 0 if done is None else done.round
    names = tuple(whose.values.tolist())
    return FederatedRanker(looks.ended(), clients, names, count, traffic, evaluations)


class _Looks:
    """Looks at VALID on the way, and what was best so far."""

    def __init__(
        self, begun: Begun, task: Task, clients: RankerClients, examples: Examples, rounds: int
    ) -> None:
        self._begun, self._task, self._clients = begun, task, clients
        self._examples, self._rounds = examples, rounds
        self._best_loss, self._best_round = float("inf"), 0
        self._best, self._best_own = clients.begin(), clients.own.clone()
        self._trace: list[dict[str, Any]] = []

    def judged(self, weights: Tensor) -> tuple[float, dict[str, dict[str, float]]]:
        """The loss of all heads as served, and what each head says. Raises `TrainingDiverged`."""
        if not bool(weights.isfinite().all()):
            raise TrainingDiverged(f"weights should be finite, received others; lower {_RATE}")
        self._clients.put_into_model(weights)
        dials, begun = self._begun.config.heads, self._begun
        rows = self._examples.rows[Span.VALID]
        found = judge(begun.model, begun.valid, rows, dials.names, rate=_RATE)
        return sum(dials.weight(head) * found[head]["loss"] for head in dials.names), found

    def look(self, done: Round, traffic: Traffic, evaluations: int) -> FederatedProgress:
        """Judge the weights behind a round, and keep them if none were better."""
        loss, found = self.judged(done.state.weights)
        if loss < self._best_loss:
            self._best_loss, self._best_round = loss, done.round
            self._best, self._best_own = done.state.weights, self._clients.own.clone()
        learned = Progress(
            epoch=done.round,
            epochs=self._rounds,
            train_loss=_train_loss(self._begun, self._task),
            valid_loss=loss,
            valid_auc=found[self._begun.config.heads.names[0]]["auc"],
            best_epoch=self._best_round,
            by_head=found,
        )
        self._trace.append(learned._asdict() | {"phase": done.phase, **traffic._asdict()})
        return FederatedProgress(learned, done.phase, done.clients, traffic, evaluations)

    def ended(self) -> TrainedRanker:
        """The best one, as it is served; clients have their rows as they were then."""
        self._clients.put_into_model(self._best)
        self._clients.own = self._best_own
        return ended(self._begun, self._examples, tuple(self._trace))


def names_of(rows: LabelledRows, clients: str) -> list[str]:
    """What the client of each row is called; rows without a value of the category are one's.

    Raises `ConfigError` for a category that the rows do not have.
    """
    side, _, name = clients.partition(".")
    states = rows.heads if side == "head" else rows.tails
    if not name:
        return [str(one) for one in states.ids]
    if name not in states.attributes:
        known = ", ".join(f"{side}.{one}" for one in sorted(states.attributes)) or "none"
        raise ConfigError(f"clients should be of what {side}s have ({known}), received {clients!r}")
    return [str(value) for value in states.attributes[name]]


def client_of(
    rows: LabelledRows, clients: str, *, among: Sequence[str] | None = None
) -> Int64[np.ndarray, "n"]:
    """The client of each row, counted from 0 in the order of their first rows.

    `among`: what clients are called, by their numbers; a row of anybody else is nobody's, -1.
    """
    names = names_of(rows, clients)
    if among is None:
        return distinct(names).codes
    number = {name: place for place, name in enumerate(among)}
    return np.array([number.get(name, -1) for name in names], dtype=np.int64)


def _train_loss(begun: Begun, task: Task) -> float:
    """The loss over all rows that are learned from, without dropout, as served."""
    logits = torch.from_numpy(head_scores(begun.model, begun.batch)).float()
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits, task.targets, weight=task.counts, reduction="none"
    )
    return float(losses.sum() / len(task.targets))
