"""How much memory a training takes, before it takes it; and what to shrink so that it fits.

Takes a graph, dials and a budget, gives a plan or refuses with numbers; never trains and never asks
the machine for anything. Evaluation is bounded by a budget of its own, see `kge/evaluate.py`.

What the process holds at this moment has no say: a training that goes on after a kill, in a process
that did other things before, has to have the dials with which it began, and so has one on another
machine. A fixed allowance stands for the interpreter and its libraries.

Four moments compete for the peak: grouping edges into queries, a step, handing the arrays out, and
folding in who only acts.
Bytes per edge and per row below are those of the arrays that exist at that moment. Reading files of
triples (`kge/files.py`) takes less than the first of them.
"""

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from kge.arrays import FacetArrays
from kge.bundle import acting
from kge.config import TransRAConfig
from kge.errors import MemoryBudget
from kge.factors import ROWS
from kge.foldin import NUMBERS
from kge.frame import Previous
from kge.losses import SLICE
from kge.members import alone, together
from kge.negatives import Pools
from kge.triples import Graph

MIB = 1 << 20
#: What a worker has once all that it needs is imported, on Linux; `tests/kge/test_memory.py` would
#: see it grow.
LIBRARIES = 560 * MIB
_FLOAT, _LONG = 4, 8
#: Of one edge and one entity in a `Graph`; an id is a string of about a dozen characters.
_GRAPH_EDGE, _GRAPH_ENTITY = 28, 76
#: Of one edge in one direction: while edges are sorted into queries, and kept.
_EDGE_GROUPING, _EDGE = 56, 8
#: Of one unit (a head and some of its tails): while units are made, and kept.
_UNIT_GROUPING, _UNIT = 60, 36
#: Of one edge in one direction while neighborhoods become sparse rows.
_EDGE_NEIGHBORS = 60
#: Of one edge of an entity that is folded in, while all are put in order; and of a number of the
#: vectors at the other ends of a part of them.
_EDGE_SETTLING, _NUMBER_SETTLING = 60, 48
#: Of one row while the model is made: degrees, types and popularity in double precision.
_ROW_BUILDING = 64
#: Copies of a touched row in a step: values, gradients, and what the optimizer makes on its way.
_ROW_COPIES = 8
#: Bytes of a score in a step; products of half precision are laid out anew before they are made.
_SCORE = {"float32": 4, "bfloat16": 6}
#: Tables that the margin loss has of a block, and copies of the pairs that it looks at together.
_MARGIN, _SLICES = 3, 4
#: What torch and the allocator keep beside, once a step was taken.
_BESIDE = 32 * MIB
#: The allocator gives back little of what building took.
_NOT_GIVEN_BACK = 0.95
#: Smallest block and fewest negatives to which a plan shrinks.
_LEAST = 64


@dataclass(frozen=True)
class Room:
    """Bytes that a process may take, and bytes that others of its trainings keep meanwhile."""

    budget: int
    beside: int = 0


@dataclass(frozen=True)
class Plan:
    """Dials that fit, and the bytes that the process has at its peak."""

    config: TransRAConfig
    peak: int
    #: moment -> bytes then
    moments: dict[str, int]


def predict(graph: Graph, config: TransRAConfig, beside: int = 0) -> Plan:
    """The peak of a process that holds a graph and `beside` bytes for others, and then trains."""
    one, others = alone(config), config.members - 1
    # The last member learns beside all that the others learned.
    held = LIBRARIES + beside + _graph(graph) + others * _model(graph, one)
    grouping = held + _grouping(graph, one)
    kept = held + _tables(graph, one) + _queries(graph)
    step = max(kept + _BESIDE + _step(graph, one), int(_NOT_GIVEN_BACK * grouping))
    free = max(0, int(_NOT_GIVEN_BACK * grouping) - kept)
    moments = {
        "grouping": grouping,
        "step": step,
        # What is handed out are few large arrays, which find no place among freed small ones.
        "arrays": kept + _BESIDE + free + _arrays(graph, config),
        "settling": kept + _BESIDE + _arrays(graph, config) + _settling(graph, config),
    }
    return Plan(config, max(moments.values()), moments)


def plan(graph: Graph, config: TransRAConfig, room: Room) -> Plan:
    """Dials whose peak is within the budget: blocks, then negatives are halved until it is.

    Where what is handed out is too large, or no blocks are small enough, members are left out. The
    same graph, dials and room give the same plan. Raises `MemoryBudget` where nothing helps.
    """
    found = predict(graph, config, room.beside)
    while found.peak > room.budget:
        moment = max(found.moments, key=found.moments.__getitem__)
        smaller = _smaller(found.config) if moment == "step" else None
        if smaller is None and found.config.members > 1:
            smaller = together(found.config, found.config.members - 1)
        if smaller is None:
            told = ", ".join(f"{name} {size // MIB} MiB" for name, size in found.moments.items())
            before = (LIBRARIES + room.beside + _graph(graph)) // MIB
            raise MemoryBudget(
                f"memory should be at least {math.ceil(found.peak / MIB)} MiB for "
                f"{graph.entity_count} entities, {len(graph.head)} edges and vectors of "
                f"{config.dim}, received {room.budget // MIB} MiB ({before} before it "
                f"begins; {told}); a smaller dim takes less"
            )
        found = predict(graph, smaller, room.beside)
    return found


