"""TransE, TransR, DistMult, ComplEx and RotatE as PyKEEN has them, with settings that suit each.

Takes a triples factory, gives a PyKEEN model, its loss and its way of training; never trains.

    transe, rotate      self-adversarial negative sampling (Sun et al. 2019)
    distmult            sampled cross entropy, reciprocal relations
    complex             cross entropy against every entity, reciprocal relations (Ruffinelli et al.
                        2020; Lacroix et al. 2018)
    transr              margin loss, Bernoulli negatives (Lin et al. 2015)

Dimensions and rates are ours: what gave a good validation MRR within minutes on a few cores. The
papers' own runs take hours on a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from pykeen.losses import CrossEntropyLoss, Loss, MarginRankingLoss, NSSALoss
from pykeen.models import DistMult, ERModel, RotatE, TransE, TransR
from pykeen.nn.modules import ComplExInteraction
from pykeen.triples import CoreTriplesFactory
from pykeen.utils import NoRandomSeedNecessary

#: PyKEEN would seed the whole process.
_UNSEEDED = NoRandomSeedNecessary


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How one of PyKEEN's models is built and trained."""

    build: Callable[[CoreTriplesFactory, int, Loss], ERModel]
    loss: Callable[[], Loss]
    #: slcwa = sampled negatives; lcwa = each (head, relation) against every entity
    loop: Literal["slcwa", "lcwa"]
    optimizer: Callable[..., torch.optim.Optimizer]
    #: Step size at the start; falls to 0 linearly.
    learning_rate: float
    #: Length of an entity's vector (complex numbers count once).
    dim: int
    #: Triples per batch (slcwa), or (head, relation) pairs (lcwa).
    batch: int
    #: Negatives per triple (slcwa).
    negatives: int = 0
    #: Which end is corrupted: each alike, or by the relation's cardinality.
    sampler: Literal["basic", "bernoulli"] = "basic"
    #: Whether heads are ranked by a reciprocal relation of their own.
    reciprocal: bool = False
    #: Passes over the triples where no clock ends the training.
    epochs: float = 50.0


def _wide(margin: float, dim: int) -> dict[str, Any]:
    """Initial values from -(margin + 2) / d to that, as in RotatE's code."""
    bound = (margin + 2.0) / dim
    return {"a": -bound, "b": bound}


def _transe(factory: CoreTriplesFactory, dim: int, loss: Loss, *, margin: float) -> ERModel:
    start = partial(torch.nn.init.uniform_, **_wide(margin, dim))
    return TransE(
        triples_factory=factory,
        embedding_dim=dim,
        scoring_fct_norm=1,
        entity_initializer=start,
        entity_constrainer=None,
        relation_initializer=start,
        loss=loss,
        random_seed=_UNSEEDED,
    )


def _rotate(factory: CoreTriplesFactory, dim: int, loss: Loss, *, margin: float) -> ERModel:
    return RotatE(
        triples_factory=factory,
        embedding_dim=dim,
        entity_initializer=partial(torch.nn.init.uniform_, **_wide(margin, dim)),
        loss=loss,
        random_seed=_UNSEEDED,
    )


def _transr(factory: CoreTriplesFactory, dim: int, loss: Loss) -> ERModel:
    return TransR(
        triples_factory=factory,
        embedding_dim=dim,
        relation_dim=dim,
        scoring_fct_norm=2,
        power_norm=True,
        loss=loss,
        random_seed=_UNSEEDED,
    )


def _distmult(factory: CoreTriplesFactory, dim: int, loss: Loss) -> ERModel:
    return DistMult(
        triples_factory=factory,
        embedding_dim=dim,
        entity_constrainer=None,
        entity_initializer=partial(torch.nn.init.normal_, std=0.1),
        entity_representations_kwargs={"dropout": 0.2},
        relation_initializer=partial(torch.nn.init.normal_, std=0.3),
        regularizer=None,
        loss=loss,
        random_seed=_UNSEEDED,
    )


def _complex(factory: CoreTriplesFactory, dim: int, loss: Loss) -> ERModel:
    # PyKEEN's class `ComplEx` takes no dropout; its interaction with these embeddings is the same.
    table = {
        "shape": dim,
        "dtype": torch.cfloat,
        "initializer": torch.nn.init.normal_,
        "initializer_kwargs": {"std": 0.05},
    }
    return ERModel(
        triples_factory=factory,
        interaction=ComplExInteraction,
        entity_representations_kwargs=table,
        relation_representations_kwargs=table,
        loss=loss,
        random_seed=_UNSEEDED,
    )


#: By name, for those who choose one.
RECIPES: dict[str, Recipe] = {
    "transe": Recipe(
        build=partial(_transe, margin=9.0),
        loss=partial(NSSALoss, margin=9.0, adversarial_temperature=1.0),
        loop="slcwa",
        optimizer=torch.optim.Adam,
        learning_rate=3e-2,
        dim=128,
        batch=512,
        negatives=32,
    ),
    "transr": Recipe(
        build=_transr,
        loss=partial(MarginRankingLoss, margin=1.0),
        loop="slcwa",
        optimizer=torch.optim.Adam,
        learning_rate=1e-3,
        dim=50,
        batch=256,
        negatives=4,
        sampler="bernoulli",
    ),
    # Not lcwa: PyKEEN's DistMult builds head x tail x d numbers there, gigabytes a batch.
    "distmult": Recipe(
        build=_distmult,
        loss=CrossEntropyLoss,
        loop="slcwa",
        optimizer=torch.optim.Adagrad,
        learning_rate=0.1,
        dim=128,
        batch=512,
        negatives=64,
        reciprocal=True,
    ),
    "complex": Recipe(
        build=_complex,
        loss=CrossEntropyLoss,
        loop="lcwa",
        optimizer=torch.optim.Adagrad,
        learning_rate=0.1,
        dim=100,
        batch=512,
        reciprocal=True,
    ),
    "rotate": Recipe(
        build=partial(_rotate, margin=2.0),
        loss=partial(NSSALoss, margin=2.0, adversarial_temperature=1.0),
        loop="slcwa",
        optimizer=torch.optim.Adam,
        learning_rate=1e-2,
        dim=100,
        batch=512,
        negatives=32,
    ),
}
