"""What is wrong with a field is said in our words, not in Pydantic's."""

from typing import Any

import pytest
from pydantic import ValidationError

from graphsvc.admission import admit
from graphsvc.events import Event
from graphsvc.schema import load_schema
from graphsvc.verdict import Verdict
from graphsvc.wording import PATTERNS, causes, expected, sentence

EVENT: dict[str, Any] = {
    "event_id": "c1",
    "event_name": "click",
    "event_time": 1,
    "action_source": "onsite",
    "actor": {"type": "user", "id": "u1"},
    "object": {"type": "ad", "id": "a1"},
}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ([EVENT], "event: should be a JSON object, received a list"),
        (None, "event: should be a JSON object, received null"),
        (EVENT | {"actor": "u1"}, "actor: should be a JSON object, received 'u1'"),
        (EVENT | {"actor": {"id": "u1"}}, "actor.type: required, received nothing"),
        (EVENT | {"event_id": 7}, "event_id: should be a string, received 7"),
        (EVENT | {"event_id": ""}, "event_id: should have at least 1 character, received ''"),
        (EVENT | {"event_time": "1"}, "event_time: should be a whole number, received '1'"),
        (EVENT | {"event_time": -1}, "event_time: should be at least 0, received -1"),
        (EVENT | {"sampling_rate": 0}, "sampling_rate: should be more than 0, received 0"),
        (EVENT | {"consent": "ja"}, "consent: should be true or false, received 'ja'"),
        (EVENT | {"properties": []}, "properties: should be a JSON object, received a list"),
        (
            EVENT | {"currency": "euro"},
            "currency: should be three capital letters, e.g. EUR, received 'euro'",
        ),
        (
            EVENT | {"actor": {"type": "user", "id": "u1", "idd": 1}},
            "actor.idd: not a field here; known are type, id; did you mean id?",
        ),
    ],
)
def test_the_form_of_an_event(event: Any, says: str) -> None:
    verdict = admit(load_schema("ads"), event, 1)
    assert isinstance(verdict, Verdict)
    assert verdict.message == says


def test_an_unknown_field_of_an_event_is_guessed() -> None:
    verdict = admit(load_schema("ads"), EVENT | {"curency": "EUR"}, 1)
    assert isinstance(verdict, Verdict)
    assert (verdict.message or "").startswith("curency: not a field here; known are event_id, ")
    assert (verdict.message or "").endswith("; did you mean currency?")


def test_what_was_expected_is_told_alone() -> None:
    with pytest.raises(ValidationError) as raised:
        Event.model_validate(EVENT | {"currency": "euro", "value": "x"})
    details = raised.value.errors()
    assert [expected(detail) for detail in details] == ["a number", PATTERNS["^[A-Z]{3}$"]]
    assert sentence(details[0]).endswith("received 'x'")


def test_consequences_are_not_told() -> None:
    from api.jobs.requests import RetrainRequest

    def places(**request: Any) -> list[tuple[int | str, ...]]:
        with pytest.raises(ValidationError) as raised:
            RetrainRequest.model_validate(request)
        return [detail["loc"] for detail in causes(raised.value.errors())]

    assert places(arms=["foo"]) == [("arms", 0)]
    assert places(arms=[]) == [("arms",)]
    assert places(arms=["foo"], seed=-1) == [("arms", 0), ("seed",)]
