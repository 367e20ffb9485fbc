"""Training TransRA: the loop, on the page.

Takes a graph and dials, yields `Progress` after every batch and gives what was learned; never
writes a file and never looks at a clock: its caller owns deadline, cancel and trace.
"""

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pykeen.models import ERModel
from torch import Tensor

from graphsvc.snapshot import Snapshot
from kge.anchors import frame_rows
from kge.arrays import BundleArrays
from kge.blocks import BlockSampler
from kge.bundle import Bundle
from kge.config import FoldInConfig, TransRAConfig
from kge.dials import Dials
from kge.errors import TooFewTriples
from kge.facet import ALL
from kge.frame import Previous, begin_with, hold, kept, previous_of
from kge.learner import Learner
from kge.memory import MIB, Room, plan, size
from kge.model import Parts, build_model, parts
from kge.policy import Chosen, choose
from kge.progress import Progress, Share
from kge.settle import settle, with_side_priors
from kge.triples import Graph, graph_of_snapshot

#: Mean cosine of the frame's holders, before and after, from which on the frame counts as kept.
FRAME_KEPT = 0.95


@dataclass(frozen=True)
class Trained:
    """What training learned."""

    graph: Graph
    model: ERModel
    config: TransRAConfig
    #: running mean of the loss at the end
    loss: float
    previous: Previous | None = None

    def arrays(self) -> BundleArrays:
        """As numpy arrays for `kge.bundle.seal_bundle`; relations in the bundle's order.

        With `config.settle` those who act hold their fold-in vectors (`kge.settle`).
        """
        graph, part = self.graph, parts(self.model)
        vectors = part.vectors.every()
        with torch.no_grad():
            maps = _maps(part, self.config)
        arrays = BundleArrays(
            types=graph.types,
            ids=graph.ids,
            vectors=vectors,
            bias=np.zeros(graph.entity_count, np.float32)
            if part.bias is None
            else _numpy(part.bias.values).copy(),
            degree=graph.degree,
            relations=graph.relations,
            translations=maps[0],
            projections=maps[1],
            tail_projections=maps[2],
            priors=_numpy(part.vectors.anchors)[: len(graph.types)].copy(),
            frame_rows=frame_rows(graph, self.config.frame_per_type),
            anchor_rows=part.vectors.leaned_on().numpy() if part.vectors.composed else None,
            anchor_weights=part.vectors.leaning().numpy() if part.vectors.composed else None,
            dials=asdict(self.config),
        )
        arrays = with_side_priors(arrays, graph)
        if self.config.settle:
            arrays = settle(arrays, graph, FoldInConfig())
        previous = None if self.previous is None else self.previous.digest
        return replace(arrays, frame=self._frame(arrays), previous=previous)

    def frame_kept(self, arrays: BundleArrays) -> float | None:
        """Mean cosine of the frame's holders before and now; None without a bundle before."""
        return None if self.previous is None else kept(self.previous, arrays.vectors)

    def _frame(self, arrays: BundleArrays) -> str | None:
        """The name of the frame before, if it was held and stayed."""
        if self.previous is None or not self.config.frame_weight:
            return None
        return self.previous.frame if kept(self.previous, arrays.vectors) >= FRAME_KEPT else None


