"""A request of a wrong form is told what to send, in our words."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from graphsvc.wording import PATTERNS

pytestmark = pytest.mark.parametrize("trained", ["sqlite"], indirect=True)


def test_a_field_that_is_none_is_told_the_known_ones(http: httpx.Client, problem: Any) -> None:
    refused = problem(http.post("/v1/retrains", json={"splt": "x"}), 422)
    [error] = refused["errors"]
    assert error["field"] == "body.splt"
    assert error["value"] == "x"
    assert error["expected"].startswith("one of split, shares, ")
    assert error["expected"].endswith("; did you mean split?")
    assert refused["detail"].startswith("body.splt: not a field here; known are split, shares, ")
    head = {"head": {"typ": "user", "id": "u1"}, "candidates": ["d1"]}
    refused = problem(http.post("/v1/score", json=head), 422)
    assert "one of type, id; did you mean type?" in [e["expected"] for e in refused["errors"]]


def test_a_field_that_lacks_was_not_received(http: httpx.Client, problem: Any) -> None:
    refused = problem(http.post("/v1/entities/film/d1/merge", json={"to": "d2"}), 422)
    assert refused["detail"] == "body.into: required, received nothing"
    lacking, unknown = refused["errors"]
    assert lacking == {"field": "body.into", "value": None, "expected": "required"}
    assert (unknown["field"], unknown["expected"]) == ("body.to", "one of into; did you mean into?")


@pytest.mark.parametrize(
    ("method", "path", "asked", "says"),
    [
        (
            "POST",
            "/v1/events?backfill=ja",
            {"events": []},
            "query.backfill: should be true or false, received 'ja'",
        ),
        (
            "GET",
            "/v1/artifacts/abc",
            None,
            "path.digest: should be 64 hexadecimal digits, in lower case, received 'abc'",
        ),
        ("POST", "/v1/retrains", [1], "body: should be a JSON object, received a list"),
        (
            "POST",
            "/v1/retrains",
            {"shares": {"a": 1}},
            "body.shares: should be a list, received an object",
        ),
    ],
)
def test_words_for_a_wrong_form(
    http: httpx.Client, problem: Any, method: str, path: str, asked: Any, says: str
) -> None:
    assert problem(http.request(method, path, json=asked), 422)["detail"] == says


def test_a_value_is_echoed_as_json(http: httpx.Client, problem: Any) -> None:
    [error] = problem(http.post("/v1/retrains", json={"seed": {"to": "ä"}}), 422)["errors"]
    assert error == {"field": "body.seed", "value": '{"to": "ä"}', "expected": "a whole number"}


def test_what_is_not_json_is_named(http: httpx.Client, problem: Any) -> None:
    headers = {"Content-Type": "application/json"}
    refused = problem(http.post("/v1/retrains", content=b'{"seed": ', headers=headers), 422)
    assert refused["detail"].startswith("body: should be JSON: ")
    refused = problem(http.post("/v1/neighbors", content=b'{"queries":[}', headers=headers), 422)
    assert refused["errors"][0]["field"] == "body"
    assert refused["errors"][0]["value"] == '{"queries":[}', "as it was sent"
    assert refused["detail"].endswith(" at character 13, received '{\"queries\":[}'")
    long = b'{"queries":[' + b"1, " * 1000 + b"}" + b" " * 1000
    [error] = problem(http.post("/v1/neighbors", content=long, headers=headers), 422)["errors"]
    assert error["value"].strip().endswith("1, }"), "what stands around the place"
    assert len(error["value"]) <= 80


def test_there_are_words_for_every_pattern(http: httpx.Client) -> None:
    def patterns(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("pattern"), str):
                yield node["pattern"]
            for inner in node.values():
                yield from patterns(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from patterns(inner)

    found = set(patterns(http.get("/openapi.json").json()))
    assert len(found) > 3
    assert found <= set(PATTERNS)
