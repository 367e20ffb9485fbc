"""The loop: examples become a trained ranker.

Takes examples and dials, yields `Progress` after each epoch, gives a `TrainedRanker`; never reads
a clock, writes a file or looks at TEST. Learns on TRAIN, stops on VALID, calibrates on CALIBRATE.
"""

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphsvc.snapshot import Span
from ranking.begun import Begun, begin, encoded
from ranking.calibration import Calibration, fit, fit_platt
from ranking.carrying import remembered, resume, taught_until
from ranking.chance import seeded
from ranking.config import RankerConfig
from ranking.errors import NotEnoughRows, TrainingDiverged
from ranking.examples import Examples, LabelledRows
from ranking.features import Encoder, FeatureBatch
from ranking.metrics import log_loss, weighted_auc
from ranking.model import RankerModel, corrected_scores, head_scores
from ranking.optimizer import RankerOptimizer, make_optimizer
from ranking.tables import Tables
from ranking.trained import TrainedRanker

#: Rows that go through the model at once while it is trained: what is kept of them until they have
#: gone back is bounded. Smaller pieces look rows of large tables up more often.
PIECE = 4096


class Progress(NamedTuple):
    """What an epoch did. Losses are mean log losses; VALID's are after Platt scaling.

    With two heads a loss is the sum of theirs, each by its weight; `valid_auc` is the first one's.
    """

    epoch: int
    epochs: int
    train_loss: float
    valid_loss: float
    valid_auc: float
    #: The epoch whose weights would be kept if the loop stopped now.
    best_epoch: int
    #: head -> loss and auc on VALID
    by_head: Mapping[str, Mapping[str, float]]


class Task(NamedTuple):
    """What N rows are to teach H heads."""

    #: 1 or 0; 0 as well where a head does not learn from a row
    targets: Float[Tensor, "N H"]
    #: what a row counts for a head; 0 where it does not learn from it
    counts: Float[Tensor, "N H"]


def train(
    examples: Examples, config: RankerConfig, *, tables: Tables | None = None
) -> Generator[Progress, None, TrainedRanker]:
    """Train one ranker: AdamW (`make_optimizer`), early stop on VALID.

    The same examples, dials and number of threads give the same weights. The epoch with the least
    calibrated VALID log loss is kept. `tables`: those of `plan_tables` on the same examples and
    dials. Raises as `begin` does, and `TrainingDiverged`.
    """
    begun, heads = begin(examples, config, tables=tables), config.heads.names
    model, config = begun.model, begun.config
    optimizer = make_optimizer(model, config)
    resume(model, (begun.tables.heads, begun.tables.tails), begun.tables.known)
    task = task_of(begun.taught, config)
    trace: list[Progress] = []
    best_loss, best_epoch, best_weights = float("inf"), 0, _copied(model)
    kept = remembered(model)
    for epoch in range(1, config.training.epochs + 1):
        with seeded(config.seed * 1_000_003 + epoch):
            train_loss = _epoch(model, optimizer, (begun.batch, task), config)
        found = judge(model, begun.valid, examples.rows[Span.VALID], heads)
        valid_loss = sum(config.heads.weight(head) * found[head]["loss"] for head in heads)
        if valid_loss < best_loss:
            best_loss, best_epoch, best_weights = valid_loss, epoch, _copied(model, best_weights)
            kept = remembered(model, kept)
        trace.append(
            Progress(
                epoch=epoch,
                epochs=config.training.epochs,
                train_loss=train_loss,
                valid_loss=valid_loss,
                valid_auc=found[heads[0]]["auc"],
                best_epoch=best_epoch,
                by_head=found,
            )
        )
        yield trace[-1]
        if epoch - best_epoch >= config.training.patience:
            break
    optimizer.release()
    model.load_state_dict(best_weights)
    trained = ended(begun, examples, tuple(progress._asdict() for progress in trace))
    return trained._replace(remembered=kept)


def ended(begun: Begun, examples: Examples, trace: tuple[Mapping[str, Any], ...]) -> TrainedRanker:
    """The ranker as its model is now, calibrated on CALIBRATE."""
    model, encoder, config = begun.model, begun.encoder, begun.config
    return TrainedRanker(
        model=model,
        shape=begun.shape,
        spec=encoder.spec,
        head_ids=begun.tables.heads,
        tail_ids=begun.tables.tails,
        calibrations=_calibrated(model, encoder, examples.rows[Span.CALIBRATE], config),
        config=config,
        relations=examples.maps.names,
        others=examples.maps.other_names if model.arm.attends else (),
        trace=trace,
        tables=begun.tables.plan.as_json(),
        facets=encoder.facets,
        taught_until=taught_until(examples),
    )


