"""One step of training: gather, differentiate, move what was touched.

Takes a batch, moves a model's parameters in place; never chooses what is learned when. Only rows
of touched entities and relations are gathered, get a gradient and move. Where all entities are
candidates, as of small graphs of facts, every row is touched, and the gradient is as large as the
table; where negatives are drawn, a dense gradient of a table never exists.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.random import Generator
from numpy.typing import NDArray
from pykeen.models import ERModel
from torch import Tensor

from kge.blocks import Batch, Block
from kge.config import TransRAConfig
from kge.factors import STEP
from kge.frame import Hold
from kge.kernel import Ends, Gradients, Kept, Kernel
from kge.losses import Pairs
from kge.model import clip_rows, parts
from kge.negatives import Candidates
from kge.relations import OpenRelation, Relations
from kge.rowwise import Adagrad, Adam, RowOptimizer, take
from kge.triples import Graph

# Dimensions: N entities, u touched ones, b queries, p pairs, m candidates, d and k as in TransRA.

Rows = Int[Tensor, "u"] | slice

_DRAWS = 1 << 16
#: Tables of entities; the others are of relations and anchors, which learn at a rate of their own.
_OF_ENTITIES = ("own", "bias")


class Learner:
    """A model and the state of its optimizers."""

    def __init__(
        self, graph: Graph, model: ERModel, config: TransRAConfig, held: Hold | None = None
    ) -> None:
        self.config, self.kernel, self.held = config, Kernel(config), held
        part = parts(model)
        self.vectors = part.vectors
        self.relations = Relations(part, config, len(graph.relations))
        self.prior = [graph.head_type_code(side) for side in range(2 * len(graph.relations))]
        #: where each touched entity lies among the rows of the present batch
        self.place = torch.zeros(graph.entity_count, dtype=torch.int64)
        self.tables: dict[str, Tensor] = {
            "own": part.vectors.own.data,
            "anchors": part.vectors.anchors.data,
            **self.relations.tables,
        }
        if part.bias is not None:
            self.tables["bias"] = part.bias.values.data
        kind = Adam if config.optimizer == "adam" else Adagrad
        self._optimizers: dict[str, RowOptimizer] = {
            name: kind(table, rowwise=name == "own") for name, table in self.tables.items()
        }

    def state(self) -> dict[str, Tensor]:
        """Every tensor that training changes, by name; to be saved, or overwritten in place."""
        tensors = {f"table.{name}": table for name, table in self.tables.items()}
        for name, optimizer in self._optimizers.items():
            tensors |= {f"{name}.{key}": value for key, value in optimizer.state().items()}
        return tensors

    @torch.no_grad()
    def learn(self, batch: Batch, decay: float, draw: Generator) -> float:
        """Move the parameters by one batch; `decay` multiplies the learning rates.

        Gives the weighted mean loss of the batch's positives before the move.
        """
        step = _Step(self, batch, draw)
        loss = sum(step.add(block) for block in batch.blocks)
        step.move(decay)
        return loss

    def move(self, name: str, rows: Rows, gradient: Tensor, decay: float) -> None:
        """Move some rows of a table."""
        config, table = self.config, self.tables[name]
        rate = decay * (
            config.learning_rate if name in _OF_ENTITIES else config.relation_learning_rate
        )
        moved = self._optimizers[name].move(rows, take(table, rows), gradient, rate)
        if name == "own":
            moved = clip_rows(moved * (1.0 - rate * config.decay), config.max_norm)
        table[rows] = moved


class _Step:
    """One batch: touched rows are gathered once, blocks add gradients, then all move together."""

    def __init__(self, learner: Learner, batch: Batch, draw: Generator) -> None:
        self.learner, self.batch, self.draw = learner, batch, draw
        self.rows = _touched(batch, learner.held, len(learner.place))
        if isinstance(self.rows, Tensor):
            learner.place[self.rows] = torch.arange(len(self.rows))
        own = take(learner.tables["own"], self.rows)
        self.values = learner.vectors.rows(self._indices(), own) if self._composed else own
        self.by_values = torch.zeros_like(self.values)
        bias = learner.tables.get("bias")
        self.bias = None if bias is None else take(bias, self.rows)
        self.by_bias = torch.zeros(len(self.values))
        self.by_anchors = torch.zeros_like(learner.tables["anchors"])
        self.open: dict[int, OpenRelation] = {}
        self.weight = float(sum(block.weight.sum() for block in batch.blocks))

    def add(self, block: Block) -> float:
        """Add the gradients of one block; gives its part of the loss."""
        learner, candidates = self.learner, self.batch.candidates[block.pool]
        filled = _filled_up(block.head, learner.config)
        head, tail, tempted = self._places(filled), self._places(block.tail), None
        if block.tempted.any():
            tail = torch.cat([tail, head])
            tempted = torch.zeros(len(filled), dtype=torch.bool)
            tempted[: len(block.head)] = torch.from_numpy(block.tempted)
        other = self._candidate_rows(candidates)
        row, swapped = learner.relations.side(block.side)
        if row not in self.open:
            self.open[row] = learner.relations.open(row)
        maps = self.open[row].seen(swapped=swapped)
        heads, replaced = self._with_priors(take(self.values, head), block.side)
        ends = Ends(
            head=heads,
            tail=take(self.values, tail),
            other=take(self.values, other),
            tail_bias=None if self.bias is None else take(self.bias, tail),
            other_bias=None if self.bias is None else take(self.bias, other),
            log_expected=torch.from_numpy(candidates.log_expected),
            tempted=tempted,
        )
        pairs = Pairs(
            row=torch.from_numpy(block.row),
            weight=torch.from_numpy(block.weight) / self.weight,
            known=_known(block, candidates),
        )
        kept = Kept(
            _mask(heads.shape, learner.config.dropout, self.draw),
            _mask((len(heads), len(maps.shift)), learner.config.projected_dropout, self.draw),
        )
        found = learner.kernel.block(ends, maps, pairs, kept)
        self.open[row].add(found.maps, swapped=swapped)
        by_head = found.head
        if replaced is not None:
            self.by_anchors[learner.prior[block.side]] += (by_head * replaced).sum(dim=0)
            by_head = by_head * ~replaced
        self._gather(found._replace(head=by_head), head, tail, other)
        return found.loss

    def move(self, decay: float) -> None:
        """Move all that was touched."""
        learner, by_own = self.learner, self.by_values
        if learner.held is not None:
            place = self._places(learner.held.rows)
            by_own[place] += learner.held.slope(self.values[place])
        if self._composed:
            by_own, by_anchors = learner.vectors.pull(self._indices(), self.by_values)
            self.by_anchors += by_anchors
        learner.move("own", self.rows, by_own, decay)
        if self.bias is not None:
            learner.move("bias", self.rows, self.by_bias, decay)
        leaned_on = self.by_anchors.any(dim=1).nonzero()[:, 0]
        learner.move("anchors", leaned_on, self.by_anchors[leaned_on], decay)
        for (name, row), gradient in learner.relations.pulled(self.open.values()).items():
            learner.move(name, slice(row, row + 1), gradient[None], decay)

    @property
    def _composed(self) -> bool:
        return self.learner.vectors.composed

    def _indices(self) -> Int[Tensor, "u"]:
        if isinstance(self.rows, Tensor):
            return self.rows
        return torch.arange(len(self.learner.place))

    def _places(self, entities: NDArray[np.int64]) -> Tensor:
        """Where entities lie among the gathered rows."""
        found = torch.from_numpy(entities)
        return take(self.learner.place, found) if isinstance(self.rows, Tensor) else found

    def _candidate_rows(self, candidates: Candidates) -> Rows:
        if candidates.contiguous:  # gathered rows ascend too
            first = int(self._places(candidates.rows[:1]))
            return slice(first, first + len(candidates.rows))
        return self._places(candidates.rows)

    def _with_priors(
        self, heads: Float[Tensor, "b d"], side: int
    ) -> tuple[Float[Tensor, "b d"], Tensor | None]:
        """Some heads become their type's prior, so that it learns to stand in."""
        share = self.learner.config.prior_share
        if not share:
            return heads, None
        replaced = torch.from_numpy(self.draw.random((len(heads), 1)) < share)
        prior = self.learner.tables["anchors"][self.learner.prior[side]]
        return torch.where(replaced, prior, heads), replaced

    def _gather(self, found: Gradients, head: Tensor, tail: Tensor, other: Rows) -> None:
        self.by_values.index_add_(0, head, found.head)
        self.by_values.index_add_(0, tail, found.tail)
        self.by_values[other] += found.other  # candidates are distinct
        if self.bias is not None:
            self.by_bias.index_add_(0, tail, found.tail_bias)
            self.by_bias[other] += found.other_bias


