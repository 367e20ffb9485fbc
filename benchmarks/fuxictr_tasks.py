"""What processes of FuxiCTR's environment do in the ranker's training benchmark.

Takes a file of exposures and dials, gives plain numbers; never imports anything of graphsvc. The
environment is made by

    python3 -m venv .venv/fuxictr
    .venv/fuxictr/bin/pip install torch==2.13.0 fuxictr==2.3.10

Its DCNv2 is not in its package, which has the parts: embedding, crossing layers, MLP, and the class
with its training step and epoch. They are put together as there in the form "stacked".
"""

import time
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from apart import held_mib, peak_mib
from torch.utils.flop_counter import FlopCounterMode

#: What its `fit` sets before an epoch.
_MAX_NORM = 10.0
#: It would judge itself after so many steps.
_NEVER = 1 << 60


def speed_of_fuxictr(*, file: str, form: str, dials: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Seconds of the first epoch, read by its loader, and of further ones with batches in memory.

    `form`: full, its DCNv2 by default, or low_rank, its mixture with one expert.
    """
    # All of it before the clock and the memory are looked at.
    from fuxictr.pytorch import layers, models  # noqa: F401
    from fuxictr.pytorch.dataloaders.npz_dataloader import NpzDataLoader

    with np.load(file) as stored:
        names = sorted(name for name in stored.files if name.startswith("f"))
        sizes = [int(stored[name].max()) + 1 for name in names]
        rows = len(stored["label"])
    fields = fields_of(dict(zip(names, sizes, strict=True)), dials["dim"])
    before, begin = held_mib(), time.perf_counter()
    loader = NpzDataLoader(fields, file, batch_size=dials["batch"], shuffle=True, num_workers=1)
    read = time.perf_counter()
    model = model_of(fields, form, dials)
    model.train_epoch(loader)
    first = time.perf_counter() - begin
    peak = peak_mib()
    batches = list(NpzDataLoader(fields, file, batch_size=dials["batch"], num_workers=0))
    seconds = []
    for _ in range(epochs):
        since = time.perf_counter()
        model.train_epoch(batches)
        seconds.append(time.perf_counter() - since)
    with FlopCounterMode(display=False) as counter:
        model.train_step(batches[0])
    return {
        "rows": rows,
        "first_seconds": first,
        "reading_seconds": read - begin,
        "epoch_seconds": seconds,
        "peak_mib": peak,
        "own_mib": peak - before,
        "table_rows": sum(sizes),
        "width": fields.sum_emb_out_dim(),
        "products_per_row": counter.get_total_flops() / len(batches[0]["label"]),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "fuxictr": version("fuxictr"),
    }


def fields_of(sizes: dict[str, int], dim: int) -> Any:
    """A feature map of categorical fields that are numbers already."""
    from fuxictr.features import FeatureMap

    fields = FeatureMap("exposures", "")
    for name, size in sizes.items():
        fields.features[name] = {"source": "", "type": "categorical", "vocab_size": size}
    fields.labels = ["label"]
    fields.num_fields, fields.total_features = len(sizes), sum(sizes.values())
    fields.default_emb_dim = dim
    fields.set_column_index()
    return fields


def model_of(fields: Any, form: str, dials: dict[str, Any]) -> Any:
    """Embeddings, crossing layers, one hidden layer and a logit, with its Adam."""
    from fuxictr.pytorch.layers import CrossNetMix, CrossNetV2, FeatureEmbedding, MLP_Block
    from fuxictr.pytorch.models import BaseModel

    width, layers = fields.sum_emb_out_dim(), dials["layers"]
    rank = max(1, round(dials["rank_share"] * width))

    class Crossed(BaseModel):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(fields, "crossed", verbose=0, model_root="", metrics=["logloss"])
            self.embedding = FeatureEmbedding(fields, dials["dim"])
            if form == "full":
                self.crossing = CrossNetV2(width, layers)
            else:
                self.crossing = CrossNetMix(width, layers, low_rank=rank, num_experts=1)
            self.above = MLP_Block(width, hidden_units=[dials["hidden"]], output_dim=1)
            self.compile("adam", "binary_crossentropy", 1e-3)
            self.reset_parameters()
            self.model_to_device()

        def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            embedded = self.embedding(self.get_inputs(inputs), flatten_emb=True)
            logits = self.above(self.crossing(embedded))
            return {"y_pred": self.output_activation(logits)}

    model = Crossed()
    model._max_gradient_norm = _MAX_NORM  # noqa: SLF001
    model._eval_steps, model._total_steps = _NEVER, 0  # noqa: SLF001
    model._epoch_index, model._stop_training = 0, False  # noqa: SLF001
    return model
