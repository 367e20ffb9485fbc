"""The job database holds JSON, and a row that claims to be a pickle is not opened."""

import base64
import pickle
from datetime import UTC, datetime

import pytest
from dbos._serialization import DefaultSerializer

from api.jobs.serializer import JobFailed, JsonSerializer, forbid_pickle


class Trap:
    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a pickle was opened",))


def test_values_come_back() -> None:
    serializer = JsonSerializer()
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    value = {"args": [{"seed": 1}], "at": moment}
    assert serializer.deserialize(serializer.serialize(value)) == value


def test_an_exception_comes_back_as_its_sentence() -> None:
    serializer = JsonSerializer()
    found = serializer.deserialize(serializer.serialize(ValueError("too few exposures")))
    assert isinstance(found, JobFailed)
    assert str(found) == "too few exposures"


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError, match="JSON"):
        JsonSerializer().serialize({"what": object()})


def test_pickle_is_off() -> None:
    forbid_pickle()
    planted = base64.b64encode(pickle.dumps(Trap())).decode()
    with pytest.raises(TypeError, match="pickle"):
        DefaultSerializer().deserialize(planted)
    with pytest.raises(TypeError, match="pickle"):
        DefaultSerializer().serialize({})
