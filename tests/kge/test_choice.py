import numpy as np
import pytest

from kge.choice import choose, owner_of
from kge.config import TransRAConfig
from kge.features import Neighborhoods, sketch
from kge.triples import graph_of_snapshot

#: Films of two circles of users; those of u0-u3 are clicked more often.
EDGES = [(f"u{u}", "click", f"f{f}") for u in range(4) for f in range(4)]
EDGES += [(f"u{u}", "click", f"f{f}") for u in (4, 5) for f in range(4, 8)]


def chosen(graph, **dials) -> list[str]:
    kind = graph.types[0]
    rows = Neighborhoods(graph).of_type(kind)
    own = slice(kind.start, kind.stop)
    config = TransRAConfig(nearest_anchors=1, **dials)
    found = choose(rows, graph.degree[own], owner_of(graph, "thing")[own], config)
    assert len(set(found.tolist())) == len(found)
    return [str(graph.ids[kind.start + n]) for n in found]


def test_popular_ones_come_from_one_circle_and_typical_ones_from_both(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    assert chosen(graph, anchors_per_type=2, anchor_choice="degree") == ["f0", "f1"]
    typical = chosen(graph, anchors_per_type=2, anchor_choice="kmeans")
    assert {int(name[1]) // 4 for name in typical} == {0, 1}
    mixed = chosen(graph, anchors_per_type=3, anchor_choice="mixed")
    assert mixed[0] == "f0"
    assert {int(name[1]) // 4 for name in mixed} == {0, 1}


@pytest.mark.parametrize("choice", ["degree", "kmeans", "mixed"])
def test_there_are_as_many_as_asked_for_or_as_there_are(make_snapshot, choice):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    assert len(chosen(graph, anchors_per_type=5, anchor_choice=choice)) == 5
    assert len(chosen(graph, anchors_per_type=99, anchor_choice=choice)) == 8


@pytest.mark.parametrize("choice", ["degree", "kmeans", "mixed"])
def test_no_owner_has_more_than_its_part(make_snapshot, choice):
    owned = [(f"f{f}", "genre", "t1" if f < 6 else "t2") for f in range(8)]
    graph = graph_of_snapshot(make_snapshot([*EDGES, *owned]))
    found = chosen(graph, anchors_per_type=6, anchors_per_owner=2, anchor_choice=choice)
    owners = ["t1" if int(name[1]) < 6 else "t2" for name in found]
    assert owners.count("t1") == 2
    assert owners.count("t2") == 2
    free = chosen(graph, anchors_per_type=6, anchors_per_owner=0, anchor_choice=choice)
    assert len(free) == 6


def test_the_owner_is_at_the_other_end_of_a_structural_edge(make_snapshot):
    graph = graph_of_snapshot(make_snapshot([("f1", "genre", "t1"), ("u1", "click", "f2")]))
    row = {name: n for n, name in enumerate(graph.ids.tolist())}
    owner = owner_of(graph, "thing")
    assert owner[row["f1"]] == row["t1"]
    assert owner[row["f2"]] == owner[row["u1"]] == owner[row["t1"]] == -1


def test_rows_times_rows_are_cosines_and_a_sketch_keeps_them(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    rows = Neighborhoods(graph).of_type(graph.types[0])
    products = (rows @ rows.T).toarray()
    # f0 .. f3 share all of their four users, and none with f4 .. f7
    np.testing.assert_allclose(products, np.kron(np.eye(2), np.ones((4, 4))), atol=1e-6)
    near = sketch(rows, 4096, seed=0)
    np.testing.assert_allclose(near @ near.T, products, atol=0.1)
