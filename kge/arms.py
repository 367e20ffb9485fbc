"""TransRA's four arms: which of its two anchor mechanisms is on, compose and frame.

Takes dials and names of arms, gives dials and trainings; never measures anything.

    transr    neither: a vector of its own for every entity, as in TransR
    compose   an entity with few edges leans on anchors
    frame     a refresh is held where the bundle before had the anchors
    both      compose and frame

All other dials are the same in every arm, so their difference is the anchors'. With the original
loss, matrices and directions too, which are dials, `transr` is TransR itself.

The frame means something for a second training alone. So `frame` and `both` are refreshes: they
begin with the bundle of `transr` and of `compose`, and train on for `refresh_share` of the epochs.
"""

from collections.abc import Generator, Mapping
from dataclasses import asdict, replace
from typing import Any

from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import Snapshot
from kge.bundle import Bundle, seal_bundle
from kge.dials import Dials
from kge.progress import Progress
from kge.train import begin

#: What an arm sets; all other dials are the caller's, or follow from the graph.
SWITCHES: Mapping[str, Mapping[str, Any]] = {
    "transr": {"gate_edges": 0.0, "prior_share": 0.0},
    "compose": {"gate_edges": 20.0},
    "frame": {"gate_edges": 0.0, "prior_share": 0.0},
    "both": {"gate_edges": 20.0},
}
#: The arm whose bundle a refresh begins with.
BEFORE: Mapping[str, str] = {"frame": "transr", "both": "compose"}


def arm_dials(arm: str, dials: Dials) -> Dials:
    """The dials of an arm."""
    return replace(dials, **SWITCHES[arm])


def train_arms(
    snapshot: Snapshot, store: ArtifactStore, dials: Dials
) -> Generator[tuple[str, Progress], None, dict[str, Bundle]]:
    """Train all four on a snapshot, one after the other; gives the sealed bundles by arm.

    Raises `TooFewTriples`.
    """
    bundles: dict[str, Bundle] = {}
    for arm in SWITCHES:
        previous = bundles[BEFORE[arm]] if arm in BEFORE else None
        training = begin(snapshot, arm_dials(arm, dials), previous=previous)
        for told in training.steps():
            yield arm, told
        bundles[arm] = seal_bundle(
            store,
            snapshot.digest,
            training.trained().arrays(),
            dials=asdict(training.config),
            metrics={"loss": training.loss},
        )
    return bundles


def frames_kept(bundles: Mapping[str, Bundle]) -> dict[str, bool]:
    """Whether each refresh kept the frame of the bundle that it began with."""
    return {arm: bundles[arm].frame == bundles[other].frame for arm, other in BEFORE.items()}
