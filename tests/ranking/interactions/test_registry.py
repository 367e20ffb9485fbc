"""Every family, whatever its dials: FLOPs of both kinds and parameters are what torch has."""

import pytest
import torch
from crossing_twins import OtherFlops, rows
from torch.utils.flop_counter import FlopCounterMode

from ranking.config import CROSSINGS, MASKS, NORMS, CrossingConfig
from ranking.interactions.cost import head
from ranking.interactions.registry import FAMILIES, crossing_cost, crossing_stack, out_width

D, BATCH = 24, 5


def cases():
    for kind in CROSSINGS:
        for norm in NORMS:
            yield {"kind": kind, "norm": norm}
        yield {"kind": kind, "layers": 1}
        yield {"kind": kind, "layers": 3, "rank_share": 0.3, "hidden_share": 1.7, "mask_share": 0.3}
    for mask in MASKS:
        yield {"mask": mask}
        yield {"mask": mask, "mask_target": "width"}
        yield {"mask": mask, "mask_form": "sigmoid"}
    yield {"mask_source": "first", "norm": "before"}
    yield {"kind": "dcn_v2_mixture", "experts": 2}
    for tokens in (2, 5, 24):
        yield {"kind": "wukong", "tokens": tokens, "fm_rank": 3}
        yield {"kind": "rank_mixer", "tokens": tokens, "token_share": 1.5}


def counted(module, x):
    with FlopCounterMode(display=False) as products, OtherFlops() as others:
        y = module(x)
    parameters = sum(p.numel() for p in module.parameters())
    return y, (products.get_total_flops(), others.count, parameters)


@pytest.mark.parametrize("dials", list(cases()), ids=str)
def test_the_formulas_are_what_torch_counts(dials):
    config = CrossingConfig(**dials)
    y, (matrix, other, parameters) = counted(crossing_stack(D, config).double(), rows(BATCH, D))
    cost = crossing_cost(D, config)
    assert y.shape == (BATCH, out_width(D, config))
    assert matrix == BATCH * cost.matrix
    assert other == BATCH * cost.other
    assert parameters == cost.parameters


def test_so_is_the_heads():
    above = torch.nn.Sequential(torch.nn.Linear(D, 7), torch.nn.ReLU(), torch.nn.Linear(7, 1))
    _, (matrix, other, parameters) = counted(above.double(), rows(BATCH, D))
    # 2 * 24 * 7 + 2 * 7, 7 + 7 + 1, 24 * 7 + 7 + 7 + 1
    assert (matrix, other, parameters) == (BATCH * 350, BATCH * 15, 183)
    cost = head(D, 7)
    assert (cost.matrix, cost.other, cost.parameters) == (350, 15, 183)


@pytest.mark.parametrize(
    ("dials", "matrix", "other", "parameters"),
    [
        # D = 40, r = 8, q = 4. 4 * 40 * 8 + 2 * 40 * 4 + 2 * 4 * 8
        # r + 2 q + r + r + 3 D + 7 D; D r + r + D q + q + q r + r + r D + D + 2 D
        (
            {"rank_share": 0.2},
            1664,
            8 + 8 + 8 + 8 + 400,
            320 + 8 + 160 + 4 + 32 + 8 + 320 + 40 + 80,
        ),
        # 4 * 40 * 8; 3 D; 2 D r + D
        ({"kind": "dcn_v2", "rank_share": 0.2, "norm": "none"}, 1280, 120, 680),
        # 2 * 40^2; 3 D; D^2 + D
        ({"kind": "dcn_v2_full", "norm": "none"}, 3200, 120, 1640),
        # 2 * 40 * 20; 2 h; D h + h
        ({"kind": "mlp", "norm": "none"}, 1600, 40, 820),
        # n = 1, rho = .5: 4 * .5 * 40^2 + 2 * 40 * 20; 2 q + 2 D + h; D q + q + q D + D + D h
        ({"kind": "mask_net_parallel", "norm": "none"}, 4800, 40 + 80 + 20, 2460),
    ],
    ids=str,
)
def test_one_layer_by_hand(dials, matrix, other, parameters):
    cost = crossing_cost(40, CrossingConfig(layers=1, **dials))
    assert (cost.matrix, cost.other, cost.parameters) == (matrix, other, parameters)


def test_the_registry_has_what_the_dials_may_name():
    assert tuple(FAMILIES) == tuple(CROSSINGS)


def test_weights_have_the_names_that_they_had_before_there_were_families():
    names = set(crossing_stack(8, CrossingConfig(layers=1)).state_dict())
    parts = ("down", "up", "mask_in", "mask_out", "norm")
    assert names == {f"0.{part}.{kind}" for part in parts for kind in ("weight", "bias")}
    plain = set(crossing_stack(8, CrossingConfig(kind="dcn_v2", layers=1)).state_dict())
    assert plain == {
        "0.down.weight", "0.up.weight", "0.up.bias", "0.norm.weight", "0.norm.bias",
    }  # fmt: skip
