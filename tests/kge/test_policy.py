import dataclasses

import numpy as np
import pytest

from kge.config import TransRAConfig
from kge.policy import choose
from kge.triples import graph_of_snapshot


def graph_of(make_snapshot, edges: int):
    graph = graph_of_snapshot(make_snapshot([("u1", "click", "f1")]))
    many = np.zeros(edges, dtype=np.int64)
    return dataclasses.replace(
        graph, head=many, relation=many, tail=many, weight=np.ones(edges, np.float32)
    )


@pytest.mark.parametrize(
    ("edges", "batch"), [(1, 16), (4_000, 32), (20_000, 128), (200_000, 1024), (9_000_000, 1024)]
)
def test_a_batch_grows_with_the_edges_and_has_bounds(make_snapshot, edges: int, batch: int):
    chosen = choose(graph_of(make_snapshot, edges), TransRAConfig())
    assert chosen.config.batch == batch
    assert chosen.reasons["batch"].startswith(f"{2 * edges} edges")


def test_what_is_set_stays(make_snapshot):
    chosen = choose(graph_of(make_snapshot, 9), TransRAConfig(batch=7))
    assert chosen.config == TransRAConfig(batch=7)
    assert chosen.reasons == {}
