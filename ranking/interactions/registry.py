"""The families of crossing layers by name: how each is built and what it costs.

Takes D and dials, gives a stack: a module from x_0 [B, D] to [B, `out_width`]; never looks at what
x_0 is made of. The one place where a stack is built.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import nn

from ranking.config import CrossingConfig
from ranking.interactions import dcn_v2, mask_net, ml_dcn, mlp, rank_mixer, wukong
from ranking.interactions.cost import Cost
from ranking.interactions.layers import CrossingLayers

Build = Callable[[int, CrossingConfig], nn.Module]


class Family(NamedTuple):
    """A way to cross D numbers."""

    build: Build
    #: of all layers, per row
    cost: Callable[[int, CrossingConfig], Cost]
    #: how many numbers leave
    out_width: Callable[[int, CrossingConfig], int]


def crossing_stack(width: int, config: CrossingConfig) -> nn.Module:
    """The stack that the dials describe, over D = `width` numbers."""
    return FAMILIES[config.kind].build(width, config)


def out_width(width: int, config: CrossingConfig) -> int:
    """How many numbers the stack gives."""
    return FAMILIES[config.kind].out_width(width, config)


def crossing_cost(width: int, config: CrossingConfig) -> Cost:
    """What the stack costs per row."""
    return FAMILIES[config.kind].cost(width, config)


def _layers(layer: Build, width: int, config: CrossingConfig) -> nn.Module:
    return CrossingLayers(layer(width, config) for _ in range(config.layers))


def _same(width: int, _config: CrossingConfig) -> int:
    return width


def _all_blocks(width: int, config: CrossingConfig) -> int:
    return config.layers * mask_net.block_width(width, config)


FAMILIES: dict[str, Family] = {
    "ml_dcn": Family(partial(_layers, ml_dcn.MaskedCrossing), ml_dcn.cost, _same),
    "dcn_v2": Family(partial(_layers, dcn_v2.LowRankCrossing), dcn_v2.low_rank_cost, _same),
    "dcn_v2_full": Family(partial(_layers, dcn_v2.FullCrossing), dcn_v2.full_cost, _same),
    "dcn_v2_mixture": Family(partial(_layers, dcn_v2.MixtureCrossing), dcn_v2.mixture_cost, _same),
    "mask_net_serial": Family(mask_net.SerialMaskNet, mask_net.serial_cost, mask_net.block_width),
    "mask_net_parallel": Family(mask_net.ParallelMaskNet, mask_net.parallel_cost, _all_blocks),
    "wukong": Family(wukong.WuKong, wukong.cost, wukong.out_width),
    "rank_mixer": Family(rank_mixer.RankMixer, rank_mixer.cost, rank_mixer.token_width),
    "mlp": Family(mlp.MlpStack, mlp.cost, mlp.hidden_width),
}
