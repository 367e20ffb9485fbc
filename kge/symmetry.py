"""Which relations go both ways, as `married to` does.

Takes a graph, gives a yes or no per relation; knows no vector. Our design.
"""

import numpy as np
from numpy.typing import NDArray

from kge.triples import Graph

#: From this share of edges on, whose other direction is there too, a relation goes both ways. Not
#: all of them, since held-out edges are missing.
_ENOUGH = 0.5


def both_ways(graph: Graph) -> NDArray[np.bool_]:
    """[R] relations most of whose edges are there in both directions; edges to oneself aside."""
    count, size = len(graph.relations), graph.entity_count
    apart = graph.head != graph.tail
    head, relation, tail = (
        part[apart].astype(np.int64) for part in (graph.head, graph.relation, graph.tail)
    )
    there = np.isin((relation * size + head) * size + tail, (relation * size + tail) * size + head)
    edges = np.bincount(relation, minlength=count)
    found = np.bincount(relation[there], minlength=count)
    return found > _ENOUGH * np.maximum(edges, 1)
