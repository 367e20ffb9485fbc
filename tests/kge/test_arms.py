"""The four arms: what each sets, what a refresh begins with, and that the figures are whole."""

from pathlib import Path

from loops import finish

from graphsvc.artifact import ArtifactStore
from kge.arms import BEFORE, SWITCHES, arm_dials, frames_kept, train_arms
from kge.config import TransRAConfig
from kge.dials import Dials

EDGES = [(f"u{u}", "click", f"f{f}") for u in range(8) for f in range(8) if u // 4 == f // 4]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(8)]
SMALL = Dials(
    dim=8, relation_dim=8, block=4, batch=8, epochs=8.0, anchors_per_type=2, nearest_anchors=2
)


def trained(snapshot, store):
    """The bundles of the arms, and in how many steps each was made."""
    trace, bundles = finish(train_arms(snapshot, store, SMALL))
    return bundles, {arm: told.step for arm, told in trace}


def test_an_arm_sets_its_switches_and_nothing_else():
    for arm, switches in SWITCHES.items():
        dials = arm_dials(arm, SMALL)
        assert {name: getattr(dials, name) for name in switches} == dict(switches)
        assert dials.dim == SMALL.dim
        assert dials.seed is None
    assert arm_dials("frame", SMALL) == arm_dials("transr", SMALL) != arm_dials("both", SMALL)


def test_refreshes_begin_with_the_other_arms_and_keep_their_frames(
    make_snapshot, store: ArtifactStore, tmp_path: Path
):
    snapshot = make_snapshot(EDGES)
    bundles, steps = trained(snapshot, store)
    assert list(bundles) == list(SWITCHES) == ["transr", "compose", "frame", "both"]
    for arm, other in BEFORE.items():
        assert steps[arm] == round(TransRAConfig().refresh_share * steps[other])
        assert bundles[arm].digest != bundles[other].digest
    assert frames_kept(bundles) == {"frame": True, "both": True}
    assert bundles["transr"].frame != bundles["compose"].frame
    assert bundles["transr"].leaning is None
    assert bundles["compose"].leaning is not None
    again, _ = trained(snapshot, ArtifactStore(tmp_path / "again"))
    assert {arm: one.digest for arm, one in again.items()} == {
        arm: one.digest for arm, one in bundles.items()
    }
