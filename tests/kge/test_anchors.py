import numpy as np
import pytest

from kge.anchors import build_anchors, frame_rows
from kge.config import TransRAConfig
from kge.triples import graph_of_snapshot

#: Clicks: u1 f1 f2 f3, u2 f1 f2, u3 f4, u4 f3 f4 f5. Anchors of users by degree: u1, u4.
CLICKS = ["u1 f1", "u1 f2", "u1 f3", "u2 f1", "u2 f2", "u3 f4", "u4 f3", "u4 f4", "u4 f5"]
EDGES = [(pair.split()[0], "click", pair.split()[1]) for pair in CLICKS]
CONFIG = TransRAConfig(
    anchors_per_type=2, nearest_anchors=2, gate_edges=3.0, anchor_temperature=0.5
)


def test_users_lean_on_the_anchors_with_which_they_share_films(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    anchors = build_anchors(graph, CONFIG)
    users = graph.types[-1]
    likes = {pair[:2]: set() for pair in CLICKS}
    for pair in CLICKS:
        likes[pair[:2]].add(pair[3:])
    fans = {f: sum(f in films for films in likes.values()) for f in ("f1", "f2", "f3", "f4", "f5")}

    def closeness(a: str, b: str) -> float:
        size = [np.sqrt(sum(1 / fans[f] for f in likes[x])) for x in (a, b)]
        return sum(1 / fans[f] for f in likes[a] & likes[b]) / (size[0] * size[1])

    # Anchor rows: the priors of film and user, two films, then u1 and u4.
    assert anchors.total == 6
    for n, user in enumerate(["u1", "u2", "u3", "u4"]):
        near = {4: closeness(user, "u1"), 5: closeness(user, "u4")}
        alpha = {row: np.exp(value / 0.5) for row, value in near.items() if value > 0}
        row = users.start + n
        found = dict(zip(anchors.nearest[row], anchors.weight[row], strict=True))
        for anchor, value in alpha.items():
            assert found[anchor] == pytest.approx(value / sum(alpha.values()), rel=1e-5)


def test_the_gate_opens_with_degree(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    anchors = build_anchors(graph, CONFIG)
    np.testing.assert_allclose(anchors.gate, graph.degree / (graph.degree + 3), rtol=1e-6)
    closed = TransRAConfig(gate_edges=0.0)
    np.testing.assert_array_equal(build_anchors(graph, closed).gate, np.ones(9))


def test_an_entity_near_no_anchor_leans_on_its_types_prior(make_snapshot):
    graph = graph_of_snapshot(make_snapshot([*EDGES, ("u9", "click", "f9")]))
    anchors = build_anchors(graph, CONFIG)
    prior = [t.name for t in graph.types].index("user")
    assert anchors.nearest[-1, 0] == prior
    assert anchors.weight[-1].tolist() == [1.0, 0.0]
    np.testing.assert_allclose(anchors.weight.sum(axis=1), 1.0, rtol=1e-6)


def test_the_frame_spans_every_type_from_high_to_low_degree(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    rows = frame_rows(graph, 2)
    # films f1 f2 f3 f4 (degree 2) and f5 (1): first and last; users u1 (3) first, u3 (1) last
    assert graph.ids[rows].tolist() == ["f1", "f5", "u1", "u3"]
    assert len(frame_rows(graph, 100)) == 9