def _touched(batch: Batch, held: Hold | None, count: int) -> Rows:
    """The entities of a batch, ascending; all of them as a slice, which copies nothing."""
    ends = [part for block in batch.blocks for part in (block.head, block.tail)]
    drawn = [candidates.rows for candidates in batch.candidates.values()]
    if held is not None:
        ends.append(held.rows)
    if max(len(rows) for rows in drawn) == count:
        return slice(None)
    rows = np.sort(np.concatenate([*ends, *drawn]))  # np.unique takes several times as long
    return torch.from_numpy(rows[np.diff(rows, prepend=-1) > 0])


def _filled_up(head: NDArray[np.int64], config: TransRAConfig) -> NDArray[np.int64]:
    """Queries of half precision in whole steps: copies of the first, which no pair refers to."""
    more = -len(head) % STEP if config.precision == "bfloat16" else 0
    return np.concatenate([head, np.repeat(head[:1], more)]) if more else head


def _known(block: Block, candidates: Candidates) -> tuple[Tensor, Tensor]:
    """(query, candidate) of those among the candidates that are no negatives, or beside them."""
    row, tail = block.known
    if block.tempted.any():
        tempted = np.flatnonzero(block.tempted)
        row, tail = np.append(row, tempted), np.append(tail, block.head[tempted])
        order = np.argsort(row, kind="stable")
        row, tail = row[order], tail[order]
    if candidates.contiguous:
        column = tail - candidates.rows[0]
        found = (column >= 0) & (column < len(candidates.rows))
    else:
        column = np.searchsorted(candidates.rows, tail)
        found = candidates.rows[np.minimum(column, len(candidates.rows) - 1)] == tail
    return torch.from_numpy(row[found]), torch.from_numpy(column[found])


def _mask(shape: tuple[int, ...], dropout: float, draw: Generator) -> Tensor | None:
    """What dropout multiplies by: 0, or what makes up for the zeros.

    Drawn as whole numbers of 16 bits, by whose steps the share is rounded: torch's own draws take
    ten times as long.
    """
    if not dropout:
        return None
    kept = min(_DRAWS, max(1, round((1.0 - dropout) * _DRAWS)))
    drawn = torch.from_numpy(draw.integers(_DRAWS, size=shape, dtype=np.uint16) < kept)
    return drawn.float().mul_(_DRAWS / kept)
