"""The database does what the oracle says: batch by batch, verdict by verdict, table by table."""

from itertools import count
from typing import Any

from compare import of_database, of_oracle
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from oracle import Oracle
from semantics import DAY, NOW, SMALL_SCHEMA, post, statuses
from semantics import event as of_schema
from sqlalchemy import delete

from graphsvc.db import Database
from graphsvc.ingest import rebuild
from graphsvc.schema import to_document
from graphsvc.tables import metadata, sequences

DOCUMENT = to_document(SMALL_SCHEMA)
_USERS = st.sampled_from(["user/1", "user/2", "user/10"])
_ITEMS = st.sampled_from(["item/1", "item/2", "item/é"])
_ANY = _USERS | _ITEMS | st.just("thing/1")
_ENDS: dict[str, tuple[Any, Any]] = {
    "click": (_USERS, _ITEMS),
    "buy": (_USERS, _ITEMS),
    "shown": (_USERS, _ITEMS),
    "told": (_ITEMS, _USERS),
    "part_of": (_ITEMS, _ITEMS),
    "friend": (_USERS, _USERS),
    "set_attributes": (_USERS | _ITEMS, None),
    "opt_out": (_USERS, None),
    "opt_in": (_USERS, None),
    "retire": (_ITEMS, None),
    "restore": (_ITEMS, None),
}
_TIMES = (
    st.integers(NOW - 5, NOW + 5)
    | st.integers(NOW - 7 * DAY - 2, NOW - 7 * DAY + 2)
    | st.sampled_from([NOW + 600, NOW + 601, NOW - 40 * DAY])
)
_ODD = st.sampled_from(
    [
        {"event_time": None},
        {"action_source": "onsite"},
        {"action_source": "offsite"},
        {"consent": None},
        {"relation": "click"},
        {"event_name": "nothing"},
        {"actor": {"type": "item", "id": "1"}},
        {"actor": {"type": "thing", "id": "1"}},
        {"object": {"type": "user", "id": "1"}},
        {"object": None},
        {"value": 1, "currency": "EUR"},
        {"value": 2.5, "position": 3, "sampling_rate": 0.5, "request_id": "r"},
        {"properties": {"b": 1, "a": [1, {"c": None}]}},
        {"properties": {"country": 7}},
        {"properties": {"title": "x"}},
    ]
)


@st.composite
def _event(draw: st.DrawFn) -> dict[str, Any]:
    """An event of a few ids, so that duplicates, conflicts and retractions are common."""
    name = draw(st.sampled_from([*_ENDS, "retract", "retract", "retract", "merge", "buy"]))
    relation = draw(st.sampled_from(list(_ENDS)[:6])) if name == "retract" else None
    if name == "merge":
        ends = draw(st.sampled_from([(_USERS, _USERS), (_ITEMS, _ITEMS), (_ITEMS, _USERS)]))
    else:
        ends = _ENDS[relation or name]
    more: dict[str, Any] = {"event_time": draw(_TIMES)}
    if relation:
        more["relation"] = relation
    actor, target = draw(ends[0]), None if ends[1] is None else draw(ends[1])
    if name == "set_attributes":
        country = st.fixed_dictionaries({"country": st.sampled_from(["DE", "FR", None])})
        title = st.fixed_dictionaries({"title": st.sampled_from(["one", "two", None])})
        more["properties"] = draw(country if actor.startswith("user") else title)
    made = of_schema(name, f"e{draw(st.integers(0, 30))}", actor, target, **more)
    if draw(st.integers(0, 9)) == 0:
        made |= draw(_ODD)
    return {key: value for key, value in made.items() if value is not None}


_BATCH = st.tuples(
    st.lists(_event(), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from([0, 0, 0, 60, 7 * DAY, 14 * DAY]),  # how long until the next
)
_EXAMPLES = settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(batches=st.lists(_BATCH, min_size=1, max_size=6))
@_EXAMPLES
def test_the_database_does_what_the_oracle_says(
    database: Database, batches: list[tuple[list[dict[str, Any]], bool, int]]
) -> None:
    _empty(database)
    oracle = Oracle(DOCUMENT)
    now = NOW
    for batch, backfill, pause in batches:
        expected = oracle.post(batch, now=now, backfill=backfill)
        found = statuses(post(database, *batch, backfill=backfill, now=now))
        assert found == expected
        for verdict in set(found):
            event(verdict)  # `pytest --hypothesis-show-statistics` says how often each came
        now += pause
    assert of_database(database) == of_oracle(oracle)
    with database.transaction() as connection:
        rebuild(connection, SMALL_SCHEMA)
    assert of_database(database) == of_oracle(oracle)


def test_the_oracle_says_what_a_human_would() -> None:
    oracle, number = Oracle(DOCUMENT), count()

    def said(name: str, *ends: str, **more: Any) -> list[str]:
        return oracle.post([of_schema(name, f"e{next(number)}", *ends, **more)], now=NOW)

    half = NOW - 14 * DAY  # a click's half-life
    old = of_schema("click", "old", "user/1", "item/1", event_time=half)
    assert oracle.post([old], now=NOW) == ["late"]
    assert oracle.post([old, old], now=NOW, backfill=True) == ["accepted", "duplicate"]
    assert oracle.post([old | {"value": 1}], now=NOW) == ["conflict"]
    assert said("click", "user/1", "item/1") == ["accepted"]
    assert oracle.edges() == {("user/1", "click", "item/1"): (2, half, NOW, 1.5)}
    assert said("retract", "user/1", "item/1", relation="click") == ["accepted"]
    assert oracle.edges() == {("user/1", "click", "item/1"): (1, half, half, 1.0)}
    assert said("buy", "user/1", "item/1", event_time=NOW - 1) == ["accepted"]
    assert said("opt_out", "user/1") == ["accepted"]
    assert ("user/1", "buy", "item/1") not in oracle.edges()
    assert said("buy", "user/1", "item/1") == ["opted_out"]
    assert said("merge", "item/1", "item/2") == ["accepted"]
    assert oracle.edges() == {("user/1", "click", "item/2"): (1, half, half, 1.0)}
    assert oracle.counters()["item/2", "click"] == 2
    assert said("retire", "item/1") == ["accepted"]
    assert oracle.lives() == {"item/2": (True, NOW)}


def _empty(database: Database) -> None:
    with database.transaction() as connection:  # the fixture is shared by all examples
        for table in set(metadata.sorted_tables) - {sequences}:
            connection.execute(delete(table))
