import numpy as np
import pytest

from kge.queries import group
from kge.triples import graph_of_snapshot

EDGES = [("u1", "click", f"f{n}") for n in range(1, 6)]
EDGES += [("u2", "click", "f1"), ("f1", "genre", "t1"), ("f2", "genre", "t1")]


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_units_hold_every_edge_of_every_side_once(make_snapshot, most: int):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    queries = group(graph, most)
    for side in range(4):
        found = []
        for unit in range(*queries.side_first[side : side + 2]):
            edges = slice(queries.first[unit], queries.last[unit])
            assert 1 <= edges.stop - edges.start <= most
            found += [(queries.head[unit], tail) for tail in queries.tail[edges].tolist()]
        own = graph.relation == side % 2
        ends = (graph.head, graph.tail) if side < 2 else (graph.tail, graph.head)
        assert sorted(found) == sorted(zip(ends[0][own], ends[1][own], strict=True))
        assert queries.edges_of(side) == len(found)


def test_units_of_one_query_know_all_of_its_tails(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    queries = group(graph, 2)
    u1 = list(graph.ids).index("u1")
    units = np.flatnonzero(queries.head == u1)
    assert len(units) == 3  # five tails, two at most in each
    for unit in units:
        every = slice(queries.query_first[unit], queries.query_last[unit])
        assert sorted(queries.tail[every].tolist()) == [0, 1, 2, 3, 4]