def _maps(
    part: Parts, config: TransRAConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
    """r, M_r and, where it is another, T_r of both directions in the bundle's order."""
    shift, heads = _numpy(part.translations.values), _numpy(part.matrices(None))
    if part.tail_matrices is not None:
        tails = _numpy(part.tail_matrices(None))
    elif config.tails == "same":
        tails = heads
    else:
        tails = np.broadcast_to(np.eye(config.dim), heads.shape)
    tails = np.asarray(tails, dtype=np.float32)
    if config.reciprocal:
        # PyKEEN's 2r, 2r + 1 -> r, r + R
        shift, heads, tails = (_by_direction(values) for values in (shift, heads, tails))
    else:
        # From the tail, the same distance is `||T t - r - M h||`.
        shift = np.concatenate([shift, -shift])
        heads, tails = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    own = None if config.tails == "same" else np.ascontiguousarray(tails, dtype=np.float32)
    return shift.copy(), heads.copy(), own


def begin(
    snapshot: Snapshot, dials: Dials, *, previous: Bundle | None = None, room: Room | None = None
) -> "Training":
    """The training of a snapshot's triples, before its first step.

    `dials`: what somebody set; the rest follows from the graph. `previous`: the bundle to begin
    with and whose frame to keep, in a share of the epochs; what nobody set of its form stays.
    `room`: memory to keep to. Raises `TooFewTriples`, `MemoryBudget`, `ShapeMismatch` where the
    dials cannot take `previous` over, and `ConfigError` for dials that contradict what follows
    from the graph.
    """
    return begin_graph(graph_of_snapshot(snapshot), dials, previous=previous, room=room)


def begin_graph(
    graph: Graph,
    dials: Dials,
    *,
    previous: Bundle | None = None,
    facet: str = ALL,
    room: Room | None = None,
    seconds: float | None = None,
) -> "Training":
    """`begin` on triples that come from elsewhere, such as one facet's.

    `seconds`: how long the steps will be asked for, where a clock says it and not the epochs.
    """
    before = None if previous is None else previous_of(previous, graph, facet)
    form = None if previous is None else previous.dials_of(facet)
    chosen = choose(graph, dials, form, seconds)
    if room is not None:
        beside = room.beside + (0 if before is None else size(before))
        chosen = fitted(graph, chosen, Room(room.budget, beside))
    training = Training(graph, chosen.config, before)
    training.reasons = chosen.reasons
    return training


def fitted(graph: Graph, chosen: Chosen, room: Room) -> Chosen:
    """Dials by which a training keeps to a room. Raises `MemoryBudget` where none do."""
    config, reasons = plan(graph, chosen.config, room).config, dict(chosen.reasons)
    for dial in ("block", "batch", "negatives"):
        if getattr(config, dial) != getattr(chosen.config, dial):
            reasons[dial] = f"shrunk to fit into {room.budget // MIB} MiB"
    return Chosen(config, reasons)


def train_graph(
    graph: Graph, config: TransRAConfig, *, share: Share | None = None
) -> Generator[Progress, None, Trained]:
    """Train to the end with given dials; the same seed gives the same steps."""
    training = Training(graph, config)
    yield from training.steps(share)
    return training.trained()


class Training:
    """A training that can be stopped after any step and gone on with.

    `previous`: what it begins with; it then trains `refresh_share` of the epochs. Raises
    `TooFewTriples`, and `ShapeMismatch` where the dials cannot take `previous` over.
    """

    def __init__(
        self, graph: Graph, config: TransRAConfig, previous: Previous | None = None
    ) -> None:
        if not len(graph.head):
            raise TooFewTriples
        self.graph, self.config, self.previous = graph, config, previous
        #: why dials that nobody set are what they are
        self.reasons: Mapping[str, str] = {}
        self.model = build_model(graph, config)
        held = None
        if previous is not None:
            begin_with(previous, parts(self.model), config, len(graph.relations))
            held = hold(previous, config)
        self._learner = Learner(graph, self.model, config, held)
        # A refresh repeats the end of a training: as many epochs, at the learning rates of then.
        self._part = 1.0 if previous is None else config.refresh_share
        self._sampler = BlockSampler(graph, replace(config, epochs=self._part * config.epochs))
        self.step = 0
        #: running mean of the loss, over about a tenth of the training
        self.loss = math.nan

    def steps(self, share: Share | None = None) -> Iterator[Progress]:
        """Train to the end, one batch after another. `share`: see `kge.progress`."""
        total = self._sampler.total
        for batch in self._sampler:
            done = self.step / total if share is None else share(self.step)
            if done >= 1.0:
                return
            # All that is random in a step depends on its number, so that it can be done again.
            draw = torch.Generator().manual_seed(_mixed(self.config.seed, self.step))
            loss = self._learner.learn(batch, self._part * (1.0 - done), draw)
            self.step += 1
            self._follow(loss, total)
            relation = self.graph.relations[batch.blocks[0].side % len(self.graph.relations)]
            yield Progress(step=self.step, total=total, loss=loss, note=relation.name)

    def _follow(self, loss: float, total: int) -> None:
        part = max(10.0 / total, 1.0 / self.step)
        self.loss = loss if self.step == 1 else self.loss + min(1.0, part) * (loss - self.loss)

    def trained(self) -> Trained:
        """What was learned up to now."""
        return Trained(self.graph, self.model, self.config, self.loss, self.previous)

    @property
    def origin(self) -> str:
        """What the training began with: the digest of a bundle, or nothing."""
        return "" if self.previous is None else self.previous.digest

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that training changes, to be saved, or overwritten in place."""
        return self._learner.state()

    def numbers(self) -> dict[str, Any]:
        """Where the training is, as plain numbers."""
        return {"step": self.step, "loss": self.loss, "sampler": self._sampler.state()}

    def restore(self, numbers: Mapping[str, Any]) -> None:
        """Go on from where `numbers` was; the tensors are the caller's to bring."""
        self.step, self.loss = numbers["step"], numbers["loss"]
        self._sampler.restore(numbers["sampler"])


def _mixed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, 3, step]).generate_state(1, np.uint64)[0] >> 1)


def _numpy(parameter: Tensor) -> np.ndarray:
    return parameter.detach().numpy()


def _by_direction(interleaved: np.ndarray) -> np.ndarray:
    return np.concatenate([interleaved[0::2], interleaved[1::2]])
