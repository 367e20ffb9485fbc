"""What no JSON can hold is spelt out where it stands, and what is beside it stays as it is."""

from typing import Any

import orjson
import pytest

from api.jsontext import json_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": [None, True, 1.5, "é"]}, {"a": 1, "b": [None, True, 1.5, "é"]}),
        (["x\ud800y", 7], ["x\\ud800y", 7]),
        ({"\udfff": {"in": ["\udcff"]}}, {"\\udfff": {"in": ["\\udcff"]}}),
        ([10**20, -(2**63) - 1, 2**64 - 1], [str(10**20), str(-(2**63) - 1), 2**64 - 1]),
        ([2**5000], ["5001 bits"]),
        ({3: b"x"}, {"3": "b'x'"}),
    ],
)
def test_whatever_it_is_it_is_json(value: Any, expected: Any) -> None:
    assert orjson.loads(json_of(value)) == expected


def test_what_is_too_deep_is_cut() -> None:
    deep: Any = "core"
    for _ in range(900):
        deep = [deep]
    assert b"..." in json_of(deep)
    assert orjson.loads(json_of({"deep": deep, "beside": 1}))["beside"] == 1
