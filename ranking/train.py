"""The loop: examples become a trained ranker.

Takes examples and dials, yields `Progress` after each epoch, gives a `TrainedRanker`; never reads
a clock, writes a file or looks at TEST. Learns on TRAIN, stops and calibrates on VALID.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from graphsvc.snapshot import Span
from ranking.bundle import TrainedRanker
from ranking.calibration import fit_platt
from ranking.config import ARMS, RankerConfig
from ranking.examples import Examples, LabelledRows
from ranking.features import Encoder, FeatureBatch
from ranking.idtables.placement import Placement, rank_by_frequency
from ranking.metrics import auc, log_loss
from ranking.model import ModelShape, RankerModel, raw_scores
from ranking.optimizer import RankerOptimizer, make_optimizer
from ranking.spec import FeatureSpec, SideRows, learn_spec
from ranking.states import EntityStates

#: Rows that go through the model at once while it is trained. What is kept of them until they have
#: gone back is to stay in the processor's caches, and to be memory that is there already.
PIECE = 1024


class Progress(NamedTuple):
    """What an epoch did. Losses are mean log losses; VALID's are after Platt scaling."""

    epoch: int
    epochs: int
    train_loss: float
    valid_loss: float
    valid_auc: float
    #: The epoch whose weights would be kept if the loop stopped now.
    best_epoch: int


def train(examples: Examples, config: RankerConfig) -> Generator[Progress, None, TrainedRanker]:
    """Train one ranker: AdamW (`make_optimizer`), early stop on VALID.

    The same examples, dials and number of threads give the same weights. The epoch with the least
    calibrated VALID log loss is kept.
    """
    rows = examples.rows[Span.TRAIN]
    spec = _spec(examples, config)
    head_ids, tail_ids = (
        Placement(rank_by_frequency(states.ids, config.ids), config.ids.buckets)
        for states in (rows.heads, rows.tails)
    )
    encoder = Encoder(spec, head_ids, tail_ids)
    batch, valid = (
        encoder.encode(examples.rows[s].heads, examples.rows[s].tails)
        for s in (Span.TRAIN, Span.VALID)
    )
    shape = _shape(encoder, head_ids, tail_ids, examples)
    model = _fresh(shape, config, examples, encoder)
    model.begin_rows(_first_vectors(head_ids, rows.heads), _first_vectors(tail_ids, rows.tails))
    model.learn_match_scale(batch)
    optimizer = make_optimizer(model, config)
    labels = torch.from_numpy(rows.labels.astype(np.float32))
    weights = _weights(rows)
    trace: list[Progress] = []
    best_loss, best_epoch, best_weights = float("inf"), 0, _copy(model)
    for epoch in range(1, config.training.epochs + 1):
        with _seeded(config.seed * 1_000_003 + epoch):
            train_loss = _epoch(model, optimizer, (batch, labels, weights), config)
        valid_auc, valid_loss = _judge(model, valid, examples.rows[Span.VALID])
        if valid_loss < best_loss:
            best_loss, best_epoch, best_weights = valid_loss, epoch, _copy(model)
        trace.append(
            Progress(epoch, config.training.epochs, train_loss, valid_loss, valid_auc, best_epoch)
        )
        yield trace[-1]
        if epoch - best_epoch >= config.training.patience:
            break
    optimizer.release()
    model.load_state_dict(best_weights)
    judged = examples.rows[Span.VALID]
    platt = fit_platt(raw_scores(model, valid), judged.labels, judged.weight)
    return TrainedRanker(
        model=model,
        shape=shape,
        spec=spec,
        head_ids=head_ids,
        tail_ids=tail_ids,
        calibration=platt,
        config=config,
        relations=examples.maps.names,
        others=examples.maps.other_names if model.arm.attends else (),
        trace=tuple(progress._asdict() for progress in trace),
    )


def _spec(examples: Examples, config: RankerConfig) -> FeatureSpec:
    """What is learned of TRAIN; only an arm that attends reads what tails lead to."""
    rows = examples.rows[Span.TRAIN]
    spec = learn_spec(
        SideRows(states=rows.heads, type=examples.head_type, kinds=examples.head_kinds),
        SideRows(states=rows.tails, type=examples.tail_type, kinds=examples.tail_kinds),
        rows.labels,
        config.features,
    )
    return spec if ARMS[config.arm].attends else replace(spec, around=())


def _fresh(
    shape: ModelShape, config: RankerConfig, examples: Examples, encoder: Encoder
) -> RankerModel:
    """A model before its first step; a blank code says nothing."""
    with _seeded(config.seed):
        model = RankerModel(shape, config, examples.maps)
    with torch.no_grad():
        model.codes.weight[encoder.blank_codes] = 0.0
    return model


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
    labels: Float[Tensor, "B"],
    weights: Float[Tensor, "B"] | None = None,
) -> float:
    """One step on one batch; its mean loss, as it was before the step.

    A large batch goes through the model in pieces, whose gradients add up to those of the whole.
    """
    optimizer.zero_grad()
    total = 0.0
    for first in range(0, len(labels), PIECE):
        part = slice(first, first + PIECE)
        loss = nn.functional.binary_cross_entropy_with_logits(
            model(FeatureBatch(*(column[part] for column in batch))),
            labels[part],
            weight=None if weights is None else weights[part],
        )
        share = len(labels[part]) / len(labels)
        (loss * share).backward()
        total += float(loss.detach()) * share
    optimizer.step()
    return total


def _epoch(
    model: RankerModel,
    optimizer: RankerOptimizer,
    data: tuple[FeatureBatch, torch.Tensor, torch.Tensor | None],
    config: RankerConfig,
) -> float:
    batch, labels, weights = data
    model.train()
    total = 0.0
    for chosen in torch.randperm(len(labels)).split(config.training.batch):
        weight = None if weights is None else weights[chosen]
        loss = train_step(model, optimizer, batch.take(chosen), labels[chosen], weight)
        total += loss * len(chosen)
    optimizer.settle()
    return total / len(labels)


def _judge(model: RankerModel, batch: FeatureBatch, rows: LabelledRows) -> tuple[float, float]:
    """AUC and log loss on VALID, the loss after Platt scaling.

    An early stop should follow what the calibrated ranker will be worth, not how far the base rate
    has drifted since TRAIN.
    """
    scores = raw_scores(model, batch)
    probabilities = fit_platt(scores, rows.labels, rows.weight).probabilities(scores)
    return auc(scores, rows.labels), log_loss(probabilities, rows.labels, rows.weight)


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
    )


def _weights(rows: LabelledRows) -> torch.Tensor | None:
    """Rows that were sampled stand for those that were not, so that the base rate is the real one.

    None where all rows weigh the same.
    """
    return torch.from_numpy(rows.weight / rows.weight.mean()) if np.ptp(rows.weight) else None


def _copy(model: RankerModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed, inside only: the caller's stream is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
