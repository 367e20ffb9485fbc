"""The door: a ranker is sealed, opened, and gives scores.

Takes a trained ranker, gives a sealed folder of safetensors and JSON and reads it back; never
trains. Serving calls `Ranker.scored` with what it knows about entities and nothing else.

    weights.safetensors    every tensor of the model (the KGE's maps stay in the bundle); rows of
                           ids are read where they lie, by all processes that have it open
    ids.json               ids with a row of their own, in order of their rows
    curve.png              losses and AUC by epoch
    calibration.png        what happened against what was predicted, on TEST
    certificate.json       what is certified about groups, where scores are smoothed
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from safetensors.torch import save_file

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from kge.bundle import Bundle
from ranking.around import leads, mean_vectors
from ranking.calibration import Calibration
from ranking.config import RankerConfig
from ranking.errors import FacetUnavailable, FrameMismatch, HeadMissing
from ranking.examples import kge_maps
from ranking.features import Encoder, FeatureBatch, Side
from ranking.formats import (
    RANKER_FORMAT,
    calibrations_of,
    check_format,
    check_relations,
    config_of,
    others_of,
)
from ranking.idtables.placement import Placement
from ranking.idtables.tiers import CPU_ALONE, TierPlan, Tiers
from ranking.model import SCORE_BATCH, ModelShape, RankerModel
from ranking.placing import as_sealed, needs, placed, sealed_weights
from ranking.pretraining.reader import FacetReader
from ranking.pretraining.tables import open_table
from ranking.reasons import FieldChanges, field_changes, led_to, without_kge
from ranking.scored import CTCVR, Scored, heads_of
from ranking.spec import FeatureSpec
from ranking.states import Around, EntityStates, ExposureStates, alike
from ranking.trained import TrainedRanker, scored_by

#: The file of every tensor, and of what is certified about groups.
_WEIGHTS = "weights.safetensors"
_CERTIFICATE = "certificate.json"

__all__ = [
    "CPU_ALONE",
    "CTCVR",
    "Around",
    "Beside",
    "EntityStates",
    "Explanation",
    "ExposureStates",
    "FieldChanges",
    "Ranker",
    "Scored",
    "Side",
    "Tiers",
    "TrainedRanker",
    "alike",
    "certificate_of",
    "mean_vectors",
    "open_ranker",
    "seal_ranker",
]


class Beside(NamedTuple):
    """What a sealed ranker holds beside itself."""

    #: head -> what `ranking.reliability` found on TEST
    reliability: Mapping[str, Any]
    #: file -> bytes
    pictures: Mapping[str, bytes]
    #: what is certified about groups, of a ranker with smoothed scores
    certificate: Mapping[str, Any] | None = None
    #: How it was trained, where not by plain epochs in one place: dials, rounds, bytes, groups.
    training: Mapping[str, Any] | None = None


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
    smoothing: Mapping[str, float] = field(default_factory=dict)
    #: Where its parts lie; None of one that has just been sealed.
    placement: TierPlan | None = None

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
        return scored_by(self.model, batch, self.config, self.calibrations, self.smoothing)

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
    """Write a trained ranker as a sealed artifact, child of its snapshot, bundle and tables.

    Raises `FacetUnavailable` where a table that it reads is not sealed.
    """
    payload: dict[str, Any] = {
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
        "smoothing": dict(trained.smoothing),
        "trace": [dict(progress) for progress in trained.trace],
        "tables": dict(trained.tables),
        "placement": needs(trained.model, trained.config.ids.served),
        "facets": list(trained.facets.digests),
    }
    payload |= {} if beside.training is None else {"training": dict(beside.training)}
    recipe = Recipe(
        kind="ranker",
        parents={"snapshot": snapshot_digest, "bundle": bundle_digest, **_tables(trained)},
        dials=asdict(trained.config),
        payload=payload,
        metrics=metrics,
    )
    with store.draft() as folder:
        save_file(sealed_weights(trained.model, trained.config.ids.served), folder / _WEIGHTS)
        ids = {"head": trained.head_ids.exclusive, "tail": trained.tail_ids.exclusive}
        (folder / "ids.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
        if beside.certificate is not None:
            text = json.dumps(beside.certificate, ensure_ascii=False, indent=1)
            (folder / _CERTIFICATE).write_text(text, encoding="utf-8")
        for name, picture in beside.pictures.items():
            (folder / name).write_bytes(picture)
        artifact = store.seal(folder, recipe)
    return Ranker(
        artifact=artifact,
        model=as_sealed(trained.model, artifact.file(_WEIGHTS)),
        encoder=trained.encoder,
        calibrations=trained.calibrations,
        relations=trained.relations,
        config=trained.config,
        others=trained.others,
        smoothing=trained.smoothing,
    )


def _tables(trained: TrainedRanker) -> dict[str, str]:
    """The parents that are tables, by their places."""
    if not all(trained.facets.digests):
        raise FacetUnavailable("tables should be sealed before a ranker that reads them is")
    return {f"table_{n}": digest for n, digest in enumerate(trained.facets.digests, start=1)}


def open_ranker(
    store: ArtifactStore, digest: str, bundle: Bundle, *, tiers: Tiers = CPU_ALONE
) -> Ranker:
    """Open a sealed ranker, every byte checked, on a bundle of its frame.

    The bundle may be a later one than it was trained on, with further relations, which the ranker
    does not read. Where its parts lie follows from `tiers`. Raises `FrameMismatch`, also where
    the bundle lacks one of the ranker's relations, `RankerFormat`, `TableFormat`, `TableMemory`,
    and the store's `ArtifactMissing` and `ArtifactDamaged`.
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
    check_relations(digest, payload, bundle, maps)
    config = config_of(payload, artifact.dials)
    smoothing = payload.get("smoothing", {})
    # Smoothed scores read towers one by one, on the CPU.
    given = tiers._replace(device="") if smoothing else tiers
    # Its rows are found in the file, so none is made for them.
    shape = replace(ModelShape(**payload["shape"]), head_rows=1, tail_rows=1)
    model, placement = placed(
        RankerModel(shape, config, maps), artifact.file(_WEIGHTS), payload, given
    )
    ids = json.loads(artifact.file("ids.json").read_text(encoding="utf-8"))
    reader = FacetReader([open_table(store, one) for one in payload.get("facets", ())])
    heads, tails = (Placement(tuple(ids[side]), payload["buckets"]) for side in ("head", "tail"))
    return Ranker(
        artifact=artifact,
        model=model,
        encoder=Encoder(spec, heads, tails, reader),
        calibrations=calibrations_of(payload),
        relations=maps.names,
        config=config,
        others=maps.other_names,
        smoothing=smoothing,
        placement=placement,
    )


def certificate_of(artifact: Artifact) -> dict[str, Any]:
    """What is certified about groups, as it lies beside a sealed ranker.

    Raises the store's `ArtifactMissing` where nothing is certified.
    """
    told: dict[str, Any] = json.loads(artifact.file(_CERTIFICATE).read_text(encoding="utf-8"))
    return told
