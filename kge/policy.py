"""What the dials are where nobody set them: derived from the graph, by rules that are written here.

Takes a graph and dials, gives dials without gaps and the reason for each; never trains. Nothing in
here knows a data set by name.

There are two kinds of graphs. In one people click and buy: few types of entities, each with edges
to many of another, and what counts is who stands near whom. In the other, an encyclopedia, edges
are facts: many relations of every cardinality, and what counts is the one right tail. Defaults of
the first kind are those of `TransRAConfig`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from kge.config import TransRAConfig
from kge.dials import Dials, set_ones
from kge.errors import ConfigError
from kge.triples import Graph

#: A round over the edges should move the parameters about this often, and a batch should not be
#: smaller or larger than this many edges.
_BATCHES_A_ROUND = 256
_BATCH = (16, 1024)
#: Extensions of processors that multiply bfloat16.
_HALF = ("avx512_bf16", "amx_tile")
#: Numbers that M_r may have for each fact of a relation, and the heights its blocks may have.
_NUMBERS_A_FACT = 8
_HEIGHTS = (2, 32)
#: A training with time left makes members, at most so many, each of the rounds that `epochs` says.
_MOST_MEMBERS = 4
#: Operations per second and thread of a whole round, by precision, and seconds that a batch takes
#: beside them: with all candidates, and with rows that have to be gathered.
_PACE = {"bfloat16": 7e10, "float32": 3.5e10}
_BATCH_SECONDS, _DRAWN_BATCH_SECONDS = 0.0025, 0.015
#: Where a clock ends a training, so many of its rounds are early ones, which draw negatives; but no
#: more than this share of its time.
_EARLY_ROUNDS, _MOST_EARLY = 16, 0.4
#: `projected_l2` as a part of the loss of a guess among all entities.
_L2_OF_A_GUESS = 0.02

#: Dials of graphs of facts, where they differ.
_FACTS: dict[str, tuple[Any, str]] = {
    "dim": (256, "entities take part in many relations"),
    "relation_dim": (256, "as dim"),
    "tails": ("still", "tails need no matrix of their own where heads have one per direction"),
    "matrix_gain": (1.0, "heads have to meet tails that stay still"),
    "inverse": ("transpose", "a matrix has twice the facts to learn from"),
    "matrix_flips": (0.5, "a relation that goes both ways needs a reflection"),
    "optimizer": ("adam", "full batches of facts are few, and every step has to count"),
    "learning_rate": (0.002, "what suits Adam"),
    "relation_learning_rate": (
        0.03,
        "what suits Adam and matrices that one batch in hundreds touches",
    ),
    "dropout": (0.3, "facts are learned by heart without it"),
    "max_norm": (1e6, "the regularizer bounds lengths already"),
    "negatives": (8192, "up to twice as many tails are scored whole, which needs no sampling"),
    "gate_edges": (0.0, "entities of an encyclopedia have no behavior to borrow"),
    "prior_share": (0.0, "no entity is new with a type alone to go by"),
    "prior_edges": (
        0.03,
        "an edge says more of an entity than what its kind have in common",
    ),
    "epochs": (30.0, "regularized, a graph of facts goes on to gain so long"),
}


#: What members need, and what grows with them: whoever sets one of these has as many as he says.
_OF_MEMBERS = {"dim", "relation_dim", "projection", "projection_blocks", "members"}

#: Dials that say what vectors and matrices are made of. Where a training begins with a bundle they
#: follow from no graph: a mean that moved, or the first click, would change them, and the maps of
#: before would fit no more.
_FORM = (
    *("dim", "relation_dim", "projection", "projection_blocks", "members", "tails", "inverse"),
    "bias",
    *("max_norm", "gate_edges", "matrix_gain", "matrix_flips", "prior_edges"),
)
_AS_BEFORE = "as in the bundle before, whose maps it begins with"


@dataclass(frozen=True)
class Chosen:
    """Dials without gaps, and why the gaps were filled so."""

    config: TransRAConfig
    #: dial -> sentence
    reasons: dict[str, str]


def choose(
    graph: Graph,
    dials: Dials,
    before: Mapping[str, Any] | None = None,
    seconds: float | None = None,
) -> Chosen:
    """Fill the dials that nobody set. Raises `ConfigError` where those that are set contradict.

    `before`: the dials of the bundle that the training begins with, which keep its form.
    `seconds`: how long it will last, where that is not for its epochs to say.
    """
    given = set_ones(dials)
    derived = _steps(graph, given)
    if is_of_facts(graph):
        derived |= {name: (value, f"facts: {why}") for name, (value, why) in _FACTS.items()}
        if has_bfloat16():
            derived["precision"] = ("bfloat16", "facts: scored whole, and this processor has it")
        derived["projected_l2"] = _regularizer(graph)
        derived |= _blocks(graph, dials.dim or _FACTS["dim"][0])
        if seconds is not None and before is None:
            values = {name: value for name, (value, _) in derived.items()} | given
            rounds = _Rounds.of(graph, values)
            if not given.keys() & _OF_MEMBERS:
                derived |= _members(rounds, seconds, values)
            members = given.get("members", derived.get("members", (1,))[0])
            derived |= _early(rounds, seconds / members)
    if "dim" in given:
        derived["relation_dim"] = (given["dim"], "as dim")
    derived |= _form(before or {}, given)
    tails = given.get("tails", derived["tails"][0] if "tails" in derived else "same")
    if tails != "still" or not given.get("reciprocal", True):
        derived.pop("inverse", None)  # which needs both
    filled = {name: value for name, (value, _) in derived.items()} | given
    reasons = {name: why for name, (_, why) in derived.items() if name not in given}
    return Chosen(TransRAConfig(**filled), reasons)


def is_of_facts(graph: Graph) -> bool:
    """Whether nobody acts in it: every relation is structure."""
    return all(relation.source == "structure" for relation in graph.relations)


def _form(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """The form of the bundle before; none where somebody asks for vectors of another length."""
    form = {name: before[name] for name in _FORM if name in before}
    if any(given.get(name, form.get(name)) != form.get(name) for name in ("dim", "relation_dim")):
        return {}
    if form.get("projection") == "low_rank":
        form["projection"] = "full"  # such matrices take over any others
    return {name: (value, _AS_BEFORE) for name, value in form.items()}


def _blocks(graph: Graph, dim: int) -> dict[str, tuple[Any, str]]:
    """Block-diagonal matrices; full ones where vectors cannot be cut in two.

    A relation of few facts learns these by heart with a matrix of many numbers.
    """
    facts = len(graph.head) / len(np.unique(graph.relation))
    wanted = np.log2(max(_NUMBERS_A_FACT * facts / dim, 1))
    height = min(int(np.clip(2 ** int(wanted), *_HEIGHTS)), dim & -dim)
    if height < _HEIGHTS[0]:
        return {}
    why = (
        f"facts: {facts:.0f} per relation, and up to {_NUMBERS_A_FACT} numbers for each; so blocks "
        f"of {height}, a power of two that divides {dim}, from {_HEIGHTS[0]} to {_HEIGHTS[1]}"
    )
    return {"projection": ("block", why), "projection_blocks": (dim // height, why)}


class _Rounds(NamedTuple):
    """How long a round over all edges takes, by rule of thumb, in seconds."""

    whole: float
    #: with as many negatives as are drawn early; 0: nothing is drawn that could be taken whole
    early: float

    @classmethod
    def of(cls, graph: Graph, value: Mapping[str, Any]) -> "_Rounds":
        size, batches = graph.entity_count, 2 * len(graph.head) / value["batch"]
        asked = sum(
            len(np.unique(graph.relation.astype(np.int64) * size + end))
            for end in (graph.head, graph.tail)
        )
        # Scores, and what they change of either factor: three products of two operations each.
        pace = _PACE[value.get("precision", "float32")] * torch.get_num_threads()
        products = 6.0 * asked * value["dim"] / pace
        negatives = value["negatives"]
        few = value.get("early_negatives", TransRAConfig().early_negatives)
        taken = size if size <= 2 * negatives else negatives
        whole = products * taken + batches * _BATCH_SECONDS
        if not 2 * few < size <= 2 * negatives:
            return cls(whole, 0.0)
        return cls(whole, products * few + batches * _DRAWN_BATCH_SECONDS)

    def seconds(self, epochs: float) -> float:
        """Of a member whose first rounds are early ones."""
        early = min(_EARLY_ROUNDS, epochs) if self.early else 0.0
        return early * self.early + (epochs - early) * self.whole


def _members(
    rounds: _Rounds, seconds: float, value: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """As many trainings beside one another as there is time for."""
    each = rounds.seconds(value["epochs"])
    members = int(np.clip(seconds / each, 1, _MOST_MEMBERS))
    if members == 1:
        return {}
    why = f"facts: time for {seconds / each * value['epochs']:.0f} rounds with {value['dim']}"
    grown = ("dim", "relation_dim", "projection_blocks")
    told = f"facts: {members} members of "
    return {
        "members": (members, f"{why} numbers, of which {value['epochs']:g} are enough"),
        **{name: (members * value[name], f"{told}{value[name]}") for name in grown},
    }


def _early(rounds: _Rounds, seconds: float) -> dict[str, tuple[Any, str]]:
    """The part of a member's time in which few negatives are drawn."""
    if not rounds.early:
        return {}
    share = min(_MOST_EARLY, _EARLY_ROUNDS * rounds.early / seconds)
    why = (
        f"facts: who knows little learns as much from few negatives, in rounds of "
        f"{rounds.early:.3g} seconds beside {rounds.whole:.3g}; {_EARLY_ROUNDS} of them, or "
        f"{_MOST_EARLY:.0%} of the time"
    )
    return {"early_share": (round(share, 3), why)}


