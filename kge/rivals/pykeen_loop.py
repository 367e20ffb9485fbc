"""PyKEEN's own training loop, a batch at a time.

Takes a graph and a recipe, yields `Progress` after every batch and returns the scorer of what was
learned; never looks at a clock. PyKEEN's `train` does not give way before it ends, so the body of
its loop over batches stands here: its own data loader, forward pass, loss, optimizer step and
constraints, in its order. A test holds this equal to `TrainingLoop.train` to the last bit.
"""

import warnings
from collections.abc import Generator, Iterator
from typing import Any

import torch
from pykeen.models import ERModel
from pykeen.training import LCWATrainingLoop, SLCWATrainingLoop, TrainingLoop
from pykeen.training.callbacks import MultiTrainingCallback, OptimizerTrainingCallback
from pykeen.training.training_loop import NonFiniteLossError
from pykeen.triples import CoreTriplesFactory
from torch import Tensor

from kge.errors import BrokenScores
from kge.progress import Progress, Share
from kge.rivals.pykeen_models import Recipe
from kge.rivals.pykeen_scorer import pykeen_scorer
from kge.scorer import Scorer
from kge.triples import Graph

#: Scores of one batch against every entity (lcwa): some 1 GiB with gradients and labels.
_SCORES = 1 << 26


class Stream:
    """A stream of random numbers beside the process's own, for libraries that draw from that one.

    Within `with stream:` torch's generator is this stream; afterwards it is as it was.
    """

    def __init__(self, seed: int) -> None:
        self._inside = torch.Generator().manual_seed(seed).get_state()
        self._outside: Tensor | None = None

    def __enter__(self) -> None:
        self._outside = torch.get_rng_state()
        torch.set_rng_state(self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = torch.get_rng_state()
        if self._outside is not None:
            torch.set_rng_state(self._outside)


def train_pykeen(
    graph: Graph, recipe: Recipe, *, seed: int = 0, share: Share | None = None
) -> Generator[Progress, None, Scorer]:
    """Train one of PyKEEN's models; the same seed and share give the same steps.

    The learning rate falls linearly with the share that is done. Raises `BrokenScores` where the
    loss is no longer a number.
    """
    stream = Stream(seed)
    factory = factory_of(graph, reciprocal=recipe.reciprocal)
    with stream:
        loop, callback, loader = start(factory, recipe)
    model, total, step = loop.model, max(1, round(recipe.epochs * len(loader))), 0
    batches: Iterator[Any] | None = None
    while (done := share(step) if share else step / total) < 1.0:
        for group in loop.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (1.0 - done)
        with stream:
            batch = None if batches is None else next(batches, None)
            if batch is None:
                batches = iter(loader)
                batch = next(batches)
            try:
                loss = one_batch(loop, callback, batch)
            except NonFiniteLossError as error:
                raise BrokenScores from error
        step += 1
        yield Progress(
            step=step,
            total=round(step / done) if share and done > 0 else total,
            loss=loss,
            note=f"epoch {step / len(loader):.2f}",
            so_far=lambda: pykeen_scorer(model),
        )
    return pykeen_scorer(model)


def start(
    factory: CoreTriplesFactory, recipe: Recipe
) -> tuple[TrainingLoop[Any], MultiTrainingCallback, Any]:
    """A new model in PyKEEN's loop, what the loop calls around each batch, and its batches."""
    model: ERModel = recipe.build(factory, recipe.dim, recipe.loss())
    optimizer = recipe.optimizer(model.get_grad_params(), lr=recipe.learning_rate)
    shared = {"model": model, "triples_factory": factory, "optimizer": optimizer}
    loop: TrainingLoop[Any]
    if recipe.loop == "slcwa":
        loop = SLCWATrainingLoop(
            negative_sampler=recipe.sampler,
            negative_sampler_kwargs={"num_negs_per_pos": recipe.negatives},
            automatic_memory_optimization=False,
            **shared,
        )
    else:
        loop = LCWATrainingLoop(automatic_memory_optimization=False, **shared)
    callback = MultiTrainingCallback(callbacks=None)
    callback.register_training_loop(loop)
    callback.register_callback(OptimizerTrainingCallback(only_size_probing=False))
    with warnings.catch_warnings():
        # PyKEEN hands itself an argument that it deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        loader = loop._create_training_data_loader(  # noqa: SLF001
            factory,
            batch_size=batch_size(recipe, factory.num_entities),
            drop_last=False,
            sampler=None,
            shuffle=True,
        )
    model.train()
    return loop, callback, loader


def batch_size(recipe: Recipe, entities: int) -> int:
    """The recipe's, or less where every entity is scored and there are very many."""
    if recipe.loop == "slcwa":
        return recipe.batch
    return max(1, min(recipe.batch, _SCORES // entities))


def one_batch(loop: TrainingLoop[Any], callback: MultiTrainingCallback, batch: Any) -> float:
    """The body of PyKEEN's loop over batches (`TrainingLoop._train_epoch`); gives the loss."""
    loop.model.train()  # measuring on the way leaves it in evaluation mode
    callback.pre_batch()
    size = loop._get_batch_size(batch)  # noqa: SLF001
    loss = loop._forward_pass(batch, 0, size, size, 0.0, None)  # noqa: SLF001
    callback.on_batch(epoch=1, batch=batch, batch_loss=loss)
    callback.pre_step()
    callback.post_batch(epoch=1, batch=batch)
    return float(loss)


def factory_of(graph: Graph, *, reciprocal: bool) -> CoreTriplesFactory:
    """The graph for PyKEEN, with or without a reciprocal of each relation."""
    whole = graph.factory()
    if reciprocal:
        return whole
    return CoreTriplesFactory(
        mapped_triples=whole.mapped_triples,
        num_entities=whole.num_entities,
        num_relations=whole.real_num_relations,
        create_inverse_triples=False,
    )
