"""The backends of the ID tables by name: who there is, who is here, who is taken.

Takes dials and a table, gives who moves its rows; never decides how rows are moved.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from ranking.errors import BackendMissing
from ranking.idtables.dials import IdTableConfig
from ranking.idtables.fbgemm import GROUP, FusedAdagrad
from ranking.idtables.moving import Mover
from ranking.idtables.rowwise import RowwiseAdagrad
from ranking.idtables.sharded import ShardedAdagrad


class Backend(NamedTuple):
    """Who moves rows by Adagrad, and what has to be installed for it."""

    make: Callable[..., Mover]
    #: modules, none of which comes with graphsvc itself
    needs: tuple[str, ...]
    #: Numbers of a row have to be a multiple of it.
    group: int = 1

    @property
    def missing(self) -> tuple[str, ...]:
        """Modules that are not installed."""
        return tuple(name for name in self.needs if importlib.util.find_spec(name) is None)


BACKENDS: dict[str, Backend] = {
    "torch": Backend(RowwiseAdagrad, ()),
    "fbgemm": Backend(FusedAdagrad, ("fbgemm_gpu",), GROUP),
    "torchrec": Backend(ShardedAdagrad, ("fbgemm_gpu", "torchrec"), GROUP),
}
_INSTALLED_BY = {"fbgemm": "fbgemm", "torchrec": "distributed"}


def chosen(config: IdTableConfig, dim: int) -> str:
    """The backend of a table of rows of `dim` numbers.

    `auto` is FBGEMM where it is installed and moves such rows, else torch. Raises `BackendMissing`
    where the one that is named cannot.
    """
    if config.backend == "auto":
        found = BACKENDS["fbgemm"]
        fused = config.optimizer == "adagrad" and config.precision == "float32"
        return "fbgemm" if fused and dim % found.group == 0 and not found.missing else "torch"
    backend = BACKENDS[config.backend]
    if backend.missing:
        raise BackendMissing(
            f"backend {config.backend} needs {', '.join(backend.missing)}; install the extra "
            f"{_INSTALLED_BY[config.backend]}, or choose backend auto"
        )
    if dim % backend.group:
        raise BackendMissing(
            f"backend {config.backend} moves rows of a multiple of {backend.group} numbers, "
            f"received {dim}; choose another dim, or backend auto"
        )
    return config.backend


def by_adagrad(weight: nn.Parameter, config: IdTableConfig) -> Mover:
    """Who moves rows by Adagrad, in the precision that they have. Raises `BackendMissing`."""
    precision = "bfloat16" if weight.dtype == torch.bfloat16 else "float32"
    name = chosen(replace(config, precision=precision), weight.shape[1])
    return BACKENDS[name].make(weight, rate=config.adagrad_rate)
