"""The network above the ID tables by itself: as training has it, exported by PyTorch, and by ONNX.

Takes a ranker and a batch whose rows are looked up already, gives how long each form takes; never
measures encoding, lookups or HTTP. ONNX is not among what `make setup` installs; where it is
missing the other forms are measured:

    .venv/bin/pip install onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
"""

import importlib.util
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ranking.bundle import Ranker
from ranking.features import FeatureBatch

#: Forms, each measured in every turn, one after the other.
EAGER, EXPORTED, ONNX = "eager", "torch.export", "ONNX Runtime"
_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_CALLS, _WARM = 300, 50
#: Rows that an exported form may be asked for.
_MOST_ROWS = 8192
Forward = Callable[[], NDArray[np.float32]]


def installed() -> list[str]:
    """The forms that can be measured here."""
    onnx = all(importlib.util.find_spec(name) is not None for name in _NEEDED)
    return [EAGER, EXPORTED, ONNX] if onnx else [EAGER, EXPORTED]


class _Given(nn.Module):
    """In the place of an ID table: its rows are looked up before."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows


class Upper(nn.Module):
    """Columns of a batch, with vectors in place of numbers of rows, to logits."""

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        model = ranker.model
        tables = {id(one): _Given() for one in (model.head_table, model.tail_table)}
        self.network = deepcopy(model, tables)

    def forward(self, *columns: Tensor) -> Tensor:
        return self.network.parts(FeatureBatch(*columns)).logits


def looked_up(ranker: Ranker, batch: FeatureBatch) -> FeatureBatch:
    """A batch with vectors in place of numbers of rows."""
    model = ranker.model
    return batch._replace(
        head_rows=model.head_table(batch.head_rows), tail_rows=model.tail_table(batch.tail_rows)
    )


def measured(ranker: Ranker, batch: FeatureBatch, turns: int) -> Mapping[str, Any]:
    """Form -> p50 of each turn in milliseconds, seconds to make it, and how far its logits are."""
    makes = {EAGER: _eager, EXPORTED: _exported, ONNX: _onnx}
    with torch.no_grad():  # tensors of inference mode cannot be exported
        given = looked_up(ranker, batch)
        forms, seconds = {}, {}
        for name in installed():
            start = time.perf_counter()
            forms[name] = makes[name](Upper(ranker).eval(), given)
            seconds[name] = time.perf_counter() - start
    with torch.inference_mode():
        expected = forms[EAGER]()
        spent: dict[str, list[float]] = {name: [] for name in forms}
        for turn in range(turns):
            for name in list(forms) if turn % 2 else list(forms)[::-1]:
                spent[name].append(_p50(forms[name]))
        return {
            name: {
                "p50_ms": spent[name],
                "seconds_to_make": seconds[name],
                "logit_difference": float(np.abs(forms[name]() - expected).max()),
            }
            for name in forms
        }


def _eager(upper: Upper, given: Sequence[Tensor]) -> Forward:
    return lambda: upper(*given).numpy()


def _exported(upper: Upper, given: Sequence[Tensor]) -> Forward:
    module = torch.export.export(upper, tuple(given), dynamic_shapes=_dynamic(given)).module()
    return lambda: module(*given).numpy()


def _onnx(upper: Upper, given: Sequence[Tensor]) -> Forward:
    import onnxruntime

    names = list(FeatureBatch._fields)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        file = Path(folder) / "upper.onnx"
        torch.onnx.export(
            upper,
            tuple(given),
            file,
            input_names=names,
            output_names=["logits"],
            dynamo=True,
            dynamic_shapes=_dynamic(given),
            verbose=False,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    read = {one.name for one in session.get_inputs()}
    columns = dict(zip(names, given, strict=True))

    def run() -> NDArray[np.float32]:
        feed = {name: column.numpy() for name, column in columns.items() if name in read}
        logits: NDArray[np.float32] = session.run(None, feed)[0]
        return logits

    return run


def _dynamic(given: Sequence[Tensor]) -> dict[str, Any]:
    rows = torch.export.Dim("rows", min=2, max=_MOST_ROWS)
    return {"columns": tuple({0: rows} for _ in given)}


def _p50(work: Forward) -> float:
    spent = []
    for _ in range(_WARM + _CALLS):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent[_WARM:])) * 1e3
