"""Training TransRA: the loop, on the page.

Takes a graph and dials, yields `Progress` after every batch and gives what was learned; never
writes a file and never looks at a clock: its caller owns deadline, cancel and trace.
"""

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
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
from kge.frame import Previous, begin_with, hold, kept, of_member, previous_of
from kge.learner import Learner
from kge.members import alone, joined, learned, together
from kge.memory import MIB, Room, plan, size
from kge.model import build_model, parts
from kge.policy import Chosen, choose
from kge.progress import Progress, Share
from kge.settle import settle, with_side_priors
from kge.triples import Graph, graph_of_snapshot

#: What else a seed is for: see `kge/blocks.py` and `kge/members.py`.
_STEP = 3
#: How much has to be kept of a frame (`kge.frame.kept`) for the next bundle to have its name.
FRAME_KEPT = 0.95
#: The reason, among those of dials, why nobody of a type is in a bundle.
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class Trained:
    """What training learned."""

    graph: Graph
    #: of every member that has learned
    models: Sequence[ERModel]
    #: of these members
    config: TransRAConfig
    #: running mean of the loss at the end
    loss: float
    previous: Previous | None = None

    def arrays(self) -> BundleArrays:
        """As numpy arrays for `kge.bundle.seal_bundle`; relations in the bundle's order.

        With `config.settle` those who act hold their fold-in vectors (`kge.settle`).
        """
        graph, one = self.graph, alone(self.config)
        made = joined([learned(model, one, len(graph.types)) for model in self.models])
        leaning = parts(self.models[0]).vectors  # others may lean on anchors of their own
        arrays = BundleArrays(
            types=graph.types,
            ids=graph.ids,
            degree=graph.degree,
            relations=graph.relations,
            frame_rows=frame_rows(graph, self.config.frame_per_type),
            anchor_rows=leaning.leaned_on().numpy() if leaning.composed else None,
            anchor_weights=leaning.leaning().numpy() if leaning.composed else None,
            dials=asdict(self.config),
            **made._asdict(),
        )
        arrays = with_side_priors(arrays, graph)
        if self.config.settle:
            arrays = settle(arrays, graph, FoldInConfig(prior_edges=self.config.prior_edges))
        previous = None if self.previous is None else self.previous.digest
        return replace(arrays, frame=self._frame(arrays), previous=previous)

    def frame_kept(self, arrays: BundleArrays) -> float | None:
        """How much of the frame is kept (`kge.frame.kept`); None without a bundle before."""
        return None if self.previous is None else kept(self.previous, arrays)

    def _frame(self, arrays: BundleArrays) -> str | None:
        """The name of the frame before, if it was held and stayed."""
        if self.previous is None or not self.config.frame_weight:
            return None
        return self.previous.frame if kept(self.previous, arrays) >= FRAME_KEPT else None


