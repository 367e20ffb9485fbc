"""The door: a ranker is sealed, opened, and gives scores.

Takes a trained ranker, gives a sealed folder of safetensors and JSON and reads it back; never
trains. Serving calls `Ranker.score` with what it knows about entities and nothing else.

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
from ranking.calibration import Calibration, Platt, calibration_of
from ranking.config import (
    AttentionConfig,
    CrossingConfig,
    FeatureConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import FrameMismatch, HeadMissing, RankerFormat
from ranking.examples import kge_maps
from ranking.features import Encoder, FeatureBatch
from ranking.idtables.placement import Placement
from ranking.model import ModelShape, RankerModel, corrected_scores
from ranking.scored import CTCVR, Scored
from ranking.spec import FeatureSpec
from ranking.states import EntityStates, ExposureStates, alike

__all__ = [
    "CTCVR",
    "Beside",
    "EntityStates",
    "Explanation",
    "ExposureStates",
    "Ranker",
    "Scored",
    "TrainedRanker",
    "alike",
    "open_ranker",
    "seal_ranker",
]

#: Layout of the payload and files; a ranker of another one is refused by name, but for the former.
RANKER_FORMAT = 2
_FORMER_FORMAT = 1
#: Names of tensors when a ranker had one head -> names now.
_RENAMED = {
    "crossing.": "experts.stacks.0.layers.",
    "hidden.": "towers.0.hidden.",
    "last.": "towers.0.last.",
    "additive": "towers.0.additive",
}


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
    #: One entry per epoch, as yielded.
    trace: tuple[Mapping[str, Any], ...]

    @property
    def calibration(self) -> Calibration:
        """That of the first head."""
        return self.calibrations[self.config.heads.names[0]]

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
        return str(self.artifact.payload["arm"])

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
        return Explanation((spec.head.type, spec.tail.type, *self.relations), weights.numpy())


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
    )


def open_ranker(store: ArtifactStore, digest: str, bundle: Bundle) -> Ranker:
    """Open a sealed ranker, every byte checked, on a bundle of its frame.

    The bundle may be a later one than it was trained on, with further relations, which the ranker
    does not read. Raises `FrameMismatch`, also where it lacks one of the ranker's relations,
    `RankerFormat`, and the store's `ArtifactMissing` and `ArtifactDamaged`.
    """
    artifact = store.open("ranker", digest)
    payload = artifact.payload
    if payload.get("ranker_format") not in (_FORMER_FORMAT, RANKER_FORMAT):
        raise RankerFormat(
            f"ranker {digest} has ranker_format {payload.get('ranker_format')!r}, "
            f"this version reads {RANKER_FORMAT}; train it again"
        )
    if payload["frame"] != bundle.frame:
        raise FrameMismatch(
            f"ranker {digest} was trained in frame {payload['frame']}, "
            f"received bundle {bundle.digest} of frame {bundle.frame}"
        )
    spec = FeatureSpec.of_json(payload["spec"])
    maps = kge_maps(bundle, spec.head.type, spec.tail.type, payload.get("relations"))
    if len(maps.names) != payload["shape"]["relations"]:
        raise FrameMismatch(
            f"ranker {digest} reads {payload['shape']['relations']} relations from "
            f"{spec.head.type} to {spec.tail.type}, received bundle {bundle.digest} with "
            f"{', '.join(maps.names) or 'none'} of them"
        )
    config = config_of(artifact.dials)
    model = RankerModel(ModelShape(**payload["shape"]), config, maps)
    weights = load_file(artifact.file("weights.safetensors"))
    if payload["ranker_format"] == _FORMER_FORMAT:
        weights = _renamed(weights)
    model.load_state_dict(weights)
    ids = json.loads(artifact.file("ids.json").read_text(encoding="utf-8"))
    placements = (Placement(tuple(ids[side]), payload["buckets"]) for side in ("head", "tail"))
    return Ranker(
        artifact=artifact,
        model=model.eval(),
        encoder=Encoder(spec, *placements),
        calibrations=_calibrations(payload),
        relations=maps.names,
        config=config,
    )


def _renamed(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a ranker of the former format by their present names."""
    found = {}
    for name, tensor in weights.items():
        old = next((old for old in _RENAMED if name.startswith(old)), "")
        found[_RENAMED[old] + name.removeprefix(old) if old else name] = tensor
    return found


def _calibrations(payload: Mapping[str, Any]) -> dict[str, Calibration]:
    if payload["ranker_format"] == _FORMER_FORMAT:
        old = payload["calibration"]
        return {"ctr": Platt(old["slope"], old["offset"])}
    return {name: calibration_of(value) for name, value in payload["calibrations"].items()}


_PARTS = {
    "features": FeatureConfig,
    "ids": IdTableConfig,
    "crossing": CrossingConfig,
    "attention": AttentionConfig,
    "heads": HeadsConfig,
    "training": TrainingConfig,
}


def config_of(dials: Mapping[str, Any]) -> RankerConfig:
    """The dials of a manifest as the dataclass that they came from; what it lacks is as it was."""
    given = {"heads": {}, **dials}
    parts = {name: kind(**given[name]) for name, kind in _PARTS.items()}
    return RankerConfig(**{**dials, **parts})
