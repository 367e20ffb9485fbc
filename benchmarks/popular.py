"""A graph of any size in which few are popular and most are not, drawn from a seed.

Takes sizes, gives triples; never looks at a real graph. There is nothing to be learned in it: it is
for measuring what training costs.
"""

import numpy as np
from numpy.typing import NDArray
from pykeen.triples import CoreTriplesFactory

from kge.triples import Graph, graph_of_factory

#: The entity of rank n has edges ~ n^-.75: of a hundred thousand the first has 1.4 % of all.
POWER = 0.75
#: Relations: ~ 1 / n, Zipf's law itself.
RELATION_POWER = 1.0


def popular_triples(
    *, entities: int, triples: int, relations: int, seed: int = 0
) -> NDArray[np.int64]:
    """int64 [triples, 3] distinct (head, relation, tail), in random order."""
    draw = np.random.default_rng(seed)
    # Who is popular is not told by the number.
    named = draw.permutation(entities)
    codes = np.empty(0, dtype=np.int64)
    while len(codes) < triples:
        many = triples - len(codes) + triples // 8 + 16
        head, tail = (named[_ranks(draw, entities, POWER, many)] for _ in range(2))
        relation = _ranks(draw, relations, RELATION_POWER, many)
        code = (relation * entities + head) * entities + tail
        codes = np.unique(np.concatenate([codes, code]))
    codes = draw.permutation(codes)[:triples]
    rest, tail = np.divmod(codes, entities)
    relation, head = np.divmod(rest, entities)
    return np.stack([head, relation, tail], axis=1)


def graph_of_triples(triples: NDArray[np.int64], *, entities: int, relations: int) -> Graph:
    """A graph of one entity type and relations by number."""
    return graph_of_factory(
        CoreTriplesFactory(
            mapped_triples=np.ascontiguousarray(triples),
            num_entities=entities,
            num_relations=relations,
            create_inverse_triples=False,
        )
    )


def _ranks(draw: np.random.Generator, count: int, power: float, many: int) -> NDArray[np.int64]:
    """Ranks from 0 on, with chances ~ (rank + 1)^-power."""
    cumulative = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -power)
    return np.searchsorted(cumulative, draw.random(many) * cumulative[-1], side="right").clip(
        max=count - 1
    )
