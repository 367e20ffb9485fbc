"""The door: a ranker is sealed, opened, and gives scores.

Takes a trained ranker, gives a sealed folder of safetensors and JSON and reads it back; never
trains. Serving calls `Ranker.scored` with what it knows about entities and nothing else.

    weights.safetensors    every tensor of the model (the KGE's maps stay in the bundle)
    ids.json               ids with a row of their own, in order of their rows
    curve.png              losses and AUC by epoch
    calibration.png        what happened against what was predicted, on TEST
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from safetensors.torch import load_file, save_file

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from kge.bundle import Bundle
from ranking.around import leads, mean_vectors
from ranking.calibration import Calibration
from ranking.config import RankerConfig
from ranking.errors import FrameMismatch, HeadMissing
from ranking.examples import KgeMaps, kge_maps
from ranking.features import Encoder, FeatureBatch
from ranking.formats import (
    RANKER_FORMAT,
    calibrations_of,
    check_format,
    config_of,
    others_of,
    weights_of,
)
from ranking.idtables.placement import Placement
from ranking.interactions.budget import crossing_metrics
from ranking.model import ModelShape, RankerModel, corrected_scores, row_width
from ranking.reasons import FieldChanges, field_changes, led_to, without_kge
from ranking.scored import CTCVR, Scored, heads_of
from ranking.spec import FeatureSpec
from ranking.states import Around, EntityStates, ExposureStates, alike

__all__ = [
    "CTCVR",
    "Around",
    "Beside",
    "EntityStates",
    "Explanation",
    "ExposureStates",
    "FieldChanges",
    "Ranker",
    "Scored",
    "TrainedRanker",
    "alike",
    "mean_vectors",
    "open_ranker",
    "seal_ranker",
]


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
        encoder = Encoder(self.spec, self.head_ids, self.tail_ids)
        return _scored(self, encoder.encode(heads, tails, exposures))


class Beside(NamedTuple):
    """What a sealed ranker holds beside itself."""

    #: head -> what `ranking.reliability` found on TEST
    reliability: Mapping[str, Any]
    #: file -> bytes
    pictures: Mapping[str, bytes]


_ALONE = Beside({}, {})


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

    def scored(
        self, heads: EntityStates, tails: EntityStates, exposures: ExposureStates | None = None
    ) -> Scored:
        """Logits and calibrated probabilities of every head.

        Heads, and exposures, are one (beside every tail) or as many as tails (pair by pair).
        Without exposures all tails stand in the served place, at no hour in particular. Raises
        `StatesMismatch`.
        """
        return _scored(self, self.encoder.encode(heads, tails, exposures))

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
        return Explanation(names, weights.numpy())

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


def _scored(ranker: Ranker | TrainedRanker, batch: FeatureBatch) -> Scored:
    logits = corrected_scores(ranker.model, batch, ranker.config)
    probabilities = {
        name: ranker.calibrations[name].probabilities(own)
        for name, own in zip(ranker.config.heads.names, logits.T, strict=True)
    }
    return Scored(logits, probabilities)


def seal_ranker(
    store: ArtifactStore,
    trained: TrainedRanker,
    *,
    snapshot_digest: str,
    bundle_digest: str,
    frame: str,
    metrics: Mapping[str, Any],
    beside: Beside = _ALONE,
) -> Ranker:
    """Write a trained ranker as a sealed artifact, child of its snapshot and bundle."""
    payload = {
        "ranker_format": RANKER_FORMAT,
        "frame": frame,
        "arm": trained.config.arm,
        "spec": trained.spec.as_json(),
        "shape": trained.shape.as_json(),
        "buckets": trained.config.ids.buckets,
        "relations": list(trained.relations),
        "others": list(trained.others),
        "heads": list(trained.config.heads.names),
        "calibrations": {name: one.as_json() for name, one in trained.calibrations.items()},
        "reliability": {"span": "test", "heads": dict(beside.reliability)},
        "trace": [dict(progress) for progress in trained.trace],
    }
    recipe = Recipe(
        kind="ranker",
        parents={"snapshot": snapshot_digest, "bundle": bundle_digest},
        dials=asdict(trained.config),
        payload=payload,
        metrics=metrics,
    )
    with store.draft() as folder:
        weights = {name: t.contiguous() for name, t in trained.model.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        ids = {"head": trained.head_ids.exclusive, "tail": trained.tail_ids.exclusive}
        (folder / "ids.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
        for name, picture in beside.pictures.items():
            (folder / name).write_bytes(picture)
        artifact = store.seal(folder, recipe)
    return Ranker(
        artifact=artifact,
        model=trained.model,
        encoder=Encoder(trained.spec, trained.head_ids, trained.tail_ids),
        calibrations=trained.calibrations,
        relations=trained.relations,
        config=trained.config,
        others=trained.others,
    )


def open_ranker(store: ArtifactStore, digest: str, bundle: Bundle) -> Ranker:
    """Open a sealed ranker, every byte checked, on a bundle of its frame.

    The bundle may be a later one than it was trained on, with further relations, which the ranker
    does not read. Raises `FrameMismatch`, also where it lacks one of the ranker's relations,
    `RankerFormat`, and the store's `ArtifactMissing` and `ArtifactDamaged`.
    """
    artifact = store.open("ranker", digest)
    payload = artifact.payload
    check_format(digest, payload)
    if payload["frame"] != bundle.frame:
        raise FrameMismatch(
            f"ranker {digest} was trained in frame {payload['frame']}, "
            f"received bundle {bundle.digest} of frame {bundle.frame}"
        )
    spec = FeatureSpec.of_json(payload["spec"])
    maps = kge_maps(
        bundle, spec.head.type, spec.tail.type, payload.get("relations"), others_of(payload)
    )
    _check_relations(digest, payload, bundle, maps)
    config = config_of(payload, artifact.dials)
    model = RankerModel(ModelShape(**payload["shape"]), config, maps)
    weights = load_file(artifact.file("weights.safetensors"))
    model.load_state_dict(weights_of(payload, weights))
    ids = json.loads(artifact.file("ids.json").read_text(encoding="utf-8"))
    placements = (Placement(tuple(ids[side]), payload["buckets"]) for side in ("head", "tail"))
    return Ranker(
        artifact=artifact,
        model=model.eval(),
        encoder=Encoder(spec, *placements),
        calibrations=calibrations_of(payload),
        relations=maps.names,
        config=config,
        others=maps.other_names,
    )


def _check_relations(
    digest: str, payload: Mapping[str, Any], bundle: Bundle, maps: KgeMaps
) -> None:
    """Refuse a bundle that lacks a relation which the ranker reads."""
    head, tail = (payload["spec"][side]["type"] for side in ("head", "tail"))
    told = (
        (f"relations from {head} to {tail}", payload["shape"]["relations"], maps.names),
        (f"other relations from {head}", len(others_of(payload)), maps.other_names),
    )
    for reads, number, found in told:
        if len(found) != number:
            raise FrameMismatch(
                f"ranker {digest} reads {number} {reads}, received bundle {bundle.digest} with "
                f"{', '.join(found) or 'none'} of them"
            )
