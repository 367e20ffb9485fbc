import dataclasses

import pytest

from ranking.config import CROSSINGS, SHARES, CrossingConfig
from ranking.errors import BudgetUnreachable
from ranking.interactions.budget import at_budget, dense_cost, nearest

D, HIDDEN = 32, 16
BASE = dense_cost(D, CrossingConfig(kind="dcn_v2", layers=3), HIDDEN).matrix


def every_size(config):
    """All there are, tried one by one."""
    axis = CROSSINGS[config.kind]
    if axis == "layers":
        return [dataclasses.replace(config, layers=n) for n in range(1, 65)]
    return [
        dataclasses.replace(config, **{axis: n / D}) for n in range(1, round(SHARES[axis] * D) + 1)
    ]


@pytest.mark.parametrize("times", [0.01, 1, 2, 4, 8, 1000])
@pytest.mark.parametrize("kind", CROSSINGS)
def test_no_size_is_nearer_than_the_one_that_was_found(kind, times):
    config, flops = CrossingConfig(kind=kind, layers=2), round(times * BASE)
    found = nearest(D, config, flops, hidden=HIDDEN)
    gaps = [abs(dense_cost(D, one, HIDDEN).matrix - flops) for one in every_size(config)]
    assert abs(found.cost.matrix - flops) == min(gaps)
    assert found.cost == dense_cost(D, found.config, HIDDEN)
    assert found.reached == found.cost.matrix / flops
    axis = CROSSINGS[kind]
    assert dataclasses.replace(found.config, **{axis: getattr(config, axis)}) == config


def test_every_share_is_a_whole_number_of_ranks():
    for times in (1, 2, 4):
        found = nearest(D, CrossingConfig(kind="dcn_v2"), times * BASE, hidden=HIDDEN)
        rank = found.config.rank_share * D
        assert rank == round(rank)
        # 2 layers of 4 D r, and a head of 2 D h + 2 h
        assert found.cost.matrix == 8 * D * round(rank) + 2 * D * HIDDEN + 2 * HIDDEN


@pytest.mark.parametrize("width", [512, 4096])
def test_matched_flops_leave_ml_dcn_four_fifths_of_the_rank(width):
    """4 D r' = 5 D r + r^2 at rho = 1/2, so r / r' = .77 to .79 at r' = D / 8."""
    plain = CrossingConfig(kind="dcn_v2", layers=3)
    flops = dense_cost(width, plain, HIDDEN).matrix
    masked = nearest(width, CrossingConfig(layers=3), flops, hidden=HIDDEN).config
    assert 0.77 < masked.rank_share / plain.rank_share < 0.79


def test_what_cannot_be_reached_says_what_is_nearest():
    with pytest.raises(BudgetUnreachable, match=r"FLOPs of dcn_v2 over 32 numbers should be 10 "):
        at_budget(D, CrossingConfig(kind="dcn_v2", layers=1), 10, hidden=HIDDEN)
    # Whole matrices come in steps of 2 D^2 = 2048, so halfway between two is out of reach.
    config = CrossingConfig(kind="dcn_v2_full")
    one, two = (dense_cost(D, CrossingConfig(kind="dcn_v2_full", layers=n), HIDDEN) for n in (1, 2))
    halfway = (one.matrix + two.matrix) // 2
    with pytest.raises(BudgetUnreachable, match=r"at layers 1"):
        at_budget(D, config, halfway, hidden=HIDDEN)
    assert at_budget(D, config, two.matrix, hidden=HIDDEN).config.layers == 2
    assert at_budget(D, config, halfway, hidden=HIDDEN, tolerance=1.0).config.layers == 1
