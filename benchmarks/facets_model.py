"""A ranker whose ID tables are what is compared, and its training, epoch by epoch.

Takes rows and tables, gives scores of TEST after every epoch; never stops early and never chooses
by what it sees: an arm that overfits is to be seen doing so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from facets_worlds import Made, Numbers, Rows
from numpy.typing import NDArray
from torch import Tensor, nn

from graphsvc.snapshot import Span
from ranking.config import CrossingConfig
from ranking.heads import Tower
from ranking.idtables.lazy import LazyAdamW
from ranking.idtables.table import IdTable, RowTable
from ranking.interactions.registry import crossing_stack, out_width
from ranking.optimizer import RankerOptimizer
from ranking.pretraining.fields import FacetFields
from ranking.pretraining.tables import FacetTable

_SCORED = 8192
#: Odd multipliers of the two hashes of an id.
_HASHES = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)


@dataclass(frozen=True, kw_only=True)
class Dials:
    """All that makes one ranker; the same for every arm."""

    epochs: int = 2
    batch: int = 512
    learning_rate: float = 2e-3
    #: Of ID tables, as a share of the learning rate.
    table_share: float = 0.1
    weight_decay: float = 1e-2
    dropout: float = 0.2
    hidden: int = 64
    #: Numbers of a code's embedding.
    code_dim: int = 8
    crossing: CrossingConfig = field(default_factory=CrossingConfig)


class Ids(NamedTuple):
    """How ids are read: by rows of one table, or by pretrained fields; neither: not at all."""

    #: [2] rows of both sides' tables, their length, and [ids, 2] the two rows of each id
    tables: tuple[tuple[int, int, Numbers], ...] = ()
    #: of heads, and of tails: [ids, d] each
    vectors: tuple[tuple[NDArray[np.float32], ...], ...] = ()
    mode: str = "frozen"

    @property
    def bytes(self) -> int:
        """Of all rows, as 4-byte numbers."""
        own = sum(rows * dim for rows, dim, _ in self.tables)
        return 4 * (own + sum(one.size for side in self.vectors for one in side))


def own_rows(counts: tuple[int, int], dim: int) -> Ids:
    """A row per id, which begins at zero."""
    return Ids(tables=tuple((n, dim, np.stack([np.arange(n)] * 2, axis=1)) for n in counts))


def hashed_rows(counts: tuple[int, int], dim: int, *, share: int) -> Ids:
    """A share of the rows, as many times longer: as many bytes, but ids share them."""
    tables = []
    for count in counts:
        rows = max(1, count // share)
        ids = np.arange(count, dtype=np.uint64)
        pair = [
            ((ids * np.uint64(hashed)) >> np.uint64(24)) % np.uint64(rows) for hashed in _HASHES
        ]
        tables.append((rows, dim * share, np.stack(pair, axis=1).astype(np.int64)))
    return Ids(tables=tuple(tables))


def pretrained(made: Made, tables: tuple[FacetTable, ...], mode: str) -> Ids:
    """Tables as fields, side by side; zero for whoever the facets do not know."""
    graph, sides = made.graph, []
    for side, name in (("heads", graph.head_type), ("tails", graph.tail_type)):
        kind = graph.type_range(name)
        ids = graph.ids[kind.start : kind.stop]
        sides.append(tuple(getattr(table, side).over(ids) for table in tables))
    return Ids(vectors=tuple(sides), mode=mode)


class Batch(NamedTuple):
    """Rows as tensors."""

    head: Tensor
    tail: Tensor
    codes: Tensor
    rates: Tensor
    dense: Tensor


class FacetRanker(nn.Module):
    """logit = tower(crossing(dropout(LN([ids of both ; codes ; counters])))), one arm's ids."""

    def __init__(self, made: Made, ids: Ids, dials: Dials, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.codes = nn.Embedding(sum(made.sizes), dials.code_dim)
        nn.init.normal_(self.codes.weight, std=0.1)
        self.shifts: Tensor
        shifts = np.cumsum([0, *made.sizes[:-1]])
        self.register_buffer("shifts", torch.from_numpy(shifts))
        self.tables = nn.ModuleList(IdTable(rows, dim) for rows, dim, _ in ids.tables)
        self._places = [torch.from_numpy(place) for _, _, place in ids.tables]
        self.fields = nn.ModuleList(
            FacetFields([torch.from_numpy(one) for one in side], ids.mode, generator)
            for side in ids.vectors
        )
        width = len(made.sizes) * dials.code_dim + made.rows.dense.shape[1] + 2
        width += sum(dim for _, dim, _ in ids.tables)
        width += sum(one.shape[1] for side in ids.vectors for one in side)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dials.dropout)
        self.stack = crossing_stack(width, dials.crossing)
        out = out_width(width, dials.crossing)
        self.tower = Tower(out, dials.hidden, dials.dropout, starts_at=1.0)

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B]."""
        fields = [self.codes(batch.codes + self.shifts).flatten(1), batch.dense, batch.rates]
        sides = (batch.head, batch.tail)
        if self.tables:
            for table, place, rows in zip(self.tables, self._places, sides, strict=True):
                fields.append(table(place[rows]))
        if self.fields:
            for read, rows in zip(self.fields, sides, strict=True):
                fields.append(read(rows))
        x = self.dropout(self.norm(torch.cat(fields, dim=1)))
        return cast(Tensor, self.tower(self.stack(x), batch.rates))

    def moved_tables(self) -> list[RowTable]:
        """ID tables that are trained: row by row, slowly."""
        found = [one for one in self.modules() if isinstance(one, RowTable)]
        return [one for one in found if one.weight.requires_grad]


def mover_of(model: FacetRanker, dials: Dials) -> RankerOptimizer:
    """AdamW of the rest, and of ID tables at a share of its rate, at the price of their rows."""
    tables = model.moved_tables()
    for table in tables:
        weight = cast(nn.Parameter, table.weight)
        slow = dials.learning_rate * dials.table_share
        table.mover = LazyAdamW(weight, rate=slow, decay=0.0)
    ids = {id(one.weight) for one in model.modules() if isinstance(one, RowTable)}
    rest = [one for one in model.parameters() if id(one) not in ids]
    groups = [
        {"params": [one for one in rest if one.ndim > 1], "weight_decay": dials.weight_decay},
        {"params": [one for one in rest if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return RankerOptimizer(torch.optim.AdamW(groups, lr=dials.learning_rate), tables)


def epochs(
    made: Made, ids: Ids, dials: Dials, seed: int, judged: Numbers
) -> Iterator[dict[str, Any]]:
    """After each pass over TRAIN: the mean loss of it, and scores of the rows `judged`."""
    torch.manual_seed(seed)
    model = FacetRanker(made, ids, dials, seed)
    mover, random = mover_of(model, dials), np.random.default_rng(seed)
    train = made.of(Span.TRAIN)
    for _ in range(dials.epochs):
        model.train()
        order, total = random.permutation(train), 0.0
        for first in range(0, len(order), dials.batch):
            own = order[first : first + dials.batch]
            target = torch.from_numpy(made.rows.label[own].astype(np.float32))
            mover.zero_grad()
            logits = model(batch_of(made.rows, own))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
            loss.backward()
            mover.step()
            total += float(loss.detach()) * len(own)
        mover.settle()
        yield {"loss": total / len(order), "scores": _scores(model, made.rows, judged)}


def batch_of(rows: Rows, own: Numbers) -> Batch:
    """Some rows as tensors."""
    columns = (rows.head, rows.tail, rows.codes, rows.rates, rows.dense)
    return Batch(*(torch.from_numpy(column[own]) for column in columns))


def _scores(model: FacetRanker, rows: Rows, own: Numbers) -> NDArray[np.float64]:
    model.eval()
    with torch.inference_mode():
        parts = [
            torch.sigmoid(model(batch_of(rows, own[first : first + _SCORED]))).double()
            for first in range(0, len(own), _SCORED)
        ]
    return torch.cat(parts).numpy()
