"""What is kept of candidates is what the graph would say now, whatever was said in between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from little_shop import CANDIDATES, NOW, Shop, event

from api.candidates import Candidates, Described
from api.live import Trio
from graphsvc import tail
from graphsvc.db import Connection
from graphsvc.ids import EntityId
from graphsvc.tail import Touched, touched
from ranking.bundle import Side

ASKED = [*CANDIDATES, "stranger", "a3"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop") / "data", arms=("attention",))
    yield made
    made.work.database.dispose()


def described(shop: Shop, trio: Trio, *, anew: bool) -> Described:
    after = trio.candidates.seq
    with shop.work.database.reading() as connection:
        if anew:
            return shop.answerer._read(trio, connection, ASKED)
        return shop.answerer._described(trio, connection, ASKED, after=after)


def assert_same(kept: Described, read: Described) -> None:
    assert list(kept.merged_into) == list(read.merged_into)
    for name in ("keys", "retired", "places"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(read, name), err_msg=name)
    for name, own, other in zip(Side._fields, kept.side, read.side, strict=True):
        np.testing.assert_array_equal(own, other, err_msg=name)


def said(name: str, number: int, actor: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An event that is part of every schema."""
    about = {"event_id": f"said-{number}", "event_name": name, "event_time": NOW + number}
    return {**about, "action_source": "structure", "actor": actor, **more}


AD = {"type": "ad", "id": "a3"}
STORY: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("an impression", lambda: event("impression", 9000, NOW, "u1", "a1")),
    ("a click", lambda: event("click", 9000, NOW, "u1", "a1")),
    ("an attribute", lambda: said("set_attributes", 1, AD, properties={"format": "video"})),
    ("an edge of structure", lambda: event("ad_of_product", 9001, NOW, "a2", "p5")),
    ("somebody new", lambda: event("impression", 9002, NOW, "u1", "stranger")),
    ("a retired one", lambda: said("retire", 2, AD)),
    ("a restored one", lambda: said("restore", 3, AD)),
    (
        "a merged product",
        lambda: said(
            "merge", 4, {"type": "product", "id": "p5"}, object={"type": "product", "id": "p0"}
        ),
    ),
    (
        "a merged one",
        lambda: said("merge", 5, {"type": "ad", "id": "a4"}, object={"type": "ad", "id": "a5"}),
    ),
    ("an event of what was merged", lambda: event("impression", 9003, NOW + 9, "u1", "a4")),
    ("somebody who opts out", lambda: said("opt_out", 6, {"type": "user", "id": "u1"})),
    (
        "what is taken back",
        lambda: {
            **event("click", 9004, NOW + 10, "u2", "a2"),
            "event_name": "retract",
            "relation": "click",
        },
    ),
]


def test_kept_is_what_would_be_read(shop: Shop) -> None:
    trio = shop.live("attention")
    assert_same(described(shop, trio, anew=False), described(shop, trio, anew=True))
    assert len(trio.candidates) == len(CANDIDATES)
    before = described(shop, trio, anew=True)
    changed = []
    for what, make in STORY:
        shop.post([make()])
        read = described(shop, trio, anew=True)
        assert_same(described(shop, trio, anew=False), read)
        assert_same(described(shop, trio, anew=False), read)
        same = all(
            np.array_equal(one, other) for one, other in zip(read.side, before.side, strict=True)
        )
        if not same or list(read.merged_into) != list(before.merged_into):
            changed.append(what)
        before = read
    # The story is one in which keeping too long would be seen.
    assert {"an impression", "a click", "an edge of structure", "a merged one"} <= set(changed)
    assert {"somebody new", "an event of what was merged"} <= set(changed)


def test_answers_are_the_same_with_and_without_what_is_kept(shop: Shop) -> None:
    trio, head = shop.live("attention"), EntityId("user", "u7")
    first = shop.answerer.score(trio, head, ASKED)
    kept = shop.answerer.score(trio, head, ASKED)
    explained = shop.answerer.score(trio, head, ASKED, explain=True)
    assert len(trio.candidates)
    assert first.items == kept.items
    assert first.left_out == kept.left_out == explained.left_out
    for one, other in zip(kept.items, explained.items, strict=True):
        assert (one.id, one.score, one.known) == (other.id, other.score, other.known)


