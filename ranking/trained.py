"""Everything that a ranker is, before it is sealed; and what a model's logits say.

Takes what training made, gives scores; never trains and never writes a file.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from ranking.calibration import Calibration
from ranking.config import RankerConfig
from ranking.features import Encoder, FeatureBatch
from ranking.idtables.placement import Placement
from ranking.interactions.budget import crossing_metrics
from ranking.model import ModelShape, RankerModel, corrected_scores, row_width
from ranking.pretraining.reader import NO_TABLES, FacetReader
from ranking.scored import Scored
from ranking.spec import FeatureSpec
from ranking.states import EntityStates, ExposureStates


class TrainedRanker(NamedTuple):
    """Everything that a ranker is, before it is sealed."""

    model: RankerModel
    shape: ModelShape
    spec: FeatureSpec
    head_ids: Placement
    tail_ids: Placement
    #: head -> how its logits become probabilities
    calibrations: Mapping[str, Calibration]
    config: RankerConfig
    #: Names of the relations from head to tail type, in the order of the tokens.
    relations: tuple[str, ...]
    #: Names of the other relations from the head type that have a token, behind those.
    others: tuple[str, ...]
    #: One entry per epoch, as yielded.
    trace: tuple[Mapping[str, Any], ...]
    #: What was planned for the ID tables: rows, numbers, precision, bytes of each, and why.
    tables: Mapping[str, Any]
    #: Pretrained tables that it reads.
    facets: FacetReader = NO_TABLES
    #: The last second of which it learned a label.
    taught_until: int = 0
    #: What Adagrad remembers of ID rows as of the epoch that was kept, by `<table>.<state>`.
    remembered: Mapping[str, Tensor] = MappingProxyType({})
    #: The sealed ranker whose rows its own began with; "" where they began anew.
    carried_from: str = ""
    #: head -> s, of heads whose scores are smoothed over noise on their last layer
    smoothing: Mapping[str, float] = MappingProxyType({})

    @property
    def encoder(self) -> Encoder:
        """What makes numbers of rows, as it was trained on."""
        return Encoder(self.spec, self.head_ids, self.tail_ids, self.facets)

    @property
    def calibration(self) -> Calibration:
        """That of the first head."""
        return self.calibrations[self.config.heads.names[0]]

    @property
    def crossing_metrics(self) -> dict[str, float]:
        """What the crossing layers cost, and as a multiple of the budget, where there is one."""
        return crossing_metrics(row_width(self.shape, self.config), self.config)

    def scored(
        self, heads: EntityStates, tails: EntityStates, exposures: ExposureStates | None = None
    ) -> Scored:
        """As `Ranker.scored`, before it is sealed."""
        batch = self.encoder.encode(heads, tails, exposures)
        return scored_by(self.model, batch, self.config, self.calibrations, self.smoothing)


def scored_by(
    model: RankerModel,
    batch: FeatureBatch,
    config: RankerConfig,
    calibrations: Mapping[str, Calibration],
    smoothing: Mapping[str, float],
) -> Scored:
    """Logits and probabilities of every head, smoothed for each that `smoothing` has a scale of."""
    if smoothing:
        from ranking.fairsmooth.served import smoothed_scored  # most rankers do without scipy

        return smoothed_scored(model, batch, config, calibrations, smoothing)
    return calibrated(corrected_scores(model, batch, config), config, calibrations)


def calibrated(
    logits: Float64[np.ndarray, "n h"],
    config: RankerConfig,
    calibrations: Mapping[str, Calibration],
) -> Scored:
    """Corrected logits with what each head's calibration makes of its own."""
    probabilities = {
        name: calibrations[name].probabilities(own)
        for name, own in zip(config.heads.names, logits.T, strict=True)
    }
    return Scored(logits, probabilities)
