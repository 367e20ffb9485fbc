"""The door: a ranker is sealed, opened, and gives scores.

Takes a trained ranker, gives a sealed folder of safetensors and JSON and reads it back; never
trains. Serving calls `Ranker.scored` with what it knows about entities and nothing else.

    weights.safetensors    every tensor of the model (the KGE's maps stay in the bundle); rows of
                           ids are read where they lie, by all processes that have it open
    ids.json               ids with a row of their own, in order of their rows
    curve.png              losses and AUC by epoch
    calibration.png        what happened against what was predicted, on TEST
    certificate.json       what is certified about groups, where scores are smoothed
    optimizer.safetensors  what Adagrad remembers of rows of ids, for who goes on from them
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from graphsvc.errors import ArtifactDamaged, ArtifactFormat, ArtifactMissing
from kge.bundle import Bundle
from ranking.around import mean_vectors
from ranking.carrying import REMEMBERED, TAUGHT_UNTIL
from ranking.errors import FacetUnavailable, ForwardUnusable, FrameMismatch
from ranking.examples import kge_maps
from ranking.features import Encoder, Side
from ranking.formats import (
    RANKER_FORMAT,
    calibrations_of,
    check_format,
    check_relations,
    config_of,
    others_of,
)
from ranking.forward import FILE as FORWARD
from ranking.forward import Forward
from ranking.idtables.placement import Placement
from ranking.idtables.tiers import CPU, CPU_ALONE, Tiers
from ranking.model import ModelShape, RankerModel
from ranking.placing import as_sealed, needs, placed, sealed_weights
from ranking.pretraining.reader import FacetReader
from ranking.pretraining.tables import open_table
from ranking.ranker import Explanation, Ranker
from ranking.reasons import FieldChanges
from ranking.scored import CTCVR, Scored
from ranking.spec import FeatureSpec
from ranking.states import Around, EntityStates, ExposureStates, alike
from ranking.trained import TrainedRanker

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
        TAUGHT_UNTIL: trained.taught_until,
    }
    payload |= {} if beside.training is None else {"training": dict(beside.training)}
    recipe = Recipe(
        kind="ranker",
        parents={"snapshot": snapshot_digest, "bundle": bundle_digest, **_more_parents(trained)},
        dials=asdict(trained.config),
        payload=payload,
        metrics=metrics,
    )
    with store.draft() as folder:
        _write(folder, trained, beside)
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


def _write(folder: Path, trained: TrainedRanker, beside: Beside) -> None:
    save_file(sealed_weights(trained.model, trained.config.ids.served), folder / _WEIGHTS)
    if trained.remembered:
        save_file(dict(trained.remembered), folder / REMEMBERED)
    ids = {"head": trained.head_ids.exclusive, "tail": trained.tail_ids.exclusive}
    (folder / "ids.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    if beside.certificate is not None:
        text = json.dumps(beside.certificate, ensure_ascii=False, indent=1)
        (folder / _CERTIFICATE).write_text(text, encoding="utf-8")
    for name, picture in beside.pictures.items():
        (folder / name).write_bytes(picture)


def _more_parents(trained: TrainedRanker) -> dict[str, str]:
    """The tables that it reads, by their places, and the ranker whose rows its own began with."""
    if not all(trained.facets.digests):
        raise FacetUnavailable("tables should be sealed before a ranker that reads them is")
    found = {f"table_{n}": digest for n, digest in enumerate(trained.facets.digests, start=1)}
    return found | ({"rows_of": trained.carried_from} if trained.carried_from else {})


def open_ranker(
    store: ArtifactStore,
    digest: str,
    bundle: Bundle,
    *,
    tiers: Tiers = CPU_ALONE,
    forward: str | None = None,
) -> Ranker:
    """Open a sealed ranker, every byte checked, on a bundle of its frame.

    `forward`: the digest of its exported network, which answers where that lies on the CPU.

    The bundle may be a later one than it was trained on, with further relations, which the ranker
    does not read. Where its parts lie follows from `tiers`. Raises `FrameMismatch`, also where
    the bundle lacks one of the ranker's relations, `RankerFormat`, `TableFormat`, `TableMemory`,
    `ForwardUnusable`,
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
    exported = None if forward is None else _exported(store, forward)
    fresh = RankerModel(shape, config, maps)
    model, placement = placed(fresh, artifact.file(_WEIGHTS), payload, given, exported=exported)
    ids = json.loads(artifact.file("ids.json").read_text(encoding="utf-8"))
    answers = None
    if exported is not None and placement.upper_tier == CPU:
        answers = Forward(exported, model)
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
        forward=answers,
    )


def _exported(store: ArtifactStore, digest: str) -> Path:
    try:
        return store.open("forward", digest).file(FORWARD)
    except (ArtifactDamaged, ArtifactFormat, ArtifactMissing) as error:
        raise ForwardUnusable(f"forward {digest} cannot be used: {error}") from error


def certificate_of(artifact: Artifact) -> dict[str, Any]:
    """What is certified about groups, as it lies beside a sealed ranker.

    Raises the store's `ArtifactMissing` where nothing is certified.
    """
    told: dict[str, Any] = json.loads(artifact.file(_CERTIFICATE).read_text(encoding="utf-8"))
    return told
