import numpy as np
import pytest
from pykeen.triples import CoreTriplesFactory

from kge.errors import TooFewTriples
from kge.triples import graph_of_factory, graph_of_snapshot

EDGES = [("u1", "click", "f2"), ("u3", "click", "f1"), ("f2", "genre", "t1")]
#: u2 and f9 have no edge, so they have no dense row.
ACTS = [("u2", "f9", 5, 1)]


def test_dense_rows_leave_out_who_has_no_edge(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES, ACTS))
    assert graph.ids.tolist() == ["f1", "f2", "t1", "u1", "u3"]
    assert [tuple(t) for t in graph.types] == [("film", 0, 2), ("thing", 2, 3), ("user", 3, 5)]
    # the snapshot's rows: f1 f2 f9 t1 u1 u2 u3
    assert graph.snapshot_rows.tolist() == [0, 1, 3, 4, 6]
    assert graph.degree.tolist() == [1, 2, 1, 1, 1]


def test_pykeen_gets_the_same_triples(make_snapshot):
    snapshot = make_snapshot(EDGES, ACTS)
    graph = graph_of_snapshot(snapshot)
    factory = graph.factory()
    assert (factory.num_entities, factory.real_num_relations, factory.num_relations) == (5, 2, 4)
    names = [
        (graph.ids[h], graph.relations[r].name, graph.ids[t])
        for h, r, t in factory.mapped_triples.tolist()
    ]
    assert sorted(names) == sorted(EDGES)


def test_a_reciprocal_side_swaps_the_types(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    assert [graph.tail_type(side).name for side in range(4)] == ["film", "thing", "user", "film"]
    assert [graph.head_type_code(side) for side in range(4)] == [2, 0, 0, 1]


def test_a_snapshot_without_edges_is_refused(make_snapshot):
    with pytest.raises(TooFewTriples):
        graph_of_snapshot(make_snapshot([], ACTS))


def test_any_pykeen_data_set_becomes_a_graph():
    factory = CoreTriplesFactory(np.array([[0, 0, 1], [1, 1, 2]]), num_entities=4, num_relations=2)
    graph = graph_of_factory(factory)
    assert (graph.entity_count, len(graph.relations)) == (4, 2)
    assert graph.degree.tolist() == [1, 2, 1, 0]


def test_a_type_may_be_left_out_with_all_its_edges(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES, ACTS), without="user")
    # f1 has a click alone, and relations keep their place.
    assert graph.ids.tolist() == ["f2", "t1"]
    assert [tuple(t) for t in graph.types] == [("film", 0, 1), ("thing", 1, 2), ("user", 2, 2)]
    told = [
        (graph.ids[h], graph.relations[r].name, graph.ids[t])
        for h, r, t in zip(graph.head, graph.relation, graph.tail, strict=True)
    ]
    assert told == [("f2", "genre", "t1")]
    with pytest.raises(TooFewTriples, match="edges that touch no film, received none"):
        graph_of_snapshot(make_snapshot(EDGES), without="film")