def test_what_the_log_says_of_few_leaves_the_others_kept(shop: Shop) -> None:
    trio = shop.live("attention")
    described(shop, trio, anew=False)
    held = len(trio.candidates)
    shop.post([event("impression", 9100, NOW + 20, "u3", "a1")])
    with shop.work.database.reading() as connection:
        now = touched(connection, after=trio.candidates.seq, most=10)
        assert now.keys is not None
        assert len(now.keys) == 2
        kept, missing = trio.candidates.take(ASKED, now, shop.schema.version)
    assert kept is not None
    assert "a1" in [ASKED[n] for n in missing]
    assert len(trio.candidates) == held - 1


def test_who_looks_from_an_earlier_row_finds_and_leaves_nothing(shop: Shop) -> None:
    trio = shop.live("attention")
    read = described(shop, trio, anew=False)
    version, seq = shop.schema.version, trio.candidates.seq
    earlier = Touched(seq - 1, frozenset())
    assert trio.candidates.take(ASKED, earlier, version)[0] is None
    empty = Candidates()
    empty.take(ASKED, Touched(seq, None), version)
    empty.put(ASKED, read, earlier, version)
    assert len(empty) == 0
    empty.put(ASKED, read, Touched(seq, frozenset()), version - 1)
    assert len(empty) == 0
    # Another schema counts other events.
    assert trio.candidates.take(ASKED, Touched(seq, frozenset()), version + 1)[0] is None


def test_who_began_before_somebody_was_retired_keeps_nothing_of_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answer begins; an ad is retired, and another answer says so; then the first goes on."""
    trio, head, slow = shop.live("attention"), EntityId("user", "u7"), shop.work.database
    shop.answerer.score(trio, head, CANDIDATES)
    reading, met = slow.reading, []

    @contextmanager
    def interrupted() -> Iterator[Connection]:
        with reading() as connection:
            if not met:
                met.append(tail.named(connection, head))  # the moment is fixed by this
                shop.post([said("retire", 20, {"type": "ad", "id": "a7"})])
                others = shop.answerer.score(trio, head, CANDIDATES)
                assert "a7" in {one.id for one in others.left_out}
            yield connection

    with monkeypatch.context() as patch:
        patch.setattr(slow, "reading", interrupted)
        earlier = shop.answerer.score(trio, head, CANDIDATES)
    assert met
    assert "a7" not in {one.id for one in earlier.left_out}, "as it was when that answer began"
    later = shop.answerer.score(trio, head, CANDIDATES)
    assert "a7" in {one.id for one in later.left_out}
    assert_same(described(shop, trio, anew=False), described(shop, trio, anew=True))
    shop.post([said("restore", 21, {"type": "ad", "id": "a7"})])


def test_who_leads_to_much_takes_nothing_from_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where fewer edges are read at once than there are, each has all of its own all the same."""
    trio = shop.live("attention")
    whole = described(shop, trio, anew=True)
    assert whole.side.around_known.any()
    monkeypatch.setattr("api.answers._MOST_LED_TO", 5)
    assert_same(described(shop, trio, anew=True), whole)


def test_more_than_the_bound_are_forgotten_by_their_last_use(shop: Shop) -> None:
    trio = shop.live("attention")
    ids = [one for one in CANDIDATES if one not in ("a3", "a4")]
    with shop.work.database.reading() as connection:
        now = Touched(touched(connection, after=0, most=1).seq, None)
        few = Candidates(bound=4)
        few.take(ids, now, 1)
        for one in ids[:4]:
            few.put([one], shop.answerer._read(trio, connection, [one]), now, 1)
        few.take(ids[:1], Touched(now.seq, frozenset()), 1)
        few.put(ids[4:6], shop.answerer._read(trio, connection, ids[4:6]), now, 1)
        kept, missing = few.take(ids, Touched(now.seq, frozenset()), 1)
        assert [ids[n] for n in missing] == [*ids[1:3], *ids[6:]]
        assert kept is not None
        chosen = [ids[0], ids[3], *ids[4:6]]
        assert_same(kept, shop.answerer._read(trio, connection, chosen))
