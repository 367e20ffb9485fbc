"""What the dials are where nobody set them: derived from the graph, by rules that are written here.

Takes a graph and dials, gives dials without gaps and the reason for each; never trains. Nothing in
here knows a data set by name.

There are two kinds of graphs. In one people click and buy: few types of entities, each with edges
to many of another, and what counts is who stands near whom. In the other, an encyclopedia, edges
are facts: many relations of every cardinality, and what counts is the one right tail. Defaults of
the first kind are those of `TransRAConfig`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kge.config import TransRAConfig
from kge.dials import Dials, set_ones
from kge.triples import Graph

#: A round over the edges should move the parameters about this often, and a batch should not be
#: smaller or larger than this many edges.
_BATCHES_A_ROUND = 256
_BATCH = (16, 1024)
#: Extensions of processors that multiply bfloat16.
_HALF = ("avx512_bf16", "amx_tile")
#: Height of the blocks of M_r on graphs of facts.
_BLOCK = 8

#: Dials of graphs of facts, where they differ.
_FACTS: dict[str, tuple[Any, str]] = {
    "dim": (256, "entities take part in many relations"),
    "relation_dim": (256, "as dim"),
    "tails": ("still", "tails need no matrix of their own where heads have one per direction"),
    "matrix_gain": (1.0, "heads have to meet tails that stay still"),
    "matrix_flips": (0.5, "a relation that goes both ways needs a reflection"),
    "optimizer": ("adam", "full batches of facts are few, and every step has to count"),
    "learning_rate": (0.002, "of Adam"),
    "relation_learning_rate": (0.03, "of Adam, for matrices that one batch in hundreds touches"),
    "projected_l2": (0.15, "facts are learned by heart without it"),
    "dropout": (0.3, "the same"),
    "max_norm": (1e6, "the regularizer bounds lengths already"),
    "negatives": (8192, "up to twice as many tails are scored whole, which needs no sampling"),
    "gate_edges": (0.0, "entities of an encyclopedia have no behavior to borrow"),
    "prior_share": (0.0, "the same"),
    "epochs": (40.0, "regularized, a graph of facts goes on to gain so long"),
}


@dataclass(frozen=True)
class Chosen:
    """Dials without gaps, and why the gaps were filled so."""

    config: TransRAConfig
    #: dial -> sentence
    reasons: dict[str, str]


def choose(graph: Graph, dials: Dials) -> Chosen:
    """Fill the dials that nobody set. Raises `ConfigError` where those that are set contradict."""
    derived: dict[str, tuple[Any, str]] = {"batch": _batch(graph)}
    if all(relation.source == "structure" for relation in graph.relations):
        derived |= {name: (value, f"facts: {why}") for name, (value, why) in _FACTS.items()}
        if _has_bfloat16():
            derived["precision"] = ("bfloat16", "facts: scored whole, and this processor has it")
        derived |= _blocks(dials.dim or _FACTS["dim"][0])
    given = set_ones(dials)
    if "dim" in given:
        derived["relation_dim"] = (given["dim"], "as dim")
    filled = {name: value for name, (value, _) in derived.items()} | given
    reasons = {name: why for name, (_, why) in derived.items() if name not in given}
    return Chosen(TransRAConfig(**filled), reasons)


def _blocks(dim: int) -> dict[str, tuple[Any, str]]:
    """Block-diagonal matrices; full ones where vectors cannot be cut into such blocks."""
    if dim % _BLOCK:
        return {}
    why = (
        f"facts: with blocks of {_BLOCK} a relation has few numbers to learn its facts by heart "
        "with, and more dimensions can be afforded"
    )
    return {"projection": ("block", why), "projection_blocks": (dim // _BLOCK, why)}


def _has_bfloat16() -> bool:
    """Whether products of half precision are quicker here than whole ones."""
    known = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in _HALF)
    return any(asked is not None and asked() for asked in known)


def _batch(graph: Graph) -> tuple[int, str]:
    edges = 2 * len(graph.head)
    wanted = np.log2(max(edges / _BATCHES_A_ROUND, 1))
    return int(np.clip(2 ** round(wanted), *_BATCH)), (
        f"{edges} edges in both directions over {_BATCHES_A_ROUND} batches, as a power of two "
        f"from {_BATCH[0]} to {_BATCH[1]}"
    )
