"""A graph whose missing edges a human can fill in: people live in cities, friends in the same one.

Person n lives in city n mod 6 (relation 0, "lives in"), and knows the six people after him who live
there too (relation 1, "knows"). Withheld: where every fifth person lives.
"""

import numpy as np

from graphsvc.snapshot import RelationInfo, TypeRange
from kge.evaluate import link_prediction
from kge.triples import Graph

CITIES = range(6)
PEOPLE = 60


def graph_of(triples, *, entities: int, relations: int) -> Graph:
    columns = np.array(triples, dtype=np.int64)
    return Graph(
        head=columns[:, 0].copy(),
        relation=columns[:, 1].copy(),
        tail=columns[:, 2].copy(),
        weight=np.ones(len(columns), np.float32),
        types=[TypeRange("entity", 0, entities)],
        relations=[
            RelationInfo(name=f"r{n}", head="entity", tail="entity", source="structure")
            for n in range(relations)
        ],
        ids=np.array([f"e{n}" for n in range(entities)], dtype=object),
        snapshot_rows=np.arange(entities, dtype=np.int32),
    )


def planted() -> tuple[Graph, np.ndarray]:
    """The graph, and the withheld triples."""
    first = len(CITIES)
    lives = [(first + n, 0, n % 6) for n in range(PEOPLE)]
    knows = [
        (first + n, 1, first + (n + 6 * step) % PEOPLE)
        for n in range(PEOPLE)
        for step in range(1, 7)
    ]
    kept = [edge for n, edge in enumerate(lives) if n % 5]
    graph = graph_of(kept + knows, entities=first + PEOPLE, relations=2)
    return graph, np.array(lives[::5], dtype=np.int64)


def ranked_first(scorer, graph: Graph, withheld: np.ndarray) -> float:
    """In how many of the withheld edges the right city comes first."""
    train = np.stack([graph.head, graph.relation, graph.tail], axis=1)
    return float((link_prediction(scorer, withheld, [train]).tail_rank == 1).mean())
