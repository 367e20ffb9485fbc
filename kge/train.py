"""Training TransRA: the loop, on the page.

Takes a snapshot and dials, yields `Progress` after every block and returns what was learned;
never writes a file and never looks at a clock: its caller owns deadline, cancel and trace.

One block is one relation in one direction. Its heads, tails and shared candidates go through M_r
in one matrix product and meet in another; only rows that the block touched get a gradient and
move. So a block costs O((2b + m) d k + b m k), and neither a matrix per triple nor a dense
gradient of the entity table ever exists. Our design; PyKEEN's own loop gathers M_r per triple.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from pykeen.models import ERModel
from torch import Tensor

from graphsvc.snapshot import Snapshot
from kge.anchors import frame_rows
from kge.arrays import BundleArrays
from kge.blocks import Block, BlockSampler
from kge.config import FoldInConfig, TransRAConfig
from kge.losses import Collisions, Scores, margin_ranking, sampled_softmax
from kge.model import Parts, build_model, clip_rows, parts
from kge.progress import Progress
from kge.rowwise import Adagrad, RowwiseAdagrad
from kge.settle import settle
from kge.triples import Graph, graph_of_snapshot

# Dimensions: b positives, m candidates, u distinct rows of a block, d and k as in TransRA.


@dataclass(frozen=True)
class Trained:
    """What training learned."""

    graph: Graph
    model: ERModel
    config: TransRAConfig
    #: mean loss of the last tenth of the blocks
    loss: float

    def arrays(self) -> BundleArrays:
        """As numpy arrays for `kge.bundle.seal_bundle`; relations in the bundle's order.

        With `config.settle` those who act hold their fold-in vectors (`kge.settle`).
        """
        graph, part = self.graph, parts(self.model)
        with torch.no_grad():
            vectors = part.vectors(None).numpy()
        # PyKEEN's 2r, 2r + 1 -> r, r + R
        arrays = BundleArrays(
            types=graph.types,
            ids=graph.ids,
            vectors=vectors,
            bias=np.zeros(graph.entity_count, np.float32)
            if part.bias is None
            else _numpy(part.bias.values),
            degree=graph.degree,
            relations=graph.relations,
            translations=_by_direction(_numpy(part.translations.values)),
            projections=_by_direction(_numpy(part.matrices.values)),
            priors=_numpy(part.vectors.anchors)[: len(graph.types)].copy(),
            frame_rows=frame_rows(graph, self.config.frame_per_type),
        )
        return settle(arrays, graph, FoldInConfig()) if self.config.settle else arrays


def train(snapshot: Snapshot, config: TransRAConfig) -> Generator[Progress, None, Trained]:
    """Train TransRA on a snapshot's triples; the same seed gives the same steps.

    Raises `TooFewTriples`.
    """
    return (yield from train_graph(graph_of_snapshot(snapshot), config))


def train_graph(graph: Graph, config: TransRAConfig) -> Generator[Progress, None, Trained]:
    """`train` on triples that come from elsewhere, such as a PyKEEN data set."""
    model = build_model(graph, config)
    learner = _Learner(graph, parts(model), config)
    sampler = BlockSampler(graph, config)
    tail: list[float] = []
    for step, block in enumerate(sampler, start=1):
        rate = 1.0 - (step - 1) / sampler.total
        loss = learner.learn(block, rate)
        if step > 0.9 * sampler.total:
            tail.append(loss)
        name = graph.relations[block.side % len(graph.relations)].name
        yield Progress(step=step, total=sampler.total, loss=loss, note=name)
    return Trained(graph, model, config, float(np.mean(tail)))


def block_scores(
    ends: tuple[Float[Tensor, "b d"], Float[Tensor, "b d"], Float[Tensor, "m d"]],
    bias: tuple[Float[Tensor, "b"], Float[Tensor, "m"]] | None,
    shift: Float[Tensor, "k"],
    matrix: Float[Tensor, "k d"],
) -> Scores:
    """`-||M h + r - M t||^2 (+ b_t)` of each head with its own tail and with every candidate.

    Equal to the model's `score_hrt`, with one projection product; the score product is the
    loss's. `-|q - p|^2 = 2 q.p - |q|^2 - |p|^2`, so `[2q, -|q|^2, 1] . [p, 1, b - |p|^2]`.
    """
    head_bk, tail_bk, other_mk = (torch.cat(ends) @ matrix.T).split([len(rows) for rows in ends])
    query_bk = head_bk + shift
    positive_b = -(query_bk - tail_bk).square().sum(dim=1)
    base_m = -other_mk.square().sum(dim=1)
    if bias is not None:
        positive_b, base_m = positive_b + bias[0], base_m + bias[1]
    length_b = query_bk.square().sum(dim=1)
    query = torch.cat([2.0 * query_bk, -length_b[:, None], torch.ones(len(query_bk), 1)], dim=1)
    other = torch.cat([other_mk, torch.ones(len(other_mk), 1), base_m[:, None]], dim=1)
    return Scores(positive_b, query, other)


class _Learner:
    """One step: gather, score, differentiate, move what was touched."""

    def __init__(self, graph: Graph, part: Parts, config: TransRAConfig) -> None:
        self.config, self.part = config, part
        self.relations = len(graph.relations)
        self.head_prior = [graph.head_type_code(side) for side in range(2 * self.relations)]
        self.random = torch.Generator().manual_seed(config.seed + 3)
        self.own = RowwiseAdagrad.of(part.vectors.own.data)
        self.bias = None if part.bias is None else Adagrad.of(part.bias.values.data)
        self.shift = Adagrad.of(part.translations.values.data)
        self.matrix = Adagrad.of(part.matrices.values.data)
        self.anchors = Adagrad.of(part.vectors.anchors.data)

    def learn(self, block: Block, decay: float) -> float:
        config = self.config
        relation = 2 * (block.side % self.relations) + block.side // self.relations
        touched = np.concatenate([block.head, block.tail, block.candidates])
        rows, place = torch.unique(torch.from_numpy(touched), return_inverse=True)
        own = self.own.table[rows].requires_grad_()
        shift = self.shift.table[relation].clone().requires_grad_()
        matrix = self.matrix.table[relation].clone().requires_grad_()
        leaves = [own, shift, matrix, self.part.vectors.anchors]
        sizes = [len(block.head), len(block.tail), len(block.candidates)]
        vectors = self.part.vectors.rows(rows, own).index_select(0, place)
        head, tail, other = vectors.split(sizes)
        bias = None
        if self.bias is not None:
            own_bias = self.bias.table[rows].requires_grad_()
            leaves.append(own_bias)
            _, tail_bias, other_bias = own_bias.index_select(0, place).split(sizes)
            bias = (tail_bias, other_bias)
        ends = (self._disturb(head, block.side), tail, other)
        scores = block_scores(ends, bias, shift, matrix)
        loss = self._loss(block, scores)
        gradients = torch.autograd.grad(loss, leaves)
        rate, slow = decay * config.learning_rate, decay * config.relation_learning_rate
        own = own.detach()
        moved = self.own.move(rows, own, gradients[0], rate)
        self.own.table[rows] = clip_rows(moved * (1.0 - rate * config.decay), config.max_norm)
        self.shift.step(relation, gradients[1], slow)
        self.matrix.step(relation, gradients[2], slow)
        self.anchors.step(slice(None), gradients[3], slow)
        if self.bias is not None:
            self.bias.step(rows, gradients[4], rate)
        return float(loss.detach())

    def _disturb(self, head: Float[Tensor, "b d"], side: int) -> Float[Tensor, "b d"]:
        """Some heads become their type's prior, and some coordinates are dropped."""
        config = self.config
        if config.prior_share > 0:
            replaced = torch.rand(len(head), 1, generator=self.random) < config.prior_share
            prior = self.part.vectors.anchors[self.head_prior[side]]
            head = torch.where(replaced, prior, head)
        if config.dropout > 0:
            kept = torch.rand(head.shape, generator=self.random) >= config.dropout
            head = head * kept / (1.0 - config.dropout)
        return head

    def _loss(self, block: Block, scores: Scores) -> Float[Tensor, ""]:
        collisions = Collisions(*(torch.from_numpy(pair) for pair in block.collisions()))
        weight = torch.from_numpy(block.weight)
        if self.config.loss == "margin":
            return margin_ranking(scores, collisions, weight, self.config.margin)
        expected = torch.from_numpy(block.log_expected)
        return sampled_softmax(scores, expected, collisions, weight)


def _numpy(parameter: Tensor) -> np.ndarray:
    return parameter.detach().numpy()


def _by_direction(interleaved: np.ndarray) -> np.ndarray:
    return np.concatenate([interleaved[0::2], interleaved[1::2]])
