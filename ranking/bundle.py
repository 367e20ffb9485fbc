"""The door: a ranker is sealed, opened, and gives scores.

Takes a trained ranker, gives a sealed folder of safetensors and JSON and reads it back; never
trains. Serving calls `Ranker.score` with what it knows about entities and nothing else.

    weights.safetensors    every tensor of the model (the KGE's maps stay in the bundle)
    ids.json               ids with a row of their own, in order of their rows
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
from ranking.calibration import Platt
from ranking.config import (
    ARMS,
    AttentionConfig,
    CrossingConfig,
    FeatureConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import FrameMismatch, RankerFormat
from ranking.examples import KgeMaps, kge_maps
from ranking.features import Encoder
from ranking.idtables.placement import Placement
from ranking.model import ModelShape, RankerModel, raw_scores
from ranking.reasons import FieldChanges, field_changes, led_to, without_kge
from ranking.spec import FeatureSpec
from ranking.states import Around, EntityStates

__all__ = [
    "Around",
    "EntityStates",
    "Explanation",
    "FieldChanges",
    "Ranker",
    "TrainedRanker",
    "mean_vectors",
    "open_ranker",
    "seal_ranker",
]

#: Layout of the payload and files.
RANKER_FORMAT = 2
#: Those that open, the others are refused by name. 1: no tokens of what tails lead to.
_READ = (1, 2)


class TrainedRanker(NamedTuple):
    """Everything that a ranker is, before it is sealed."""

    model: RankerModel
    shape: ModelShape
    spec: FeatureSpec
    head_ids: Placement
    tail_ids: Placement
    calibration: Platt
    config: RankerConfig
    #: Names of the relations from head to tail type, in the order of the tokens.
    relations: tuple[str, ...]
    #: One entry per epoch, as yielded.
    trace: tuple[Mapping[str, float], ...]
    #: Names of the other relations from the head type that have a token, behind those.
    others: tuple[str, ...] = ()


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
    calibration: Platt
    relations: tuple[str, ...]
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

    def leads(self, bundle: Bundle) -> dict[str, str]:
        """Structure relation -> the type it leads to, as far as it reads where that lies."""
        known = leads(bundle.relations, self.head_type, self.tail_type)
        return {name: type_ for name, type_ in known.items() if type_ in self.encoder.spec.around}

    def score(self, heads: EntityStates, tails: EntityStates) -> Float64[np.ndarray, "n"]:
        """Calibrated probabilities of the outcome, in [0, 1].

        Heads are one (beside every tail) or as many as tails (pair by pair). Raises
        `StatesMismatch`.
        """
        return self.calibration.probabilities(self.logits(heads, tails))

    def logits(self, heads: EntityStates, tails: EntityStates) -> Float64[np.ndarray, "n"]:
        """What `score` gives, before calibration."""
        return raw_scores(self.model, self.encoder.encode(heads, tails))

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

    def field_changes(self, heads: EntityStates, tails: EntityStates) -> FieldChanges:
        """What each field that it reads adds to the logits: see `ranking/reasons.py`."""
        return field_changes(self.model, self.encoder, heads, tails)

    def score_without_kge(
        self, heads: EntityStates, tails: EntityStates
    ) -> Float64[np.ndarray, "n"]:
        """`score` of the same pairs if no vector of theirs were known."""
        bare = [without_kge(self.model, states) for states in (heads, tails)]
        return self.score(bare[0], bare[1])


def seal_ranker(
    store: ArtifactStore,
    trained: TrainedRanker,
    *,
    snapshot_digest: str,
    bundle_digest: str,
    frame: str,
    metrics: Mapping[str, Any],
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
        "calibration": {"method": "platt", **trained.calibration._asdict()},
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
        artifact = store.seal(folder, recipe)
    encoder = Encoder(trained.spec, trained.head_ids, trained.tail_ids)
    return Ranker(
        artifact, trained.model, encoder, trained.calibration, trained.relations, trained.others
    )


def open_ranker(store: ArtifactStore, digest: str, bundle: Bundle) -> Ranker:
    """Open a sealed ranker, every byte checked, on a bundle of its frame.

    The bundle may be a later one than it was trained on, with further relations, which the ranker
    does not read. Raises `FrameMismatch`, also where it lacks one of the ranker's relations,
    `RankerFormat`, and the store's `ArtifactMissing` and `ArtifactDamaged`.
    """
    artifact = store.open("ranker", digest)
    payload = artifact.payload
    _check_format(digest, payload)
    if payload["frame"] != bundle.frame:
        raise FrameMismatch(
            f"ranker {digest} was trained in frame {payload['frame']}, "
            f"received bundle {bundle.digest} of frame {bundle.frame}"
        )
    spec = FeatureSpec.of_json(payload["spec"])
    others = payload.get("others", ())  # rankers of format 1 know of none
    maps = kge_maps(bundle, spec.head.type, spec.tail.type, payload.get("relations"), others)
    _check_relations(digest, payload, bundle, maps)
    model = RankerModel(ModelShape(**payload["shape"]), config_of(artifact.dials), maps)
    model.load_state_dict(load_file(artifact.file("weights.safetensors")))
    ids = json.loads(artifact.file("ids.json").read_text(encoding="utf-8"))
    placements = (Placement(tuple(ids[side]), payload["buckets"]) for side in ("head", "tail"))
    calibration = Platt(payload["calibration"]["slope"], payload["calibration"]["offset"])
    encoder = Encoder(spec, *placements)
    return Ranker(artifact, model.eval(), encoder, calibration, maps.names, maps.other_names)


def _check_relations(
    digest: str, payload: Mapping[str, Any], bundle: Bundle, maps: KgeMaps
) -> None:
    """Refuse a bundle that lacks a relation which the ranker reads."""
    head, tail = (payload["spec"][side]["type"] for side in ("head", "tail"))
    reads, number = f"relations from {head} to {tail}", payload["shape"]["relations"]
    if len(maps.names) != number:
        found = maps.names
    elif len(maps.other_names) != len(payload.get("others", ())):
        reads, number, found = (
            f"other relations from {head}",
            len(payload["others"]),
            maps.other_names,
        )
    else:
        return
    raise FrameMismatch(
        f"ranker {digest} reads {number} {reads}, received bundle {bundle.digest} with "
        f"{', '.join(found) or 'none'} of them"
    )


def _check_format(digest: str, payload: Mapping[str, Any]) -> None:
    """Refuse a ranker of a layout, or with an arm, that is not known here."""
    for name, known in (("ranker_format", _READ), ("arm", tuple(ARMS))):
        if payload.get(name) not in known:
            raise RankerFormat(
                f"ranker {digest} has {name} {payload.get(name)!r}, this version reads "
                f"{', '.join(map(str, known))}; train it again"
            )


_PARTS = {
    "features": FeatureConfig,
    "ids": IdTableConfig,
    "crossing": CrossingConfig,
    "attention": AttentionConfig,
    "training": TrainingConfig,
}


def config_of(dials: Mapping[str, Any]) -> RankerConfig:
    """The dials of a manifest as the dataclass that they came from."""
    told = {**dials, "crossing": _crossing_dials(dials["crossing"])}
    parts = {name: kind(**told[name]) for name, kind in _PARTS.items()}
    return RankerConfig(**{**told, **parts})


def _crossing_dials(told: Mapping[str, Any]) -> dict[str, Any]:
    """Dials of a crossing; rankers of before have switches for what is named by words now."""
    dials = dict(told)
    if "layer_norm" in dials:
        dials["norm"] = "after" if dials.pop("layer_norm") else "none"
    if isinstance(dials.get("mask"), bool):
        dials["mask"] = "instance" if dials["mask"] else "none"
    return dials
