"""The door for many pairs of fewer entities: each entity is encoded once, pairs gather from that.

Takes states of heads and of tails, and which of them are pairs; gives what `Ranker.scored` gives of
the same pairs, from the very same features. Never looks anything up.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from ranking.bundle import Ranker
from ranking.features import COUNTERS, FeatureBatch
from ranking.model import SCORE_BATCH
from ranking.scored import Scored
from ranking.states import EntityStates, ExposureStates
from ranking.trained import scored_by


class Encoded(NamedTuple):
    """Features of n entities of one side: the columns of a `FeatureBatch` that are theirs."""

    rows: Int64[Tensor, "n 2"]
    categories: Int64[Tensor, "n c"]
    lists: Int64[Tensor, "n l w"]
    dense: Float32[Tensor, "n f"]
    rate: Float32[Tensor, "n 1"]
    vector: Float32[Tensor, "n d"]
    known: Float32[Tensor, "n 1"]
    named: Float32[Tensor, "n 1"]
    facets: Float32[Tensor, "n 1 p"]
    #: What tails lead to; heads lead to nothing that is read.
    around: Float32[Tensor, "n a d"]
    around_known: Float32[Tensor, "n a"]

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def joined(self, *more: "Encoded") -> "Encoded":
        """These entities, and more of the same side behind them."""
        return Encoded(*(torch.cat(columns) for columns in zip(self, *more, strict=True)))

    def take(self, rows: Int64[Tensor, "m"]) -> "Encoded":
        """Some of them, in that order."""
        return Encoded(*(column.index_select(0, rows) for column in self))


class Pairwise:
    """A ranker that is asked about pairs of entities which it has encoded before."""

    def __init__(self, ranker: Ranker) -> None:
        self.ranker = ranker
        spec = ranker.encoder.spec.head
        #: Categories, lists and dense numbers of heads; those of tails lie behind them.
        self._widths = (
            len(spec.categories),
            len(spec.lists),
            COUNTERS + 2 * len(spec.numbers),
        )

    @property
    def at_once(self) -> int | None:
        """How many pairs it is best asked about at once; None: however many there are.

        What is gathered of so many is still in the processor's cache when the network reads it. A
        GPU computes some while others are gathered, if it is asked about all of them.
        """
        on_cpu = self.ranker.model.norm.weight.device.type == "cpu"
        return SCORE_BATCH if on_cpu else None

    def heads(self, states: EntityStates) -> Encoded:
        """Heads as features."""
        blank = _nobody(len(states), states.vectors.shape[1])
        batch = self.ranker.encoder.encode(states, blank)
        categories, lists, dense = self._widths
        return Encoded(
            rows=batch.head_rows,
            categories=batch.categories[:, :categories].contiguous(),
            lists=batch.lists[:, :lists].contiguous(),
            dense=batch.dense[:, :dense].contiguous(),
            vector=batch.head_vector,
            around=batch.around[:, :0],
            around_known=batch.around_known[:, :0],
            **_of_side(batch, 0),
        )

    def tails(self, states: EntityStates) -> Encoded:
        """Tails as features, with what they lead to."""
        batch = self.ranker.encoder.encode(_nobody(1, states.vectors.shape[1]), states)
        categories, lists, dense = self._widths
        return Encoded(
            rows=batch.tail_rows,
            categories=batch.categories[:, categories:].contiguous(),
            lists=batch.lists[:, lists:].contiguous(),
            dense=batch.dense[:, dense:].contiguous(),
            vector=batch.tail_vector,
            around=batch.around,
            around_known=batch.around_known,
            **_of_side(batch, 1),
        )

    def exposures(self, shown: ExposureStates) -> Int64[Tensor, "n x"]:
        """The codes of exposures."""
        blank = _nobody(len(shown), self.ranker.model.projections.shape[2])
        return self.ranker.encoder.encode(blank, blank, shown).exposures

    def features(
        self, heads: Encoded, tails: Encoded, exposures: Int64[Tensor, "_ x"]
    ) -> FeatureBatch:
        """Features of pairs: head and tail of the same row, all in one exposure."""
        return FeatureBatch(
            head_rows=heads.rows,
            tail_rows=tails.rows,
            categories=torch.cat([heads.categories, tails.categories], dim=1),
            lists=torch.cat([heads.lists, tails.lists], dim=1),
            dense=torch.cat([heads.dense, tails.dense], dim=1),
            rates=torch.cat([heads.rate, tails.rate], dim=1),
            head_vector=heads.vector,
            tail_vector=tails.vector,
            known=torch.cat([heads.known, tails.known], dim=1),
            named=torch.cat([heads.named, tails.named], dim=1),
            around=tails.around,
            around_known=tails.around_known,
            exposures=exposures.expand(len(heads), -1).contiguous(),
            facets=torch.cat([heads.facets, tails.facets], dim=1),
        )

    def scored(self, batch: FeatureBatch) -> Scored:
        """What `Ranker.scored` gives of the pairs with these features. Threads may share it."""
        ranker = self.ranker
        return scored_by(ranker.model, batch, ranker.config, ranker.calibrations, ranker.smoothing)


def _of_side(batch: FeatureBatch, number: int) -> dict[str, Tensor]:
    """Columns that hold both sides next to each other: those of one."""
    place = slice(number, number + 1)
    return {
        "rate": batch.rates[:, place].contiguous(),
        "known": batch.known[:, place].contiguous(),
        "named": batch.named[:, place].contiguous(),
        "facets": batch.facets[:, place].contiguous(),
    }


def _nobody(count: int, dim: int) -> EntityStates:
    """So many times an entity of which nothing is known, beside those that are encoded."""
    nothing = np.zeros(count, dtype=np.int64)
    return EntityStates(
        ids=np.full(count, "", dtype=object),
        vectors=np.zeros((count, dim), dtype=np.float32),
        known=np.zeros(count, dtype=bool),
        attributes={},
        exposures=nothing,
        outcomes=nothing,
    )
