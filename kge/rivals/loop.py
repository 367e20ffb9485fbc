"""How rivals that are written here train: by autograd, a batch of edges after another.

Takes a model's loss of a batch and its optimizers, yields `Progress` after every batch; knows no
model and never looks at a clock.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kge.errors import TooFewTriples
from kge.progress import Progress, Share
from kge.rivals.edges import Batch, batches_per_pass, passes, plain_sparse
from kge.scorer import Scorer
from kge.triples import Graph


@dataclass(frozen=True, kw_only=True)
class Learned:
    """One model under training."""

    loss: Callable[[Batch], Tensor]
    scorer: Callable[[], Scorer]
    #: each with its learning rate at the start
    optimizers: Sequence[tuple[torch.optim.Optimizer, float]]

    def learn(self, batch: Batch, decay: float) -> float:
        """Move the parameters by one batch, at rates times `decay`; gives the loss before."""
        for optimizer, rate in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * decay
            optimizer.zero_grad()
        loss = self.loss(batch)
        with plain_sparse():
            loss.backward()
            for optimizer, _ in self.optimizers:
                optimizer.step()
        return float(loss.detach())


def check(graph: Graph) -> None:
    """Raise `TooFewTriples` where there is nothing to learn."""
    if not len(graph.head):
        raise TooFewTriples


def train(
    learned: Learned,
    graph: Graph,
    random: np.random.Generator,
    *,
    batch: int,
    epochs: float,
    share: Share | None,
) -> Generator[Progress, None, Scorer]:
    """Passes over the edges in batches of `batch`, while rates fall to 0 linearly.

    The same `random` and share give the same steps.
    """
    per_pass = batches_per_pass(graph, batch)
    total = max(1, round(epochs * per_pass))
    for step, edges in enumerate(passes(graph, batch, random)):
        done = share(step) if share else step / total
        if done >= 1.0:
            break
        loss = learned.learn(edges, 1.0 - done)
        yield Progress(
            step=step + 1,
            total=round((step + 1) / done) if share and done > 0 else total,
            loss=loss,
            note=f"epoch {(step + 1) / per_pass:.2f}",
            so_far=learned.scorer,
        )
    return learned.scorer()
