"""PyKEEN's inductive NodePiece: what a rival makes of entities that its training never saw.

Takes triples to train on and triples that tell of other entities, gives figures; trains in PyKEEN's
own loop and is ranked by PyKEEN's own evaluator. Learning rate and epochs are chosen on validation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pykeen.evaluation import RankBasedEvaluator
from pykeen.losses import NSSALoss
from pykeen.models.inductive import InductiveNodePiece
from pykeen.sampling import BasicNegativeSampler
from pykeen.training import SLCWATrainingLoop
from pykeen.triples import CoreTriplesFactory


@dataclass(frozen=True, kw_only=True)
class NodePieceDials:
    """The rival's dials, after its authors' example in PyKEEN's documentation."""

    dim: int = 64
    tokens: int = 12
    #: of the longest training; each is looked at `stops` times on its way
    epochs: int = 50
    stops: int = 5
    negatives: int = 32
    batch: int = 1024
    learning_rates: Sequence[float] = (1e-3,)
    seed: int = 0

    @property
    def looks(self) -> list[int]:
        """After which epochs a training is looked at."""
        return sorted({max(1, self.epochs * n // self.stops) for n in range(1, self.stops + 1)})

    @property
    def trials(self) -> int:
        """How many models validation chooses among."""
        return len(self.learning_rates) * len(self.looks)


class Part(NamedTuple):
    """Triples [_, 3] among so many entities."""

    triples: NDArray[np.int64]
    entities: int


class Asked(NamedTuple):
    """Triples [_, 3] to choose by and to rank, and all that are known."""

    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    known: NDArray[np.int64]


class Chosen(NamedTuple):
    """The figures of the model that validation likes best, and which one it is."""

    figures: Mapping[str, float]
    dials: Mapping[str, Any]
    #: float32 (2, n) reciprocal ranks of what was asked, heads and tails
    reciprocal: NDArray[np.float32]


def factory(part: Part, relations: int, *, inverse: bool = True) -> CoreTriplesFactory:
    return CoreTriplesFactory(
        mapped_triples=torch.from_numpy(part.triples),
        num_entities=part.entities,
        num_relations=relations,
        create_inverse_triples=inverse,
    )


def measure(train: Part, told: Part, asked: Asked, relations: int, dials: NodePieceDials) -> Chosen:
    """Train on `train`, learn of others by `told`, rank what is asked among these, both sides."""
    best, chosen = -1.0, None
    for rate in dials.learning_rates:
        for epochs, model in _trained(train, told, relations, rate, dials):
            mrr = _ranked(model, asked.valid, asked.known)[0]["mrr"]
            if mrr > best:
                # The model trains on, so what it says now is asked now.
                figures, reciprocal = _ranked(model, asked.test, asked.known)
                told_of = {"learning_rate": rate, "epochs": epochs, "trials": dials.trials}
                told_of["last_look"] = dials.looks[-1]
                best, chosen = mrr, Chosen(figures, told_of, reciprocal)
    if chosen is None:
        raise ValueError(f"learning_rates should name one or more, received {dials.learning_rates}")
    return chosen


def _trained(
    train: Part, told: Part, relations: int, rate: float, dials: NodePieceDials
) -> Iterator[tuple[int, InductiveNodePiece]]:
    """One training, stopped at each of its looks."""
    torch.manual_seed(dials.seed)
    training, inference = factory(train, relations), factory(told, relations)
    model = InductiveNodePiece(
        triples_factory=training,
        inference_factory=inference,
        test_factory=inference,
        num_tokens=dials.tokens,
        embedding_dim=dials.dim,
        loss=NSSALoss(margin=15.0),
        random_seed=dials.seed,
    )
    loop = SLCWATrainingLoop(
        triples_factory=training,
        model=model,
        mode="training",
        automatic_memory_optimization=False,  # the size of batches is given
        optimizer=torch.optim.Adam(model.parameters(), lr=rate),
        negative_sampler=BasicNegativeSampler,
        negative_sampler_kwargs={"num_negs_per_pos": dials.negatives},
    )
    for epochs in dials.looks:
        loop.train(
            training,
            num_epochs=epochs,
            batch_size=dials.batch,
            use_tqdm=False,
            continue_training=epochs != dials.looks[0],
        )
        yield epochs, model


def _ranked(
    model: InductiveNodePiece, triples: NDArray[np.int64], known: NDArray[np.int64]
) -> tuple[dict[str, float], NDArray[np.float32]]:
    evaluator = RankBasedEvaluator(mode="testing", clear_on_finalize=False)
    found = evaluator.evaluate(
        model,
        torch.from_numpy(triples),
        batch_size=64,
        use_tqdm=False,
        additional_filter_triples=[torch.from_numpy(known)],
    )
    figures = {
        "mrr": float(found.get_metric("both.realistic.inverse_harmonic_mean_rank")),
        "hits@10": float(found.get_metric("both.realistic.hits_at_10")),
    }
    sides = [np.concatenate(evaluator.ranks[side, "realistic"]) for side in ("head", "tail")]
    return figures, (1.0 / np.stack(sides)).astype(np.float32)
