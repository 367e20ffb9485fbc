"""A parameter that a route does not know is refused by name, at every route behind the key."""

import re
from typing import Any

import httpx
import pytest
from planted import START, click

pytestmark = pytest.mark.parametrize("trained", ["sqlite"], indirect=True)


def test_every_route_names_what_it_knows_and_nothing_else(http: httpx.Client, problem: Any) -> None:
    """The list in the refusal is the list of the OpenAPI document."""
    asked = 0
    for path, operations in http.get("/openapi.json").json()["paths"].items():
        if not path.startswith(("/v1/", "/metrics")):
            continue
        for method, operation in operations.items():
            named = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
            where = re.sub(r"\{\w+(:path)?\}", "x", path)
            refused = problem(http.request(method, where, params={"zzz": "7"}), 422)
            [error] = refused["errors"]
            assert (error["field"], error["value"]) == ("query.zzz", "7"), path
            listed = error["expected"].removeprefix("one of ").split(", ") if named else []
            assert listed == named, f"{method} {path}"
            assert named or error["expected"].startswith("absent"), path
            asked += 1
    assert asked > 25


def test_a_typing_error_is_refused_with_what_was_meant(http: httpx.Client, problem: Any) -> None:
    path = "/v1/entities/user/u1/neighbors"
    refused = problem(http.get(path, params={"k": 3, "types": "film"}), 422)
    known = "k, type, facet, relation, direction, filter, explain"
    expected = f"one of {known}; did you mean type?"
    assert refused["errors"] == [{"field": "query.types", "value": "film", "expected": expected}]
    assert "query.types" in refused["detail"]
    assert "did you mean type?" in refused["detail"]
    assert http.get(path, params={"k": 3, "type": "film"}).status_code == 200


def test_a_refused_parameter_stores_nothing(http: httpx.Client, problem: Any) -> None:
    events = {"events": [click("misspelt", "d1", START, "misspelt-1")]}
    refused = problem(http.post("/v1/events?backfil=true", json=events), 422)
    assert "did you mean backfill?" in refused["detail"]
    bulk = http.post("/v1/events/bulk?backfill=true&verdict=errors", content=b"{}\n")
    assert "did you mean verdicts?" in problem(bulk, 422)["detail"]
    assert http.get("/v1/entities/user/misspelt").status_code == 404


def test_without_a_key_nothing_is_told(trained: Any, problem: Any) -> None:
    with trained.open() as http:
        assert "query" not in str(problem(http.get("/v1/graph?x=1"), 401))


def test_odd_and_many_names_are_answered_in_bounds(http: httpx.Client, problem: Any) -> None:
    many = "&".join(f"p{number}=%ED%A0%80" for number in range(300))
    assert len(problem(http.get(f"/v1/graph?{many}"), 422)["errors"]) == 20
    [error] = problem(http.get("/v1/graph", params={"n" * 5000: "v" * 5000}), 422)["errors"]
    assert len(str(error)) < 400


def test_who_asks_whether_it_is_up_may_say_more(trained: Any) -> None:
    with trained.open() as http:
        assert http.get("/health/live?t=1767225600").status_code == 200