def begin(
    snapshot: Snapshot,
    dials: Dials,
    *,
    previous: Bundle | None = None,
    room: Room | None = None,
    without: str = "",
) -> "Training":
    """The training of a snapshot's triples, before its first step.

    `dials`: what somebody set; the rest follows from the graph. `previous`: the bundle to begin
    with and whose frame to keep, in a share of the epochs; what nobody set of its form stays.
    `room`: memory to keep to. `without`: a type of which no edge is learned from. Raises
    `TooFewTriples`, `MemoryBudget`, `ShapeMismatch` where the dials cannot take `previous` over,
    and `ConfigError` for dials that contradict what follows from the graph.
    """
    graph = graph_of_snapshot(snapshot, without=without)
    training = begin_graph(graph, dials, previous=previous, room=room)
    if without:
        why = f"no edge of a {without} is learned from; whoever is one is folded in"
        training.reasons = {**training.reasons, LEFT_OUT: why}
    return training


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
    for field in fields(config):
        if getattr(config, field.name) != getattr(chosen.config, field.name):
            reasons[field.name] = f"shrunk to fit into {room.budget // MIB} MiB"
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

    Members learn one after the other, each as if it were alone. `previous`: what they begin with;
    they then train `refresh_share` of the epochs. Raises `TooFewTriples`, and `ShapeMismatch`
    where the dials cannot take `previous` over.
    """

    def __init__(
        self, graph: Graph, config: TransRAConfig, previous: Previous | None = None
    ) -> None:
        if not len(graph.head):
            raise TooFewTriples
        self.graph, self.config, self.previous = graph, config, previous
        #: why dials that nobody set are what they are
        self.reasons: Mapping[str, str] = {}
        # A refresh repeats the end of a training: as many epochs, at the learning rates of then.
        self._part = 1.0 if previous is None else config.refresh_share
        self.step = 0
        #: running mean of the loss, over about a tenth of a member's training
        self.loss = math.nan
        #: the clock's share at which the present member began
        self._since, self._by_clock = 0.0, False
        self._ended: list[ERModel] = []
        self._begin()

    def _begin(self) -> None:
        """Make the next member."""
        number = len(self._ended)
        config = alone(self.config, number)
        self._seed, self._first = config.seed, self.step
        self._model, held = build_model(self.graph, config), None
        if self.previous is not None:
            before = of_member(self.previous, self.config, number)
            begin_with(before, parts(self._model), config, len(self.graph.relations))
            held = hold(before, config)
        self._learner = Learner(self.graph, self._model, config, held)
        epochs = self._part * config.epochs
        self._sampler = BlockSampler(self.graph, replace(config, epochs=epochs))

    def _end(self) -> None:
        """Keep what a member learned, but nothing that it learned with."""
        self._ended.append(self._model)
        if len(self._ended) < self.config.members:
            del self._learner, self._sampler  # before the next one takes as much
            self._begin()

    def steps(self, share: Share | None = None) -> Iterator[Progress]:
        """Train to the end, one batch after another. `share`: see `kge.progress`."""
        self._by_clock = share is not None
        while len(self._ended) < self.config.members:
            if share is not None and self.step == self._first:
                self._since = share(self.step)
                if self._ended and self._since >= 1.0:
                    return  # one that never learned would spoil what the others know
            yield from self._of_member(share)
            if self.step > self._first or not self._ended:
                self._end()  # unless a clock had jumped over its part before it learned anything

    def _of_member(self, share: Share | None) -> Iterator[Progress]:
        own, members = self._sampler.total, self.config.members
        batches = iter(self._sampler)
        while True:
            done = (self.step - self._first) / own if share is None else self._done(share)
            if done >= 1.0:
                return
            # What begins with a bundle knows enough to learn from all.
            early = self.previous is None and done < self.config.early_share
            self._sampler.pools.early = early
            batch = next(batches)
            # All that is random in a step depends on its number, so that it can be done again.
            draw = np.random.default_rng([self._seed, _STEP, self.step - self._first])
            loss = self._learner.learn(batch, self._part * (1.0 - done), draw)
            self.step += 1
            self._follow(loss)
            relation = self.graph.relations[batch.blocks[0].side % len(self.graph.relations)]
            note = f"member {len(self._ended) + 1} of {members}, " if members > 1 else ""
            total = members * own
            yield Progress(step=self.step, total=total, loss=loss, note=note + relation.name)

    def _done(self, share: Share) -> float:
        """How much of its part a member has had: members part evenly what is left of the clock."""
        left = (1.0 - self._since) / (self.config.members - len(self._ended))
        return (share(self.step) - self._since) / left if left > 0 else 1.0

    def _follow(self, loss: float) -> None:
        step, total = self.step - self._first, self._sampler.total
        part = max(10.0 / total, 1.0 / step)
        self.loss = loss if step == 1 else self.loss + min(1.0, part) * (loss - self.loss)

    def trained(self) -> Trained:
        """What was learned up to now: by the members that are done, and in any case by the first.

        A member halfway through would spoil what the others know.
        """
        done = not self._by_clock and self.step - self._first >= self._sampler.total
        learning = len(self._ended) < self.config.members and (done or not self._ended)
        models = [*self._ended, self._model] if learning else list(self._ended)
        config = together(self.config, len(models))
        return Trained(self.graph, models, config, self.loss, self.previous)

    @property
    def origin(self) -> str:
        """What the training began with: the digest of a bundle, or nothing."""
        return "" if self.previous is None else self.previous.digest

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that training changes, to be saved, or overwritten in place."""
        over = len(self._ended) == self.config.members
        found = {} if over else self._learner.state()
        for number, model in enumerate(self._ended):
            found |= {f"member.{number}.{k}": v.data for k, v in model.named_parameters()}
        return found

    def numbers(self) -> dict[str, Any]:
        """Where the training is, as plain numbers."""
        return {
            "step": self.step,
            "first": self._first,
            "members": len(self._ended),
            "since": self._since,
            "loss": self.loss,
            "sampler": self._sampler.state(),
        }

    def restore(self, numbers: Mapping[str, Any]) -> None:
        """Go on from where `numbers` was; then the tensors are the caller's to bring."""
        while len(self._ended) < numbers["members"]:
            self._end()
        self.step, self._first = numbers["step"], numbers["first"]
        self._since = numbers["since"]
        self.loss = numbers["loss"]
        self._sampler.restore(numbers["sampler"])