def task_of(rows: LabelledRows, config: RankerConfig) -> Task:
    """Targets, and counts by which the mean over all rows is each head's own mean loss.

    c_ih = w_h v_i / s_h where head h knows row i, else 0;   s_h = the share of rows that it knows

    with w_h the head's weight and v_i what the row stands for: a batch gives an unbiased estimate,
    however few of its rows were clicked.
    """
    stands_for = _weights(rows)
    targets: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    for head in config.heads.names:
        target = rows.targets(head)
        known = target >= 0
        if not known.any():
            raise NotEnoughRows(
                f"the rows that are learned from should hold some for the head {head}, received "
                f"{len(known)} without any; raise most_rows"
            )
        targets.append(np.where(known, target, 0))
        counts.append(known * stands_for * (config.heads.weight(head) / known.mean()))
    as_tensor = (np.stack(columns, axis=1).astype(np.float32) for columns in (targets, counts))
    return Task(*(torch.from_numpy(column) for column in as_tensor))


def train_step(
    model: RankerModel,
    optimizer: RankerOptimizer,
    batch: FeatureBatch,
    targets: Float[Tensor, "B H"],
    counts: Float[Tensor, "B H"],
    *,
    half: bool = False,
) -> float:
    """One step on one batch; its loss, as it was before the step. `half`: products of bfloat16.

    loss = sum_ih c_ih l_ih / B,   l the log loss

    A large batch goes through the model in pieces, whose gradients add up to those of the whole:
    each is divided by all B rows, however many of its own a head knows.
    """
    optimizer.zero_grad()
    total = 0.0
    for first in range(0, len(targets), PIECE):
        part = slice(first, first + PIECE)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits_BH = model(FeatureBatch(*(column[part] for column in batch)))
        losses_BH = nn.functional.binary_cross_entropy_with_logits(
            logits_BH.float(),
            targets[part],
            weight=counts[part],
            reduction="none",
        )
        loss = losses_BH.sum() / len(targets)
        loss.backward()
        total += float(loss.detach())
    optimizer.step()
    return total


def _epoch(
    model: RankerModel,
    optimizer: RankerOptimizer,
    data: tuple[FeatureBatch, Task],
    config: RankerConfig,
) -> float:
    batch, task = data
    model.train()
    total, half = 0.0, config.training.precision == "bfloat16"
    for chosen in torch.randperm(len(task.targets)).split(config.training.batch):
        given = batch.take(chosen), task.targets[chosen], task.counts[chosen]
        total += train_step(model, optimizer, *given, half=half) * len(chosen)
    optimizer.settle()
    return total / len(task.targets)


def judge(
    model: RankerModel,
    batch: FeatureBatch,
    rows: LabelledRows,
    heads: tuple[str, ...],
    *,
    rate: str = "training.learning_rate",
) -> dict[str, dict[str, float]]:
    """AUC and log loss of each head on VALID, the loss after Platt scaling.

    An early stop should follow what the calibrated ranker will be worth, not how far the base rate
    has drifted since TRAIN. `rate`: the dial to lower where logits are not finite. Raises
    `TrainingDiverged`.
    """
    found = {}
    for head, scores in zip(heads, head_scores(model, batch).T, strict=True):
        target = rows.targets(head)
        known = target >= 0
        own, target, weight = scores[known], target[known], rows.weight[known]
        if not np.isfinite(own).all():
            raise TrainingDiverged(
                f"logits of {head} on VALID should be finite, received "
                f"{own[~np.isfinite(own)][0]}; lower {rate}"
            )
        probabilities = fit_platt(own, target, weight).probabilities(own)
        found[head] = {
            "loss": log_loss(probabilities, target, weight),
            "auc": float(weighted_auc(own, target, weight[None].astype(np.float64))[0]),
        }
    return found


def _calibrated(
    model: RankerModel, encoder: Encoder, rows: LabelledRows, config: RankerConfig
) -> dict[str, Calibration]:
    """The calibration of each head, on rows that neither the weights nor the epoch depend on."""
    logits = corrected_scores(model, encoded(encoder, rows), config)
    found = {}
    for head, own in zip(config.heads.names, logits.T, strict=True):
        target = rows.targets(head)
        known = target >= 0
        found[head] = fit(config.calibration, own[known], target[known], rows.weight[known])
    return found


def _weights(rows: LabelledRows) -> Float[np.ndarray, "n"]:
    """Rows that were sampled stand for those that were not, so that the base rate is the real one.

    1 on the mean.
    """
    return rows.weight / rows.weight.mean()


def _copied(
    model: RankerModel, into: dict[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """All weights, in the memory of a former copy where there is one: there are never two."""
    if into is None:
        return {name: value.clone() for name, value in model.state_dict().items()}
    for name, value in model.state_dict().items():
        into[name].copy_(value)
    return into
