"""A ranker that can be asked: scores of pairs, and why they are what they are.

Takes what is known of entities, gives logits, probabilities and reasons; never opens a file, and
never trains.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float64

from graphsvc.artifact import Artifact
from kge.bundle import Bundle
from ranking.around import leads
from ranking.calibration import Calibration
from ranking.config import RankerConfig
from ranking.errors import HeadMissing
from ranking.features import Encoder, FeatureBatch, Side
from ranking.forward import Forward
from ranking.idtables.tiers import TierPlan
from ranking.model import SCORE_BATCH, RankerModel, corrected_heads
from ranking.reasons import FieldChanges, field_changes, led_to, without_kge
from ranking.scored import CTCVR, Scored, heads_of
from ranking.states import EntityStates, ExposureStates
from ranking.trained import calibrated, scored_by


@dataclass(frozen=True)
class Explanation:
    """Why pairs got their scores: attention weights [n, 2, T] of head and tail over T tokens."""

    tokens: tuple[str, ...]
    weights: np.ndarray


@dataclass(frozen=True)
class Ranker:
    """A sealed ranker, opened on a bundle of its frame."""

    artifact: Artifact
    model: RankerModel
    encoder: Encoder
    #: head -> how its logits become probabilities
    calibrations: Mapping[str, Calibration]
    relations: tuple[str, ...]
    config: RankerConfig
    #: Other relations from the head type that it attends to.
    others: tuple[str, ...] = ()
    smoothing: Mapping[str, float] = field(default_factory=dict)
    #: Where its parts lie; None of one that has just been sealed.
    placement: TierPlan | None = None
    #: Its network as it was exported; without, it answers as training has it.
    forward: Forward | None = None

    @property
    def digest(self) -> str:
        return self.artifact.digest

    @property
    def frame(self) -> str:
        """The coordinate frame of the vectors it reads."""
        return str(self.artifact.payload["frame"])

    @property
    def bundle_digest(self) -> str:
        """The bundle it was trained on."""
        return self.artifact.parents["bundle"]

    @property
    def snapshot_digest(self) -> str:
        return self.artifact.parents["snapshot"]

    @property
    def arm(self) -> str:
        return self.config.arm

    @property
    def head_type(self) -> str:
        return self.encoder.spec.head.type

    @property
    def tail_type(self) -> str:
        return self.encoder.spec.tail.type

    @property
    def head_attributes(self) -> tuple[str, ...]:
        """Attributes of heads that it reads; others may be left out of the states."""
        return self.encoder.spec.head.attributes

    @property
    def tail_attributes(self) -> tuple[str, ...]:
        return self.encoder.spec.tail.attributes

    def leads(self, bundle: Bundle) -> dict[str, str]:
        """Structure relation -> the type it leads to, as far as it reads where that lies."""
        known = leads(bundle.relations, self.head_type, self.tail_type)
        return {name: type_ for name, type_ in known.items() if type_ in self.encoder.spec.around}

    @property
    def head_names(self) -> tuple[str, ...]:
        """What it answers: ctr, cvr, or both."""
        return self.config.heads.names

    @property
    def orders(self) -> tuple[str, ...]:
        """What answers may be ordered by; the first one unless another is asked for."""
        return (*self.head_names, CTCVR) if len(self.head_names) > 1 else self.head_names

    @property
    def reads_position(self) -> bool:
        """Whether the place of an exposure changes what it says."""
        return self.encoder.spec.exposure.places > 0

    @property
    def served_position(self) -> int:
        """The place that answers are for where none is asked for."""
        return self.encoder.spec.exposure.served

    def check_order(self, order: str | None) -> str:
        """The order that is meant: the first one where none is named. Raises `HeadMissing`."""
        if order is None:
            return self.orders[0]
        if order not in self.orders:
            raise HeadMissing(
                f"order should be one of {', '.join(self.orders)}, which this ranker has, "
                f"received {order!r}"
            )
        return order

    @property
    def computed_by(self) -> str:
        """What computes its network when it answers."""
        return "PyTorch, as in training" if self.forward is None else "ONNX Runtime"

    def scored(
        self, heads: EntityStates, tails: EntityStates, exposures: ExposureStates | None = None
    ) -> Scored:
        """Logits and calibrated probabilities of every head.

        Heads, and exposures, are one (beside every tail) or as many as tails (pair by pair).
        Without exposures all tails stand in the served place, at no hour in particular. Raises
        `StatesMismatch`.
        """
        return self._scored(self.encoder.encode(heads, tails, exposures))

    def scored_sides(self, head: Side, tail: Side, exposures: ExposureStates) -> Scored:
        """`scored` of what the encoder has made of heads and tails. Raises `StatesMismatch`."""
        return self._scored(self.encoder.together(head, tail, exposures))

    @property
    def at_once(self) -> int | None:
        """How many pairs it is best asked about at once; None: however many there are.

        What is gathered of so many is still in the processor's cache when the network reads it. A
        GPU computes some while others are gathered, if it is asked about all of them.
        """
        return SCORE_BATCH if self.model.norm.weight.device.type == "cpu" else None

    def _scored(self, batch: FeatureBatch) -> Scored:
        if self.forward is None:
            return scored_by(self.model, batch, self.config, self.calibrations, self.smoothing)
        logits = corrected_heads(self.forward.logits(batch), self.config)
        return calibrated(logits, self.config, self.calibrations)

    def score(
        self, heads: EntityStates, tails: EntityStates, exposures: ExposureStates | None = None
    ) -> Float64[np.ndarray, "n"]:
        """Calibrated probabilities of the first head, in [0, 1]; as `scored`."""
        return self.scored(heads, tails, exposures).probabilities[self.head_names[0]]

    def logits(
        self, heads: EntityStates, tails: EntityStates, exposures: ExposureStates | None = None
    ) -> Float64[np.ndarray, "n"]:
        """What `score` gives, before calibration."""
        return self.scored(heads, tails, exposures).logits[:, 0]

    def explain(self, heads: EntityStates, tails: EntityStates) -> Explanation | None:
        """Attention over the KGE's tokens; None for a ranker without attention."""
        with torch.inference_mode():
            weights = self.model.eval().parts(self.encoder.encode(heads, tails)).weights
        if weights is None:
            return None
        spec = self.encoder.spec
        around = [led_to(spec.tail.type, type_) for type_ in spec.around]
        names = (spec.head.type, spec.tail.type, *self.relations, *self.others, *around)
        return Explanation(names, weights.cpu().numpy())

    def field_changes(
        self,
        heads: EntityStates,
        tails: EntityStates,
        exposures: ExposureStates | None = None,
        *,
        order: str | None = None,
    ) -> FieldChanges:
        """What each field that it reads adds to the logits: see `ranking/reasons.py`.

        `order`: to which, by default to the first head's; of `ctcvr` to the sum of both.
        """
        wanted = heads_of(self.check_order(order), self.head_names)
        columns = [self.head_names.index(name) for name in wanted]
        return field_changes(
            self.model, self.encoder, heads, tails, exposures=exposures, columns=columns
        )

    def scored_without_kge(
        self, heads: EntityStates, tails: EntityStates, exposures: ExposureStates | None = None
    ) -> Scored:
        """`scored` of the same pairs if no vector of theirs were known."""
        bare = [without_kge(self.model, states) for states in (heads, tails)]
        return self.scored(bare[0], bare[1], exposures)
