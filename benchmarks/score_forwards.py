"""The network above the ID tables by itself: as training has it, exported by PyTorch, and by ONNX.

Takes a ranker and a batch, gives how long each form takes over the rows that its tables have of it;
never measures encoding, lookups or HTTP.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ranking.exporting import exported
from ranking.features import FeatureBatch
from ranking.forward import FILE, Forward
from ranking.model import LookedUp, RankerModel
from ranking.ranker import Ranker

#: Forms, each measured in every turn, one after the other.
EAGER, EXPORTED, ONNX = "eager", "torch.export", "ONNX Runtime"
_CALLS, _WARM = 300, 50
#: Rows that a network that PyTorch exported may be asked for.
_MOST_ROWS = 8192


class _Given(NamedTuple):
    """A batch, and what was looked up of it."""

    batch: FeatureBatch
    found: LookedUp


Compute = Callable[[_Given], Tensor]


def measured(ranker: Ranker, batch: FeatureBatch, turns: int) -> Mapping[str, Any]:
    """Form -> p50 of each turn in milliseconds, seconds to make it, and how far its logits are."""
    makes = {EAGER: _eager, EXPORTED: _exported, ONNX: _onnx}
    with torch.no_grad():  # tensors of inference mode cannot be exported
        given = _Given(batch, ranker.model.looked_up(batch))
        forms: dict[str, Compute] = {}
        seconds = {}
        for name, make in makes.items():
            start = time.perf_counter()
            forms[name] = make(ranker, given)
            seconds[name] = time.perf_counter() - start
    with torch.inference_mode():
        expected = forms[EAGER](given)
        spent: dict[str, list[float]] = {name: [] for name in forms}
        for turn in range(turns):
            for name in list(forms) if turn % 2 else list(forms)[::-1]:
                spent[name].append(_p50(forms[name], given))
        return {
            name: {
                "p50_ms": spent[name],
                "seconds_to_make": seconds[name],
                "logit_difference": float((forms[name](given) - expected).abs().max()),
            }
            for name in forms
        }


def _eager(ranker: Ranker, _given: _Given) -> Compute:
    return lambda given: ranker.model.above(*given).logits


class _Upper(nn.Module):
    """All columns of a batch and of what was looked up, to logits."""

    def __init__(self, model: RankerModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *columns: Tensor) -> Tensor:
        width = len(FeatureBatch._fields)
        batch, found = FeatureBatch(*columns[:width]), LookedUp(*columns[width:])
        return self.model.above(batch, found).logits


def _exported(ranker: Ranker, given: _Given) -> Compute:
    rows = torch.export.Dim("rows", min=2, max=_MOST_ROWS)
    columns = (*given.batch, *given.found)
    free = {"columns": tuple({0: rows} for _ in columns)}
    upper = _Upper(ranker.model).eval()
    module = torch.export.export(upper, columns, dynamic_shapes=free).module()
    return lambda given: module(*given.batch, *given.found)


def _onnx(ranker: Ranker, _given: _Given) -> Compute:
    """As servers have it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        file.write_bytes(exported(ranker))
        network = Forward(file, ranker.model)
    return lambda given: network(*given)


def _p50(compute: Compute, given: _Given) -> float:
    spent = []
    for _ in range(_WARM + _CALLS):
        start = time.perf_counter()
        compute(given).numpy()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent[_WARM:])) * 1e3
