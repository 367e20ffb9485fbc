"""Entities over HTTP: attributes through the log, edges in pages, neighbors with versions."""

from urllib.parse import quote

import httpx
import pytest
from planted import FILMS, START, click


def test_attributes_are_set_kept_and_removed(http: httpx.Client) -> None:
    where = "/v1/entities/user/anna"
    made = http.put(where, json={"attributes": {"age": 34, "gender": "F"}})
    assert made.json()["attributes"] == {"age": 34, "gender": "F"}
    http.put(where, json={"attributes": {"age": 35}})
    assert http.get(where).json()["attributes"] == {"age": 35, "gender": "F"}


@pytest.mark.parametrize(
    ("attributes", "field", "value", "expected"),
    [
        ({"age": "properties"}, "attributes.age", "properties", "a number or null"),
        ({"agee": 2}, "attributes.agee", 2, "declared for user: one of age, gender, occupation"),
    ],
)
def test_a_wrong_attribute_names_its_field(
    http, problem, attributes: dict, field: str, value: object, expected: str
) -> None:
    refused = problem(http.put("/v1/entities/user/anna", json={"attributes": attributes}), 422)
    assert refused["errors"] == [{"field": field, "value": value, "expected": expected}]
    assert refused["detail"].startswith(f"{field} should be {expected}, received {value!r}")


@pytest.mark.parametrize("body", [{}, {"attributes": {}}, {"attributes": 3}, {"more": 1}])
def test_a_body_of_another_shape_is_refused(http: httpx.Client, problem, body: dict) -> None:
    refused = problem(http.put("/v1/entities/user/anna", json=body), 422)
    assert refused["errors"][0]["field"].startswith("body")


def test_an_unknown_entity_is_not_found(http: httpx.Client, problem) -> None:
    for path in ("", "/edges", "/neighbors"):
        refused = problem(http.get(f"/v1/entities/user/nobody{path}"), 404)
        assert "nobody" in refused["detail"]


def test_edges_come_in_pages_without_gap_or_repeat(http: httpx.Client) -> None:
    clicks = [click("pager", f"d{film}", START, f"page-{film}") for film in range(FILMS)]
    posted = http.post("/v1/events?backfill=true", json={"events": clicks}).json()
    assert posted["accepted"] == FILMS
    seen, cursor = [], None
    while True:
        query = {"limit": 7} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/entities/user/pager/edges", params=query).json()
        assert len(page["items"]) <= 7
        seen += [edge["other"]["id"] for edge in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(f"d{film}" for film in range(FILMS))


@pytest.mark.parametrize("cursor", ["???", "x", "AAAA", "ÿ"])
def test_a_foreign_cursor_is_refused(http: httpx.Client, problem, cursor: str) -> None:
    query = {"cursor": cursor}
    problem(http.get("/v1/entities/user/u1/edges", params=query), 422)


def test_an_edge_is_seen_from_both_ends(http: httpx.Client) -> None:
    event = click("seer", "only-once", START, "seen")
    http.post("/v1/events?backfill=true", json={"events": [event]})
    (out,) = http.get("/v1/entities/user/seer/edges").json()["items"]
    (into,) = http.get("/v1/entities/film/only-once/edges").json()["items"]
    assert (out["direction"], out["other"]) == ("out", {"type": "film", "id": "only-once"})
    assert (into["direction"], into["other"]) == ("in", {"type": "user", "id": "seer"})
    # Clicks on films never decay, so weight = 1 * log2(1 + 1 click).
    assert out["weight"] == into["weight"] == pytest.approx(1.0)


def test_ids_may_hold_any_character(http: httpx.Client) -> None:
    odd = "a/b ?#%&é漢"
    where = f"/v1/entities/user/{quote(odd, safe='')}"
    made = http.put(where, json={"attributes": {"age": 1}})
    assert made.status_code == 200, made.text
    assert made.json()["id"] == odd


def test_neighbors_name_the_trio_and_leave_out_the_entity(http: httpx.Client, trained) -> None:
    found = http.get("/v1/entities/film/d1/neighbors", params={"k": 3}).json()
    assert len(found["items"]) == 3
    assert "d1" not in [item["id"] for item in found["items"]]
    assert {item["type"] for item in found["items"]} == {"film"}, "its own type, if none is asked"
    assert found["bundle"] == trained.bundles[-1]
    assert found["index"] == trained.indexes[-1]
    assert found["ranker"] == trained.rankers[-1]
    assert found["state"] == "learned"


def test_neighbors_of_another_type_and_more_than_there_are(http: httpx.Client) -> None:
    query = {"type": "thing", "k": 1000}
    found = http.get("/v1/entities/film/d1/neighbors", params=query).json()
    assert sorted(item["id"] for item in found["items"]) == ["comedy", "drama"]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("film/d1", {"k": 0}, 422),
        ("film/d1", {"k": 1001}, 422),
        ("film/d1", {"k": "many"}, 422),
        ("film/d1", {"type": "planet"}, 422),
        ("planet/mars", {}, 404),
    ],
)
def test_wrong_questions_about_neighbors(http, problem, path, query, status) -> None:
    refused = problem(http.get(f"/v1/entities/{path}/neighbors", params=query), status)
    assert refused["detail"]


def test_a_new_entity_has_neighbors_from_its_first_edge(http: httpx.Client) -> None:
    events = [click("fresh", f"c{film}", START, f"fresh-{film}") for film in range(3)]
    http.post("/v1/events?backfill=true", json={"events": events})
    found = http.get("/v1/entities/user/fresh/neighbors", params={"k": 5}).json()
    assert (found["state"], found["folded_edges"]) == ("cold", 3)
    # u1, u3, ... click comedies, and so does this one.
    assert all(int(item["id"][1:]) % 2 == 1 for item in found["items"])


def test_the_graph_in_numbers(http: httpx.Client) -> None:
    found = http.get("/v1/graph").json()
    assert found["entities"]["thing"] == 2
    assert found["edges"]["genre"] == 2 * FILMS
    assert found["seq"] >= sum(found["events"].values()) > 2000
