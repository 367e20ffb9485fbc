"""Which edges facets learn from."""

import numpy as np
import pytest
from faceted import camps, graph_of

from ranking.errors import FacetUnavailable
from ranking.pretraining.graph import graph_of_snapshot


def test_pairs_are_what_people_do_with_what_they_are_shown():
    graph = graph_of([(3, 0, 0), (3, 1, 1), (0, 2, 2)], films=2, genres=1, users=2)
    assert graph.joining == [0, 1]
    assert graph.pairs.tolist() == [0, 1]
    assert graph.degree.tolist() == [2, 1, 1, 2, 0]
    assert graph.paired().tolist() == [True, True, False, True, False]


def test_without_pairs_there_is_nothing_to_learn():
    graph = graph_of([(0, 2, 2)], films=2, genres=1, users=1)
    with pytest.raises(FacetUnavailable, match="an edge from user to film"):
        graph.pairs  # noqa: B018 (it raises)
    with pytest.raises(FacetUnavailable, match="film, genre, user"):
        graph.type_range("ad")


def test_a_snapshots_rows_are_the_graphs(world):
    """Two films, then three users; a click of each of the first two, and one film is a sequel."""
    triples = [(2, 0, 0), (3, 0, 1), (1, 2, 0)]
    events = [(0, 0, 0, 5, 1, 1), (1, 1, 0, 6, 0, 1)]
    made = world(events, users=3, films=2, known_users=3, known_films=2, triples=triples)
    graph = graph_of_snapshot(made.snapshot)
    assert (graph.head_type, graph.tail_type) == ("user", "film")
    assert graph.ids.tolist() == ["f0", "f1", "u0", "u1", "u2"]
    assert graph.pairs.tolist() == [0, 1]
    graph.weight[0] = 2.0  # torch warns of memory that cannot be written


def test_the_camps_are_as_they_are_described():
    graph = camps()
    user, film = graph.head[graph.pairs] - 22, graph.tail[graph.pairs]
    assert (user % 2 == film % 2).all()
    assert not np.isin([19, 61], np.concatenate([graph.head, graph.tail])).any()