def size(arrays: FacetArrays | Previous | Graph) -> int:
    """Bytes of what a training has handed out, begins with, or learns from."""
    held = (getattr(arrays, field.name) for field in fields(arrays))
    return sum(column.nbytes for column in held if isinstance(column, np.ndarray))


def _smaller(config: TransRAConfig) -> TransRAConfig | None:
    """Half the block, or half the negatives; None where both are small."""
    if config.block > _LEAST and config.block >= config.negatives // 8:
        half = config.block // 2
        return replace(config, block=half, batch=max(min(half, config.batch), config.batch // 2))
    if config.negatives > _LEAST:
        return replace(config, negatives=config.negatives // 2)
    return None


def _graph(graph: Graph) -> int:
    return len(graph.head) * _GRAPH_EDGE + graph.entity_count * _GRAPH_ENTITY


def _units(graph: Graph) -> int:
    return int(_queries_of_sides(graph).sum())


def _queries_of_sides(graph: Graph) -> NDArray[np.int64]:
    """At most so many queries of each side: its edges, or the entities of its head type."""
    edges = np.tile(np.bincount(graph.relation, minlength=len(graph.relations)), 2)
    sizes = np.array([t.stop - t.start for t in graph.types])
    heads = sizes[[graph.head_type_code(side) for side in range(len(edges))]]
    return np.minimum(edges, heads)


def _queries_of_a_block(graph: Graph, config: TransRAConfig) -> int:
    """At most so many, where a side's queries are spread evenly over its blocks."""
    edges = np.tile(np.bincount(graph.relation, minlength=len(graph.relations)), 2)
    blocks = np.maximum(-(-edges // config.block), 1)
    return int(np.ceil(_queries_of_sides(graph) / blocks).max())


def _queries(graph: Graph) -> int:
    return 2 * len(graph.head) * _EDGE + _units(graph) * _UNIT


def _grouping(graph: Graph, config: TransRAConfig) -> int:
    edges = 2 * len(graph.head)
    sorting = edges * _EDGE_GROUPING + _units(graph) * _UNIT_GROUPING
    sorting += graph.entity_count * _ROW_BUILDING
    model = _tables(graph, config)
    leaning = edges * _EDGE_NEIGHBORS if config.gate_edges else 0
    return max(model + sorting, leaning)


def _relation_numbers(graph: Graph, config: TransRAConfig) -> int:
    """Numbers that are learned of all relations."""
    sides = len(graph.relations) * (2 if config.reciprocal else 1)
    matrix = {
        "full": config.dim * config.relation_dim,
        "low_rank": config.projection_rank * (config.dim + config.relation_dim)
        + config.relation_dim,
        "block": config.dim * config.relation_dim // config.projection_blocks,
    }[config.projection]
    matrices = {"same": 1.0, "own": 2.0, "still": 1.0}[config.tails]
    if config.inverse == "transpose":
        matrices /= 2
    return int(sides * (matrices * matrix + config.relation_dim))


def _model(graph: Graph, config: TransRAConfig) -> int:
    """Parameters, and what leans."""
    rows = graph.entity_count
    # Relations keep their start beside them.
    numbers = rows * (config.dim + 2) + 2 * _relation_numbers(graph, config)
    leaning = rows * (config.nearest_anchors * (_LONG + _FLOAT) + _FLOAT)
    return numbers * _FLOAT + leaning


def _tables(graph: Graph, config: TransRAConfig) -> int:
    """A model, the state of its optimizers, and what places."""
    rows, relations = graph.entity_count, _relation_numbers(graph, config)
    adam = config.optimizer == "adam"
    state = rows * (config.dim + 2) + 2 * relations if adam else rows + relations
    return _model(graph, config) + state * _FLOAT + rows * _LONG


def _step(graph: Graph, config: TransRAConfig) -> int:
    most = Pools(graph, config).most()
    # A block may hold twice its share where one head has very many tails.
    pairs = 2 * max(config.batch, config.block)
    touched = min(graph.entity_count, 2 * pairs + most)
    rows = touched * config.dim * _ROW_COPIES
    width = config.relation_dim
    points = most * (config.dim + 4 * width)
    queries = pairs * 6 * (config.dim + width)
    matrices = 8 * config.dim * width
    asked = _queries_of_a_block(graph, config)
    at_once = min(asked, ROWS) if config.precision == "float32" else asked
    scores = at_once * most * _SCORE[config.precision]
    if config.loss == "margin":
        scores = (_MARGIN * asked * (most + 1) + _SLICES * SLICE) * _FLOAT
    return (rows + points + queries + matrices) * _FLOAT + scores


def _arrays(graph: Graph, config: TransRAConfig) -> int:
    sides = 2 * len(graph.relations)
    maps = sides * config.dim * config.relation_dim * (2 if config.tails == "same" else 4)
    # Vectors of members are laid side by side in new ones.
    copies = (2 if config.settle else 1) + (config.members > 1)
    vectors = graph.entity_count * (config.dim * copies + 2)
    leaning = graph.entity_count * 2 * config.nearest_anchors if config.gate_edges else 0
    return (maps + vectors + leaning) * _FLOAT


def _settling(graph: Graph, config: TransRAConfig) -> int:
    """While those who only act are folded in, a part of them at a time."""
    settled = acting(graph.relations) if config.settle else ()
    edges = sum(
        int(np.count_nonzero((graph.head >= kind.start) & (graph.head < kind.stop)))
        for kind in graph.types
        if kind.name in settled
    )
    return edges * _EDGE_SETTLING + min(edges * config.dim, NUMBERS) * _NUMBER_SETTLING
