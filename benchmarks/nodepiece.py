"""PyKEEN's inductive NodePiece: what a rival makes of entities that its training never saw.

Takes triples to train on and triples that tell of other entities, gives figures; trains in PyKEEN's
own loop and is ranked by PyKEEN's own evaluator.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

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
    epochs: int = 50
    negatives: int = 32
    batch: int = 1024
    learning_rate: float = 1e-3
    seed: int = 0


class Part(NamedTuple):
    """Triples [_, 3] among so many entities."""

    triples: NDArray[np.int64]
    entities: int


def factory(part: Part, relations: int, *, inverse: bool = True) -> CoreTriplesFactory:
    return CoreTriplesFactory(
        mapped_triples=torch.from_numpy(part.triples),
        num_entities=part.entities,
        num_relations=relations,
        create_inverse_triples=inverse,
    )


def measure(
    train: Part,
    told: Part,
    asked: NDArray[np.int64],
    known: NDArray[np.int64],
    relations: int,
    dials: NodePieceDials,
) -> Mapping[str, float]:
    """Train on `train`, learn of others by `told`, rank `asked` among all of those, both sides."""
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
        optimizer=torch.optim.Adam(model.parameters(), lr=dials.learning_rate),
        negative_sampler=BasicNegativeSampler,
        negative_sampler_kwargs={"num_negs_per_pos": dials.negatives},
    )
    loop.train(training, num_epochs=dials.epochs, batch_size=dials.batch, use_tqdm=False)
    evaluator = RankBasedEvaluator(mode="testing")
    found = evaluator.evaluate(
        model,
        torch.from_numpy(asked),
        batch_size=64,
        use_tqdm=False,
        additional_filter_triples=[torch.from_numpy(known)],
    )
    return {
        "mrr": float(found.get_metric("both.realistic.inverse_harmonic_mean_rank")),
        "hits@10": float(found.get_metric("both.realistic.hits_at_10")),
    }
