"""Every arm has as many trials, drawn alike, and each costs what its budget says."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from ctr_model import CtrDials
from ctr_trials import ARMS, SHAPES, budget, shapes_of, sizes, trial
from ctr_why import AS_CHOSEN, VARIANTS, varied

from ranking.config import CROSSINGS, CrossingConfig
from ranking.interactions.budget import dense_cost

BASE = CtrDials()
#: D = 192
FIELDS = 12


def flops_of(dials: CtrDials) -> int:
    return dense_cost(FIELDS * dials.embedding, dials.crossing, dials.hidden).matrix


def test_the_base_is_a_low_rank_dcn_v2_of_three_layers():
    # 3 * 4 * 192 * 24, and the head: 2 * 192 * 64 + 2 * 64
    assert budget(FIELDS, 1, BASE) == 55_296 + 24_576 + 128
    assert budget(FIELDS, 4, BASE) == 4 * 80_000


@pytest.mark.parametrize("times", [1, 2, 4, 8])
@pytest.mark.parametrize("arm", ARMS)
def test_a_trial_costs_what_its_budget_says(arm: str, times: int):
    flops = budget(FIELDS, times, BASE)
    for number in range(8):
        drawn = trial(arm, number, FIELDS, times, BASE)
        reached = flops_of(drawn.dials) / flops
        assert drawn.reached == pytest.approx(reached)
        # Whole matrices come in steps of 2 D^2 = 73,728 of 80,000.
        assert abs(reached - 1) <= (0.25 if arm == "dcn_v2_full" else 0.05), drawn.dials.crossing


def test_all_arms_try_the_same_rates_dropouts_and_decays():
    def rest(arm: str, number: int) -> CtrDials:
        return replace(trial(arm, number, FIELDS, 1, BASE).dials, crossing=CrossingConfig())

    for number in range(8):
        assert len({rest(arm, number) for arm in ARMS}) == 1
    assert rest("mlp", 0) == BASE, "the first trial is the default"
    assert len({rest("mlp", number) for number in range(8)}) == 8


def test_a_shape_is_tried_once_and_a_token_may_be_a_field():
    tokens = {shape.tokens for shape in shapes_of("wukong", FIELDS)}
    assert tokens == {FIELDS, 8}
    assert len(shapes_of("wukong", 8)) == 3 * 2, "8 fields and 8 tokens are the same"
    for arm, own in ARMS.items():
        shapes = shapes_of(arm, FIELDS)
        assert len(set(shapes)) == len(shapes)
        assert all(getattr(shape, dial) == v for shape in shapes for dial, v in own.items())


def test_every_family_has_an_arm_and_its_size_is_no_shape():
    assert set(SHAPES) == set(CROSSINGS) == {own["kind"] for own in ARMS.values()}
    for kind, shapes in SHAPES.items():
        assert CROSSINGS[kind] not in shapes


def test_where_no_shape_fits_the_nearest_is_taken():
    [found] = sizes("dcn_v2_full", FIELDS, budget(FIELDS, 1, BASE), BASE)
    # One layer: 2 * 192^2 and the head are 98,432 of 80,000.
    assert found.config.layers == 1
    assert found.reached == pytest.approx(98_432 / 80_000)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_change_changes_one_thing_and_not_the_cost(variant: str):
    chosen = trial("ml_dcn", 0, FIELDS, 1, BASE).dials
    flops = budget(FIELDS, 1, BASE)
    dials = varied(variant, chosen, FIELDS, flops)
    told = {name for _, name, _ in VARIANTS[variant]}
    for name in ("learning_rate", "dropout", "weight_decay", "mask_rate"):
        assert (getattr(dials, name) != getattr(chosen, name)) == (name in told)
    for name in CrossingConfig.__dataclass_fields__:
        same = getattr(dials.crossing, name) == getattr(chosen.crossing, name)
        assert same or name in told | {"rank_share"}, name
    if "rank_share" in told:
        factor = dials.crossing.rank_share / chosen.crossing.rank_share
        assert factor == pytest.approx(VARIANTS[variant][0][2])
    else:
        assert flops_of(dials) == pytest.approx(flops, rel=0.05)
    assert (dials == chosen) == (variant in (AS_CHOSEN, "rho-half"))
