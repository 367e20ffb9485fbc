"""How a ranker is trained in its step: by epochs in one place or in rounds at clients, and fair.

Takes examples, dials and a choice, gives what is sealed and tells how far it is; holds no formula
of its own, and seals nothing.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from api.jobs.steps import Tick, drain
from api.jobs.training import FairnessChoice, FederatedChoice, TrainingChoice
from ranking.bundle import Beside, TrainedRanker
from ranking.config import RankerConfig
from ranking.examples import Examples
from ranking.fedda.traffic import Traffic

if TYPE_CHECKING:
    from ranking.carrying import Known
    from ranking.fairsmooth.train import Round as FairRound
    from ranking.fedda.rounds import Progress as Round
    from ranking.fedda.train import FederatedProgress
    from ranking.tables import Tables

_MIB = 1024.0 * 1024.0

#: Told how far a training is: done, note.
_Tell = Callable[[int, str], None]


class Made(NamedTuple):
    """A ranker, what lies beside it, and what listings show of it."""

    trained: TrainedRanker
    beside: Beside
    metrics: Mapping[str, float]


class _Part(NamedTuple):
    """What one way of training gave, and what it says of itself."""

    trained: TrainedRanker
    told: Mapping[str, Any]
    metrics: Mapping[str, float]
    certificate: Mapping[str, Any] | None = None


def teach(
    examples: Examples,
    config: RankerConfig,
    training: TrainingChoice | None,
    tick: Tick,
    *,
    known: "Known | None" = None,
) -> Made:
    """Train one ranker as it was chosen, and judge its probabilities on TEST.

    `known`: what its ID rows begin with, of heads and of tails.

    Groups that cannot be certified are refused before anything is trained. `valid_auc` and
    `valid_loss` are those of the weights that were kept, before a last layer is made fair: that one
    is fitted to VALID. Raises what `ranking` does.
    """
    from ranking.reliability import judged
    from ranking.tables import plan_tables

    federated = None if training is None else training.federated
    fairness = None if training is None else training.fairness
    if fairness is not None:
        _check_groups(examples, config, fairness)
    first = config.training.epochs if federated is None else _rounds(federated)
    total = first + (0 if fairness is None else fairness.config(seed=0).rounds)

    def tell(done: int, note: str) -> None:
        tick(done, total, note)

    tables = plan_tables(examples, config, known=known or (None, None))
    tell(0, "; ".join(tables.plan.lines))
    parts: dict[str, _Part] = {}
    if federated is None:
        trained = _by_epochs(examples, config, tables, tell)
    else:
        parts["federated"] = _in_rounds(examples, config, tables, federated, tell)
        trained = parts["federated"].trained
    kept = _kept(trained)
    if fairness is not None:
        parts["fairness"] = _fair(
            trained, examples, fairness, lambda done, note: tell(first + done, note)
        )
        trained = parts["fairness"].trained
    beside = judged(trained, examples)
    errors = {f"{head}_ece": found["ece"] for head, found in beside.reliability.items()}
    metrics = {name: kept[name] for name in ("valid_auc", "valid_loss")} | errors
    metrics |= trained.crossing_metrics
    for part in parts.values():
        metrics |= part.metrics
    if parts:
        told = {name: part.told for name, part in parts.items()}
        fair = parts.get("fairness")
        beside = beside._replace(training=told, certificate=fair.certificate if fair else None)
    return Made(trained, beside, metrics)


def _kept(trained: TrainedRanker) -> Mapping[str, Any]:
    """The epoch, or the look, whose weights were kept."""
    best = trained.trace[-1]["best_epoch"]
    return next(epoch for epoch in trained.trace if epoch["epoch"] == best)


def _rounds(choice: FederatedChoice) -> int:
    return choice.config(seed=0).rounds.rounds


def _check_groups(examples: Examples, config: RankerConfig, choice: FairnessChoice) -> None:
    """Raise `ConfigError` or `GroupTooSmall` before hours have gone into a training."""
    from ranking.fairsmooth.ranker import check_groups

    head = config.heads.names[0]
    check_groups(examples, head, choice.by, choice.config(seed=config.seed))


def _by_epochs(
    examples: Examples, config: RankerConfig, tables: "Tables", tell: _Tell
) -> TrainedRanker:
    from ranking.train import train

    return drain(
        train(examples, config, tables=tables),
        lambda told: tell(told.epoch, f"valid AUC {told.valid_auc:.4f}"),
    )


class _Rounds:
    """What people read of rounds while they run: clients, bytes so far, AUC as served."""

    def __init__(self, tell: _Tell) -> None:
        self._tell, self._sent, self._found = tell, Traffic(), ""

    def done(self, told: "Round") -> None:
        self._sent = self._sent.plus(told.traffic)
        down, up = (count / _MIB for count in self._sent)
        kind = "" if told.phase == "local" else f" in the {told.phase} phase"
        note = f"{told.clients} clients{kind}, {down:.1f} MiB down, {up:.1f} MiB up"
        self._tell(told.round, note + self._found)

    def looked(self, told: "FederatedProgress") -> None:
        self._found = f", valid AUC {told.learned.valid_auc:.4f}"


def _in_rounds(
    examples: Examples,
    config: RankerConfig,
    tables: "Tables",
    choice: FederatedChoice,
    tell: _Tell,
) -> _Part:
    """A ranker without private rows; its AUC as served, and with the rows at their clients."""
    from ranking.fedda.train import federated_ranker
    from ranking.fedda.worth import both_ways

    dials, seen = choice.config(seed=config.seed), _Rounds(tell)
    made = drain(
        federated_ranker(examples, config, dials, tables=tables, each=seen.done), seen.looked
    )
    worth = both_ways(made, examples, dials.clients)
    told = {
        "method": dials.method.method,
        "dials": asdict(dials),
        "kge": choice.kge,
        "clients": made.clients.count,
        "rounds": made.rounds,
        "kept_round": made.trained.trace[-1]["best_epoch"],
        "bytes": made.traffic._asdict(),
        "gradients": made.evaluations,
        "auc": worth,
    }
    first = worth.get(config.heads.names[0], {})
    return _Part(made.trained, told, {f"auc_{where}": value for where, value in first.items()})


def _fair(trained: TrainedRanker, examples: Examples, choice: FairnessChoice, tell: _Tell) -> _Part:
    """The same ranker with smoothed scores, and its certificate."""
    from ranking.fairsmooth.ranker import fair_ranker

    def seen(told: "FairRound") -> None:
        farthest = max(told.distances, key=lambda name: told.distances[name])
        note = f"{len(told.distances)} groups of {choice.by}, the farthest {farthest} is "
        tell(told.number, f"{note}{told.distances[farthest]:.3f} from their mean")

    dials = choice.config(seed=trained.config.seed)
    made = drain(fair_ranker(trained, examples, choice.by, dials), seen)
    groups = {
        name: {one: group[one] for one in ("r", "tau", "learned_from", "rows")}
        for name, group in made.certificate["groups"].items()
    }
    # JSON has no infinity.
    radius = dials.radius if math.isfinite(dials.radius) else None
    told = {
        "by": choice.by,
        "averaged": choice.averaged,
        "dials": asdict(dials) | {"radius": radius},
        "rounds": dials.rounds,
        "groups": groups,
        "added_gap": made.certificate["added_gap"],
        "certificate": "certificate.json",
    }
    most = max(group["tau"] for group in groups.values())
    return _Part(made.trained, told, {"tau": most}, made.certificate)
