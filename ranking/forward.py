"""The network of a sealed ranker as ONNX Runtime computes it, above what is looked up in tables.

Takes batches and what a ranker's tables have of them, gives logits; never looks up a row, and
never says how the network was exported (`exporting.py`).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from ranking.errors import ForwardUnusable
from ranking.features import FeatureBatch
from ranking.model import SCORE_BATCH, LookedUp, RankerModel

#: The one file of an artifact of kind `forward`.
FILE = "forward.onnx"
#: Columns that a network reads above its tables; numbers of rows lie below.
COLUMNS = FeatureBatch._fields[2:]
#: All that an exported network may be given, by name; maps follow, by the names of their buffers.
GIVEN = (*COLUMNS, *(f"found_{name}" for name in LookedUp._fields))


class Forward(nn.Module):
    """The exported network of one model, with its tables and maps; any thread may ask it.

    A module, as the network is that it stands for, so that both can be watched alike. Raises
    `ForwardUnusable` for a file that ONNX Runtime cannot read, and where it cannot compute.
    """

    def __init__(self, file: Path, model: RankerModel) -> None:
        super().__init__()
        import onnxruntime  # who trains does without

        self._errors = _errors_of(onnxruntime)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        # Threads that wait should leave the cores to those who compute.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                file, options, providers=["CPUExecutionProvider"]
            )
        except self._errors as error:
            raise ForwardUnusable(f"ONNX Runtime cannot read {file.name}: {error}") from error
        self.model = model
        self._read = {one.name for one in self._session.get_inputs()}
        maps = {name: tensor.numpy() for name, tensor in model.maps().items()}
        self._maps = {name: array for name, array in maps.items() if name in self._read}

    def logits(self, batch: FeatureBatch) -> Float64[np.ndarray, "n h"]:
        """As `model.head_scores` of the network that it was exported from."""
        count = len(batch.dense)
        parts = [torch.zeros(0, len(self.model.towers))]
        for start in range(0, count, SCORE_BATCH):
            some = batch
            if count > SCORE_BATCH:
                some = FeatureBatch(*(column[start : start + SCORE_BATCH] for column in batch))
            with torch.inference_mode():
                found = self.model.looked_up(some)
            parts.append(self(some, found))
        return torch.cat(parts).double().numpy()

    def forward(self, batch: FeatureBatch, found: LookedUp) -> Float[Tensor, "n h"]:
        """Logits [n, h] over what was looked up."""
        given = zip(GIVEN, (*batch[2:], *found), strict=True)
        feed: dict[str, Any] = {
            name: column.numpy() for name, column in given if name in self._read
        }
        try:
            logits = self._session.run(None, feed | self._maps)[0]
        except self._errors as error:
            raise ForwardUnusable(f"ONNX Runtime cannot compute this network: {error}") from error
        return torch.from_numpy(logits)


def _errors_of(runtime: Any) -> tuple[type[Exception], ...]:
    """The errors of ONNX Runtime, which have no class in common that is theirs."""
    known = vars(runtime.capi.onnxruntime_pybind11_state).values()
    return tuple(one for one in known if isinstance(one, type) and issubclass(one, Exception))
