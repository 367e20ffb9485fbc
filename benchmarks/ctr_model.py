"""A network for clicks: an embedding per value, one crossing stack, one head; and its training.

Takes `Clicks` and dials, gives probabilities; never looks at TEST before it stops. All families get
the same everything but the stack.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import ctr_spans
import numpy as np
import torch
from ctr_data import Clicks
from numpy.typing import NDArray
from torch import Tensor, nn

from ranking.config import CrossingConfig
from ranking.interactions.registry import crossing_stack, out_width
from ranking.metrics import auc, log_loss

#: Rows that are shuffled together: a file larger than that is shuffled in blocks.
_SHUFFLED = 1 << 22
_SCORED = 8192


@dataclass(frozen=True, kw_only=True)
class CtrDials:
    """All that makes one network."""

    crossing: CrossingConfig = field(default_factory=CrossingConfig)
    learning_rate: float = 1e-3
    #: Share of x_0 and of the head's hidden numbers that are 0 while training.
    dropout: float = 0.1
    #: AdamW's, of matrices and embeddings.
    weight_decay: float = 1e-4
    #: Learning rate of ML-DCN's mask as a multiple of all others'.
    mask_rate: float = 1.0
    #: Numbers of an embedding; D is this times the fields.
    embedding: int = 16
    #: Hidden numbers of the head.
    hidden: int = 64
    batch: int = 512
    epochs: int = 20
    #: Looks at VALID without a better AUC before it stops.
    patience: int = 2
    #: Looks at VALID per epoch.
    looks: int = 1
    #: Of matrix products while training, as of the service's rankers: float32 or bfloat16.
    precision: str = "float32"
    #: As other programs have it: no LN and no dropout of x_0, tiny embeddings, Xavier's matrices.
    plain: bool = False


class Trained(NamedTuple):
    """A network at its best look, and what it says of VALID."""

    model: "CtrModel"
    valid_auc: float
    valid_logloss: float
    #: Looks that were taken, and which of them was the best.
    looks: int
    best: int


class CtrModel(nn.Module):
    """logit = last . relu(W stack(dropout(LN([e_1 ; ... ; e_F]))) + b) + c."""

    def __init__(self, sizes: list[int], dials: CtrDials) -> None:
        super().__init__()
        width = len(sizes) * dials.embedding
        self.table = nn.Embedding(sum(sizes), dials.embedding)
        nn.init.normal_(self.table.weight, std=1e-4 if dials.plain else 0.05)
        self.shifts: Tensor
        self.register_buffer("shifts", torch.tensor([0, *np.cumsum(sizes)[:-1].tolist()]))
        self.norm = nn.Identity() if dials.plain else nn.LayerNorm(width)
        self.first_dropout = nn.Dropout(0.0 if dials.plain else dials.dropout)
        self.stack = crossing_stack(width, dials.crossing)
        self.hidden = nn.Linear(out_width(width, dials.crossing), dials.hidden)
        self.dropout = nn.Dropout(dials.dropout)
        self.last = nn.Linear(dials.hidden, 1)
        if dials.plain:
            self.apply(_as_xavier)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits [B] of int64 codes [B, F]."""
        fields = self.table(codes + self.shifts).flatten(1)
        x = self.stack(self.first_dropout(self.norm(fields)))
        return self.last(self.dropout(torch.relu(self.hidden(x)))).squeeze(1)


def _as_xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def train(clicks: Clicks, dials: CtrDials, seed: int) -> Trained:
    """AdamW on TRAIN; the look at VALID with the best AUC is kept."""
    torch.manual_seed(seed)
    model = CtrModel(list(clicks.sizes.values()), dials)
    optimizer = optimizer_of(model, dials)
    rows, valid = clicks.rows(ctr_spans.TRAIN), clicks.rows(ctr_spans.VALID)
    every = max(1, -(-len(rows) // (dials.batch * dials.looks)))
    random = np.random.default_rng(seed)
    kept, looks = Trained(copy.deepcopy(model), -1.0, 0.0, 0, 0), 0
    half = dials.precision == "bfloat16"
    for step, batch in enumerate(_batches(rows, dials, random), 1):
        model.train()
        optimizer.zero_grad(set_to_none=True)
        target = torch.from_numpy(clicks.label[batch].astype(np.float32))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(_codes(clicks, batch))
        nn.functional.binary_cross_entropy_with_logits(logits.float(), target).backward()
        optimizer.step()
        if step % every == 0:
            looks += 1
            scores = probabilities(model, clicks, valid)
            reached = auc(scores, clicks.label[valid])
            if reached > kept.valid_auc:
                lost = log_loss(scores, clicks.label[valid])
                kept = Trained(copy.deepcopy(model), reached, lost, looks, looks)
            if looks - kept.best >= dials.patience:
                break
    return kept._replace(looks=looks)


def optimizer_of(model: CtrModel, dials: CtrDials) -> torch.optim.Optimizer:
    """AdamW; matrices and embeddings decay, biases and scales do not: a mask starts at b_m = 1.

    The parameters of ML-DCN's masks may have a rate of their own.
    """
    groups = []
    for masks in (False, True):
        own = [p for name, p in model.named_parameters() if (".mask_" in name) == masks]
        rate = dials.learning_rate * (dials.mask_rate if masks else 1.0)
        for decayed in (True, False):
            chosen = [p for p in own if (p.ndim > 1) == decayed]
            decay = dials.weight_decay if decayed else 0.0
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups)


def _batches(
    rows: NDArray[np.int64], dials: CtrDials, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """All epochs, the last batch of a block the smaller."""
    blocks = [rows[start : start + _SHUFFLED] for start in range(0, len(rows), _SHUFFLED)]
    for _ in range(dials.epochs):
        for place in random.permutation(len(blocks)):
            shuffled = random.permutation(blocks[place])
            for start in range(0, len(shuffled), dials.batch):
                yield shuffled[start : start + dials.batch]


def _codes(clicks: Clicks, rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(clicks.codes[rows].astype(np.int64))


def probabilities(model: CtrModel, clicks: Clicks, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of some rows, in their order."""
    model.eval()
    with torch.inference_mode():
        parts = [
            torch.sigmoid(model(_codes(clicks, rows[start : start + _SCORED]))).double()
            for start in range(0, len(rows), _SCORED)
        ]
    return torch.cat(parts).numpy()


def latency(model: CtrModel, clicks: Clicks, batch: int, *, runs: int = 200) -> float:
    """Milliseconds of one forward pass over `batch` rows of TEST: the median of so many."""
    rows = clicks.rows(ctr_spans.TEST)
    codes = _codes(clicks, np.resize(rows, batch))
    model.eval()
    taken = []
    with torch.inference_mode():
        for _ in range(runs + runs // 10):
            start = time.perf_counter()
            model(codes)
            taken.append(time.perf_counter() - start)
    return float(np.median(taken[runs // 10 :])) * 1e3
