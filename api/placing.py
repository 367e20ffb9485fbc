"""Which tiers this machine has, and what a server says of them at its start.

Takes dials, gives what a ranker is placed by; the only one that asks for a GPU. What a plan then
is, is said by `ranking/idtables/tiers.py`.
"""

import logging

import torch

from api.errors import DeviceMissing
from ranking.bundle import Ranker, Tiers
from ranking.config import TierConfig

_log = logging.getLogger("graphsvc.tiers")
_MIB = 1 << 20


def tiers_of(config: TierConfig) -> Tiers:
    """What a server has and declares. Raises `DeviceMissing` where a GPU is asked for in vain."""
    there = config.device != "none" and torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise DeviceMissing
    return Tiers(
        device="cuda" if there else "",
        device_bytes=config.device_mib * _MIB,
        cpu_bytes=config.cpu_mib * _MIB,
    )


def tell(ranker: Ranker) -> None:
    """Print where the parts of a ranker lie that was loaded, and what computes its network."""
    for line in ranker.placement.lines if ranker.placement else ():
        _log.info("ranker %s: %s", ranker.digest[:8], line)
    _log.info("ranker %s: its network is computed by %s", ranker.digest[:8], ranker.computed_by)
