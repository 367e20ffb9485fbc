"""What an opt-out takes from the overlay: vectors of the person, and what others owe to them."""

from collections.abc import Sequence
from pathlib import Path
from time import time

import numpy as np
import pytest

from api import tail as tail_module
from api.overlay import Overlay
from api.solving import Solver
from api.tail import Tail
from graphsvc.artifact import ArtifactStore
from graphsvc.db import Database
from graphsvc.ids import EntityId
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema
from graphsvc.snapshot import RelationInfo, TypeRange
from graphsvc.tail import reached
from kge.arrays import BundleArrays
from kge.bundle import Bundle, seal_bundle
from kge.config import FoldInConfig
from kge.foldin import FoldIn

ADS = load_schema("ads")
#: By the real clock, since edges have windows.
NOW = int(time())
KNOWN = 4


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Four ads, products and users each, and vectors that nobody trained."""
    draw = np.random.default_rng(5)
    normal = lambda *shape: draw.normal(size=shape).astype(np.float32)  # noqa: E731
    kinds, count = ("ad", "product", "user"), 3 * KNOWN
    relations = [
        RelationInfo(name=r.name, head=r.head, tail=r.tail, source=r.source)
        for r in ADS.relations
        if {r.head, r.tail} <= set(kinds)
    ]
    arrays = BundleArrays(
        types=[TypeRange(kind, n * KNOWN, (n + 1) * KNOWN) for n, kind in enumerate(kinds)],
        ids=np.array([f"{kind[0]}{n}" for kind in kinds for n in range(KNOWN)], object),
        vectors=normal(count, 4),
        bias=normal(count),
        degree=np.full(count, 3, np.int32),
        relations=relations,
        translations=normal(2 * len(relations), 3),
        projections=normal(2 * len(relations), 3, 4),
        priors=normal(3, 4),
        frame_rows=np.array([0, KNOWN, 2 * KNOWN], np.int32),
    )
    dials = {"settle": True}
    return seal_bundle(ArtifactStore(tmp_path), "0" * 64, arrays, dials=dials, metrics={})


@pytest.fixture
def tail(database: Database, bundle: Bundle) -> Tail:
    """Follows an empty log."""
    made = Tail(
        database=database,
        schema=lambda: ADS,
        solver=Solver(bundle, FoldIn(bundle, FoldInConfig())),
        overlay=Overlay(100),
        watermark=0,
        graph_end=0,
        most_edges=200,
    )
    made.start()
    return made


def post(tail: Tail, *events: tuple[str, str, str]) -> None:
    """Events as (name, actor, object); of built-in ones about one entity it is empty."""
    batch = []
    with tail.database.transaction() as connection:
        first = reached(connection)
        for n, (name, actor, target) in enumerate(events):
            declared = ADS.events.get(name)
            merges = name == "merge"
            event = {
                "event_id": f"{first}-{n}",
                "event_name": name,
                "event_time": NOW - 1000 + first + n,
                "action_source": declared.source if declared else "structure" * merges or "onsite",
                "actor": {"type": declared.head if declared else "user", "id": actor},
                "consent": True,
            }
            if target:
                event["object"] = {"type": declared.tail if declared else "user", "id": target}
            batch.append(event)
        verdicts = ingest(connection, ADS, batch, now=NOW, rules=Rules(backfill=True))
    assert {verdict.status for verdict in verdicts} == {"accepted"}, verdicts


def settle(tail: Tail) -> None:
    while tail.step():
        pass


def entity(name: str) -> EntityId:
    return EntityId({"a": "ad", "p": "product", "u": "user"}[name[0]], name)


def lost(*_args: object, **_named: object) -> Sequence[object]:
    raise OSError("gone")


@pytest.mark.parametrize(
    "person",
    ["u-new", "u1"],
    ids=["whom training never saw", "who has changed since"],
)
def test_no_vector_of_before_an_opt_out_is_left_once_it_is_dealt_with(
    tail: Tail, monkeypatch: pytest.MonkeyPatch, person: str
) -> None:
    post(tail, ("click", person, "a1"), ("add_to_cart", person, "p2"))
    settle(tail)
    assert tail.overlay.get(entity(person)).edges == 2
    post(tail, ("opt_out", person, ""))
    with monkeypatch.context() as patch:
        patch.setattr(tail_module, "fold_edges", lost)
        with pytest.raises(OSError, match="gone"):
            tail.step()
    assert tail.lag == 0
    with tail.database.reading() as connection:
        assert tail.done == reached(connection), "answers trust the overlay up to here"
    assert entity(person) not in tail.overlay
    settle(tail)
    assert tail.overlay.get(entity(person)).edges == 1


def test_what_was_solved_from_edges_that_an_opt_out_deletes_is_solved_again(tail: Tail) -> None:
    post(
        tail,
        ("add_to_cart", "u1", "p-both"),
        ("add_to_cart", "u2", "p-both"),
        ("add_to_cart", "u1", "p-alone"),
        ("add_to_cart", "u2", "p-other"),
    )
    settle(tail)
    before = {name: tail.overlay.get(entity(name)) for name in ("p-both", "p-alone", "p-other")}
    assert [found.edges for found in before.values()] == [2, 1, 1]
    post(tail, ("opt_out", "u1", ""))
    settle(tail)
    assert entity("p-alone") not in tail.overlay, "nothing is known of it any more"
    both = tail.overlay.get(entity("p-both"))
    assert both.edges == 1
    np.testing.assert_allclose(both.vector, before["p-other"].vector, atol=1e-5)
    assert tail.overlay.get(entity("p-other")) is before["p-other"], "it owes nothing to them"


def test_an_opt_out_is_also_of_those_ids_that_were_merged_into_the_person(tail: Tail) -> None:
    post(tail, ("add_to_cart", "u1", "p-new"), ("add_to_cart", "u2", "p-new"))
    settle(tail)
    post(tail, ("merge", "u1", "u2"))
    settle(tail)
    assert tail.overlay.get(entity("p-new")).edges == 1
    post(tail, ("add_to_cart", "u3", "p-new"), ("opt_out", "u2", ""))
    settle(tail)
    assert tail.overlay.get(entity("p-new")).edges == 1
    post(tail, ("opt_out", "u3", ""))
    settle(tail)
    assert entity("p-new") not in tail.overlay


def test_who_is_merged_with_one_who_opted_out_has_opted_out(tail: Tail) -> None:
    post(tail, ("click", "u2", "a1"), ("add_to_cart", "u2", "p-new"), ("opt_out", "u1", ""))
    settle(tail)
    assert tail.overlay.get(entity("u2")).edges == 1, "no more than training's index knows of"
    assert tail.overlay.get(entity("p-new")).edges == 1
    post(tail, ("merge", "u1", "u2"))
    settle(tail)
    assert entity("p-new") not in tail.overlay
    view = tail.overlay.view("user")
    assert (view.ids, view.changed.tolist(), view.edges.tolist()) == (["u2"], [False], [1])
    assert view.passed_over.tolist() == [False, True, True, False]
