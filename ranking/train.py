"""The loop: examples become a trained ranker.

Takes examples and dials, yields `Progress` after each epoch, gives a `TrainedRanker`; never reads
a clock, writes a file or looks at TEST. Learns on TRAIN, stops on VALID, calibrates on CALIBRATE.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from graphsvc.snapshot import Span
from ranking.bundle import TrainedRanker
from ranking.calibration import Calibration, fit, fit_platt
from ranking.config import ARMS, RankerConfig
from ranking.errors import NotEnoughRows, TrainingDiverged
from ranking.examples import Examples, LabelledRows, of_head
from ranking.features import Encoder, FeatureBatch
from ranking.idtables.placement import Placement, rank_by_frequency
from ranking.interactions.budget import sized
from ranking.metrics import log_loss, weighted_auc
from ranking.model import ModelShape, RankerModel, corrected_scores, head_scores, row_width
from ranking.optimizer import RankerOptimizer, make_optimizer
from ranking.sampling import kept_rows
from ranking.spec import FeatureSpec, SideRows, learn_spec
from ranking.states import EntityStates

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


class _Task(NamedTuple):
    """What N rows are to teach H heads."""

    #: 1 or 0; 0 as well where a head does not learn from a row
    targets: Float[Tensor, "N H"]
    #: what a row counts for a head; 0 where it does not learn from it
    counts: Float[Tensor, "N H"]


def train(examples: Examples, config: RankerConfig) -> Generator[Progress, None, TrainedRanker]:
    """Train one ranker: AdamW (`make_optimizer`), early stop on VALID.

    The same examples, dials and number of threads give the same weights. The epoch with the least
    calibrated VALID log loss is kept. Raises `NotEnoughRows` and `TrainingDiverged`.
    """
    rows, heads = examples.rows[Span.TRAIN], config.heads.names
    for head in heads:
        of_head(examples, head)
    head_ids, tail_ids = (
        Placement(rank_by_frequency(states.ids, config.ids), config.ids.buckets)
        for states in (rows.heads, rows.tails)
    )
    encoder = Encoder(_spec(examples, config), head_ids, tail_ids)
    used = learned_from(rows, config)
    taught = rows if len(used) == len(rows.labels) else rows.take(used)
    batch, valid = (_encoded(encoder, part) for part in (taught, examples.rows[Span.VALID]))
    shape = _shape(encoder, head_ids, tail_ids, examples)
    config = replace(config, crossing=sized(row_width(shape, config), config))
    model = _fresh(shape, config, examples, encoder)
    _begin(model, (head_ids, tail_ids), rows)
    model.learn_match_scale(batch)
    optimizer, task = make_optimizer(model, config), _task(taught, config)
    trace: list[Progress] = []
    best_loss, best_epoch, best_weights = float("inf"), 0, _copy(model)
    for epoch in range(1, config.training.epochs + 1):
        with _seeded(config.seed * 1_000_003 + epoch):
            train_loss = _epoch(model, optimizer, (batch, task), config)
        found = _judge(model, valid, examples.rows[Span.VALID], heads)
        valid_loss = sum(config.heads.weight(head) * found[head]["loss"] for head in heads)
        if valid_loss < best_loss:
            best_loss, best_epoch, best_weights = valid_loss, epoch, _copy(model)
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
    return TrainedRanker(
        model=model,
        shape=shape,
        spec=encoder.spec,
        head_ids=head_ids,
        tail_ids=tail_ids,
        calibrations=_calibrated(model, encoder, examples.rows[Span.CALIBRATE], config),
        config=config,
        relations=examples.maps.names,
        others=examples.maps.other_names if model.arm.attends else (),
        trace=tuple(progress._asdict() for progress in trace),
    )


def learned_from(rows: LabelledRows, config: RankerConfig) -> Int64[np.ndarray, "m"]:
    """Which rows are learned from: the newest, of those without a click a share, in order.

    Rows that no head learns from are left out: of a ranker of cvr alone, those without a click and
    those whose window of conversions is open.
    """
    dials, count = config.training, len(rows.labels)
    first = max(0, count - dials.most_rows) if dials.most_rows else 0
    generator = np.random.default_rng(config.seed)
    used = first + kept_rows(rows.labels[first:], dials.negatives_kept, generator)
    known = np.stack([rows.targets(head)[used] >= 0 for head in config.heads.names])
    return used[known.any(axis=0)]


def _spec(examples: Examples, config: RankerConfig) -> FeatureSpec:
    """From all of TRAIN, whatever is learned from: rates and scales are those of all rows.

    Only an arm that attends reads what tails lead to.
    """
    rows = examples.rows[Span.TRAIN]
    spec = learn_spec(
        SideRows(states=rows.heads, type=examples.head_type, kinds=examples.head_kinds),
        SideRows(states=rows.tails, type=examples.tail_type, kinds=examples.tail_kinds),
        rows.labels,
        config.features,
        exposures=rows.exposures,
    )
    return spec if ARMS[config.arm].attends else replace(spec, around=())


def _encoded(encoder: Encoder, rows: LabelledRows) -> FeatureBatch:
    return encoder.encode(rows.heads, rows.tails, rows.exposures)


def _task(rows: LabelledRows, config: RankerConfig) -> _Task:
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
    return _Task(*(torch.from_numpy(column) for column in as_tensor))


def _fresh(
    shape: ModelShape, config: RankerConfig, examples: Examples, encoder: Encoder
) -> RankerModel:
    """A model before its first step; a blank code says nothing."""
    with _seeded(config.seed):
        model = RankerModel(shape, config, examples.maps)
    with torch.no_grad():
        model.codes.weight[encoder.blank_codes] = 0.0
        if model.exposure_codes is not None:
            model.exposure_codes.weight[encoder.blank_exposure_codes] = 0.0
    return model


def _begin(model: RankerModel, ids: tuple[Placement, Placement], rows: LabelledRows) -> None:
    """Let ID rows begin at vectors, where the arm says so."""
    if model.arm.begins:
        heads, tails = _first_vectors(ids[0], rows.heads), _first_vectors(ids[1], rows.tails)
        model.begin_rows(heads, tails)


def _first_vectors(ids: Placement, states: EntityStates) -> Float32[Tensor, "m d"]:
    """The vectors of the ids with a row of their own, as they were in their first TRAIN row.

    A later row's fold-in knows outcomes that earlier rows are to guess. Zero where none is known.
    """
    last = len(states) - 1
    # Of equal names the one that is written last stays.
    first = dict(zip(states.ids[::-1].tolist(), range(last, -1, -1), strict=True))
    chosen = np.array([first[name] for name in ids.exclusive], dtype=np.int64)
    vectors = np.where(states.known[chosen, None], states.vectors[chosen], np.float32(0))
    return torch.from_numpy(vectors)


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
    data: tuple[FeatureBatch, _Task],
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


def _judge(
    model: RankerModel, batch: FeatureBatch, rows: LabelledRows, heads: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """AUC and log loss of each head on VALID, the loss after Platt scaling.

    An early stop should follow what the calibrated ranker will be worth, not how far the base rate
    has drifted since TRAIN.
    """
    found = {}
    for head, scores in zip(heads, head_scores(model, batch).T, strict=True):
        target = rows.targets(head)
        known = target >= 0
        own, target, weight = scores[known], target[known], rows.weight[known]
        if not np.isfinite(own).all():
            raise TrainingDiverged(
                f"logits of {head} on VALID should be finite, received "
                f"{own[~np.isfinite(own)][0]}; lower training.learning_rate"
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
    logits = corrected_scores(model, _encoded(encoder, rows), config)
    found = {}
    for head, own in zip(config.heads.names, logits.T, strict=True):
        target = rows.targets(head)
        known = target >= 0
        found[head] = fit(config.calibration, own[known], target[known], rows.weight[known])
    return found


def _shape(
    encoder: Encoder, head_ids: Placement, tail_ids: Placement, examples: Examples
) -> ModelShape:
    relations, projected, vector = examples.maps.projections.shape
    return ModelShape(
        head_rows=head_ids.row_count,
        tail_rows=tail_ids.row_count,
        codes=encoder.code_count,
        categories=encoder.spec.category_count,
        lists=encoder.spec.list_count,
        dense=encoder.spec.dense_count,
        vector=vector,
        projected=projected,
        relations=relations,
        head_own=len(head_ids.exclusive),
        tail_own=len(tail_ids.exclusive),
        around=len(encoder.spec.around),
        exposure_fields=len(encoder.spec.exposure.sizes),
        exposure_codes=sum(encoder.spec.exposure.sizes),
    )


def _weights(rows: LabelledRows) -> Float[np.ndarray, "n"]:
    """Rows that were sampled stand for those that were not, so that the base rate is the real one.

    1 on the mean.
    """
    return rows.weight / rows.weight.mean()


def _copy(model: RankerModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed, inside only: the caller's stream is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