def _regularizer(graph: Graph) -> tuple[float, str]:
    """Losses of facts grow with the logarithm of the entities, and so has what they outweigh."""
    guess = float(np.log(max(graph.entity_count, 2)))
    return round(_L2_OF_A_GUESS * guess, 4), (
        f"facts: learned by heart without it; {_L2_OF_A_GUESS:g} of {guess:.3g}, the loss of a "
        f"guess among {graph.entity_count} entities"
    )


def has_bfloat16() -> bool:
    """Whether products of half precision are quicker here than whole ones."""
    known = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in _HALF)
    return any(asked is not None and asked() for asked in known)


def _steps(graph: Graph, given: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Edges of a batch, and of a block: a batch that is one relation's is one block."""
    edges = 2 * len(graph.head)
    wanted = np.log2(max(edges / _BATCHES_A_ROUND, 1))
    batch = int(np.clip(2 ** round(wanted), *_BATCH))
    why = (
        f"{edges} edges in both directions over {_BATCHES_A_ROUND} batches, as a power of two "
        f"from {_BATCH[0]} to {_BATCH[1]}"
    )
    if given.get("block", 0) > given.get("batch", math.inf):
        raise ConfigError(
            f"block should be at most batch, {given['batch']}, received {given['block']}"
        )
    if given.get("block", 0) > batch:
        batch, why = given["block"], "as block"
    largest = TransRAConfig().block
    block = min(largest, given.get("batch", batch))
    derived: dict[str, tuple[Any, str]] = {"batch": (batch, why)}
    if block < largest:
        derived["block"] = (block, "as batch, whose blocks are whole")
    return derived
