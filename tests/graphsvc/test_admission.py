"""Every JSON value gets a verdict; a rejection names the field, the value and what to send."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphsvc.admission import Rules, admit
from graphsvc.db import Database
from graphsvc.events import Event
from graphsvc.ingest import ingest
from graphsvc.schema import load_schema
from graphsvc.verdict import Verdict

ADS = load_schema("ads")
NOW = 1_767_225_600

CLICK: dict[str, Any] = {
    "event_id": "c1",
    "event_name": "click",
    "event_time": NOW,
    "action_source": "onsite",
    "actor": {"type": "user", "id": "u1"},
    "object": {"type": "ad", "id": "a1"},
}
CHECKOUT = CLICK | {
    "event_name": "checkout",
    "action_source": "offsite",
    "object": {"type": "product", "id": "p1"},
    "consent": True,
}
SET = {
    "event_id": "s1",
    "event_name": "set_attributes",
    "event_time": NOW,
    "action_source": "structure",
    "actor": {"type": "user", "id": "u1"},
    "properties": {"age": 30, "country": "DE", "interests": ["a"]},
}


def without(event: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != field}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "event",
    [
        CLICK,
        CHECKOUT,
        SET,
        CLICK | {"event_time": 0},
        CLICK | {"event_time": NOW + 600},
        CLICK | {"value": 3, "currency": "EUR", "properties": nested(8), "consent": False},
        CLICK | {"event_id": "x" * 256},
        CLICK | {"properties": {"text": "two\nlines\tand \N{GRINNING FACE}"}},
        CLICK | {"object": {"type": "ad", "id": "a/b c%00'\"\\"}},
        SET | {"properties": {"age": None, "interests": []}},
        CLICK | {"properties": {"a": "x" * (16 * 1024 - 8)}},
    ],
)
def test_events(event: dict[str, Any]) -> None:
    assert isinstance(admit(ADS, event, NOW, Rules(backfill=True)), Event)


@pytest.mark.parametrize(
    ("event", "code", "field", "value"),
    [
        (None, "invalid", "event", None),
        ([], "invalid", "event", "a list"),
        (without(CLICK, "event_id"), "invalid", "event_id", None),
        (CLICK | {"event_id": ""}, "invalid", "event_id", ""),
        (CLICK | {"event_id": 7}, "invalid", "event_id", 7),
        (CLICK | {"event_id": "x" * 257}, "too_large", "event_id", "x" * 80 + "..."),
        (CLICK | {"event_id": "a\0b"}, "invalid", "event_id", "a\ufffdb"),
        (CLICK | {"event_id": "a\nb"}, "invalid", "event_id", "a\ufffdb"),
        (CLICK | {"event_id": "\ud800"}, "invalid", "event_id", "\ufffd"),
        (CLICK | {"event_time": -1}, "invalid", "event_time", -1),
        (CLICK | {"event_time": 1.0}, "invalid", "event_time", 1.0),
        (CLICK | {"event_time": True}, "invalid", "event_time", True),
        (CLICK | {"event_time": "1"}, "invalid", "event_time", "1"),
        (CLICK | {"event_time": NOW + 601}, "future", "event_time", NOW + 601),
        (SET | {"event_time": NOW + 601}, "future", "event_time", NOW + 601),
        (
            CLICK | {"event_time": 10**5000},
            "invalid",
            "event_time",
            "a whole number of 16610 bits",
        ),
        (CLICK | {"event_name": "poke"}, "unknown_event", "event_name", "poke"),
        (CLICK | {"action_source": "offsite"}, "wrong_source", "action_source", "offsite"),
        (CLICK | {"action_source": "radio"}, "invalid", "action_source", "radio"),
        (SET | {"action_source": "onsite"}, "wrong_source", "action_source", "onsite"),
        (CLICK | {"actor": {"type": "ad", "id": "u1"}}, "wrong_type", "actor.type", "ad"),
        (
            CLICK | {"object": {"type": "product", "id": "p"}},
            "wrong_type",
            "object.type",
            "product",
        ),
        (CLICK | {"actor": {"type": "cat", "id": "u"}}, "unknown_entity_type", "actor.type", "cat"),
        (SET | {"actor": {"type": "cat", "id": "u"}}, "unknown_entity_type", "actor.type", "cat"),
        (CLICK | {"actor": {"type": "user"}}, "invalid", "actor.id", None),
        (CLICK | {"actor": "u1"}, "invalid", "actor", "u1"),
        (without(CLICK, "object"), "invalid", "object", None),
        (SET | {"object": CLICK["object"]}, "invalid", "object", "a1"),
        (CHECKOUT | {"consent": None}, "consent_required", "consent", None),
        (CHECKOUT | {"consent": False}, "consent_required", "consent", False),
        (CHECKOUT | {"consent": "true"}, "invalid", "consent", "true"),
        (CLICK | {"value": float("nan")}, "invalid", "value", "nan"),
        (CLICK | {"value": float("inf")}, "invalid", "value", "inf"),
        (CLICK | {"value": 10**400}, "invalid", "value", "a whole number of 1329 bits"),
        (CLICK | {"currency": "euro"}, "invalid", "currency", "euro"),
        (CLICK | {"properties": []}, "invalid", "properties", "a list"),
        (CLICK | {"properties": {"a": "\0"}}, "invalid", "properties", "an object"),
        (CLICK | {"properties": {"a\ud800": 1}}, "invalid", "properties", "an object"),
        (CLICK | {"properties": {"a": float("nan")}}, "invalid", "properties", "an object"),
        (CLICK | {"properties": {"a": [2**63]}}, "invalid", "properties", "an object"),
        (CLICK | {"properties": nested(9)}, "too_large", "properties", "an object"),
        (CLICK | {"properties": nested(900)}, "too_large", "properties", "an object"),
        (
            CLICK | {"properties": {"a": "x" * (16 * 1024 - 7)}},
            "too_large",
            "properties",
            "an object",
        ),
        (without(SET, "properties"), "invalid", "properties", None),
        (SET | {"properties": {}}, "invalid", "properties", None),
        (SET | {"properties": {"shoe": 44}}, "attribute_unknown", "properties.shoe", 44),
        (SET | {"properties": {"age": "30"}}, "attribute_type", "properties.age", "30"),
        (SET | {"properties": {"age": True}}, "attribute_type", "properties.age", True),
        (SET | {"properties": {"country": 1}}, "attribute_type", "properties.country", 1),
        (
            SET | {"properties": {"interests": ["a", 1]}},
            "attribute_type",
            "properties.interests",
            "a list",
        ),
        (CLICK | {"colour": "red"}, "invalid", "colour", "red"),
        (CLICK | {"\ud800": 1}, "invalid", "event", None),
    ],
)
def test_rejections(event: Any, code: str, field: str, value: Any) -> None:
    verdict = admit(ADS, event, NOW)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.code) == ("rejected", code)
    if event is None or "\ud800" not in event:
        assert (verdict.field, verdict.value) == (field, value)
    assert verdict.message
    assert verdict.message.startswith(str(verdict.field))
    orjson.dumps(verdict._asdict())  # goes into an answer


def test_a_rejection_says_what_to_send() -> None:
    verdict = admit(ADS, CLICK | {"actor": {"type": "ad", "id": "u1"}}, NOW)
    assert verdict == Verdict(
        "c1",
        "rejected",
        "wrong_type",
        "actor.type",
        "actor.type should be user, received 'ad'",
        "ad",
    )


@pytest.mark.parametrize(
    ("event", "listed", "hint"),
    [
        (CLICK | {"event_name": "clik"}, "one of click, long_click, ", "; did you mean click?"),
        (CLICK | {"event_name": "optout"}, "one of click, long_click, ", "; did you mean opt_out?"),
        (SET | {"actor": {"type": "usr", "id": "u"}}, "one of user, ad, ", "; did you mean user?"),
        (
            SET | {"event_name": "retract", "properties": None, "relation": "clck"},
            "one of click, long_click, ",
            "; did you mean click?",
        ),
        (SET | {"properties": {"aeg": 1}}, "one of age, country, ", "; did you mean age?"),
    ],
)
def test_an_unknown_name_is_told_the_known_ones(
    event: dict[str, Any], listed: str, hint: str
) -> None:
    verdict = admit(ADS, event, NOW)
    assert isinstance(verdict, Verdict)
    assert listed in (verdict.message or "")
    assert (verdict.message or "").endswith(hint)


_TEXT = st.text(st.characters(exclude_categories=()), max_size=6)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_MUTATED = st.builds(
    lambda event, field, value: event | {field: value},
    st.sampled_from([CLICK, CHECKOUT, SET]),
    st.sampled_from([*CLICK, "value", "currency", "properties", "consent"]) | _TEXT,
    _JSON | st.fixed_dictionaries({"type": st.just("user") | _JSON, "id": _TEXT | _JSON}),
)


@given(batch=st.lists(_MUTATED | _JSON, max_size=6))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_posted_gets_a_verdict_and_is_stored_as_it_was(
    database: Database, batch: list[Any]
) -> None:
    with database.transaction() as connection:
        verdicts = ingest(connection, ADS, batch, now=NOW)
    assert len(verdicts) == len(batch)
    for verdict in verdicts:
        orjson.dumps(verdict._asdict())
        json.dumps(verdict._asdict(), allow_nan=False).encode()


def test_milliseconds_are_called_by_their_name() -> None:
    verdict = admit(ADS, CLICK | {"event_time": NOW * 1000}, NOW)
    assert isinstance(verdict, Verdict)
    assert (verdict.field, verdict.value) == ("event_time", NOW * 1000)
    assert "in seconds since 1970" in (verdict.message or "")
