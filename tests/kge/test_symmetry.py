import dataclasses

import numpy as np
import pytest

from kge.config import TransRAConfig
from kge.model import build_model, parts
from kge.symmetry import both_ways
from kge.triples import Graph, graph_of_snapshot

EDGES = [("u1", "click", "f1"), ("f1", "genre", "t1")]
CLICK, GENRE = 0, 1


@pytest.fixture
def graph(make_snapshot) -> Graph:
    """Four of five clicks go both ways, and two of four genres."""
    base = graph_of_snapshot(make_snapshot(EDGES))
    edges = [(h, CLICK, t) for h, t in [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2)]]
    edges += [(h, GENRE, t) for h, t in [(0, 1), (1, 0), (1, 2), (0, 2), (2, 2), (1, 1)]]
    head, relation, tail = (np.array(column, dtype=np.int64) for column in zip(*edges, strict=True))
    weight = np.ones(len(edges), np.float32)
    return dataclasses.replace(base, head=head, relation=relation, tail=tail, weight=weight)


def test_a_relation_goes_both_ways_if_most_of_its_edges_do(graph: Graph):
    # clicks: 4 of 5; genres: 2 of 4, edges to oneself aside, which is not most
    assert both_ways(graph).tolist() == [True, False]


@pytest.mark.parametrize("tails", ["still", "own", "same"])
def test_its_matrices_begin_as_reflections_where_tails_do_not_share_them(graph: Graph, tails: str):
    config = TransRAConfig(
        dim=6, relation_dim=6, tails=tails, matrix_flips=1.0, matrix_noise=0.0, matrix_gain=1.0
    )
    part = parts(build_model(graph, config))
    signs = part.matrices(None).diagonal(dim1=1, dim2=2)
    assert (signs[:2] == (1.0 if tails == "same" else -1.0)).all()
    assert (signs[2:] == 1.0).all()
    if part.tail_matrices is not None:
        assert (part.tail_matrices(None).diagonal(dim1=1, dim2=2) == 1.0).all()
