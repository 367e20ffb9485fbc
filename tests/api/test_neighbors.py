"""Neighbors over HTTP: filters, relations, explanations, and many queries at once."""

import json
from typing import Any

import httpx
import numpy as np
import pytest
from planted import START, click
from running import eventually

from graphsvc.artifact import ArtifactStore
from kge.bundle import open_bundle


def near(http: httpx.Client, type_: str, id_: str, **asked: Any) -> dict[str, Any]:
    if "filter" in asked:
        asked["filter"] = json.dumps(asked["filter"])
    answer = http.get(f"/v1/entities/{type_}/{id_}/neighbors", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(found: dict[str, Any]) -> list[str]:
    return [item["id"] for item in found["items"]]


@pytest.fixture(scope="module")
def bundle(trained):
    return open_bundle(ArtifactStore(trained.settings.artifacts_dir), trained.bundles[-1])


def test_an_answer_says_how_it_was_found(http: httpx.Client) -> None:
    found = near(http, "film", "d1", k=3)
    assert (found["plan"], found["recall_estimate"]) == ("exact", 1.0)
    assert "score" not in found["items"][0], "there is none without a relation"


def test_a_filter_narrows_the_same_list(http: httpx.Client) -> None:
    everyone = near(http, "user", "u0", type="film", k=1000)
    wanted = {"must": [{"attribute": "year", "gte": 1990, "lt": 1995}]}
    found = near(http, "user", "u0", type="film", k=1000, filter=wanted)
    assert {item["id"][1:] for item in found["items"]} == {"10", "11", "12", "13", "14"}
    place = {item["id"]: item["distance"] for item in everyone["items"]}
    assert [(i["id"], i["distance"]) for i in found["items"]] == [
        (id_, place[id_]) for id_ in place if id_ in ids(found)
    ]


def test_several_types_are_searched_together(http: httpx.Client) -> None:
    wanted = {"must_not": [{"ids": ["d1", "c1"]}]}
    found = near(http, "film", "d2", k=1000, type=["film", "thing"], filter=wanted)
    query = {"entity": {"type": "film", "id": "d2"}, "k": 1000, "filter": wanted}
    body = {"queries": [query | {"type": ["thing", "film", "thing"]}]}
    [posted] = http.post("/v1/neighbors", json=body).json()["answers"]
    assert posted["items"] == found["items"]
    assert {item["type"] for item in found["items"]} == {"film", "thing"}
    assert {"drama", "comedy"} <= set(ids(found))
    assert not {"d1", "c1", "d2"} & set(ids(found))
    distances = [item["distance"] for item in found["items"]]
    assert distances == sorted(distances)


def test_a_filter_widens_nothing(http: httpx.Client) -> None:
    """Two ways to say the same, of which one names types."""
    plain = {"must": [{"ids": ["d4", "drama"]}]}
    either = {"should": [{"type": "film"}, {"must_not": [{"type": "film"}]}]}
    found = near(http, "film", "d2", filter=plain)
    assert ids(found) == ["d4"]
    assert near(http, "film", "d2", filter={"must": [*plain["must"], either]}) == found
    assert ids(near(http, "film", "d2", filter={"must": [{"type": "thing"}]})) == []


def test_what_is_new_or_has_changed_is_filtered_too(http: httpx.Client) -> None:
    events = [click(f"u{n}", "fresh-film", START, f"fresh-film-{n}") for n in range(0, 12, 2)]
    assert http.post("/v1/events?backfill=true", json={"events": events}).is_success
    fresh = {"must": [{"ids": ["fresh-film", "d5"]}]}
    eventually(
        "the new film is found",
        lambda: "fresh-film" in ids(near(http, "film", "d1", filter=fresh)),
        seconds=10,
    )
    http.put("/v1/entities/film/fresh-film", json={"attributes": {"year": 2020}})
    made_late = {"must": [{"attribute": "year", "gte": 2015}]}
    [item] = near(http, "film", "d1", filter=made_late)["items"]
    assert (item["id"], item["cold"], item["edges"]) == ("fresh-film", True, 6)
    clicked = {"must": [{"relation": "click", "of": {"type": "user", "id": "u2"}}]}
    assert "fresh-film" in ids(near(http, "film", "d1", k=1000, filter=clicked))
    assert "fresh-film" not in ids(
        near(http, "film", "d1", k=1000, filter={"must_not": clicked["must"]})
    )
    scored = near(http, "user", "u2", relation="click", k=1000)
    assert "fresh-film" in ids(scored)


def test_what_is_retired_passes_no_filter(http: httpx.Client) -> None:
    wanted = {"should": [{"ids": ["d16", "d17"]}]}
    assert sorted(ids(near(http, "film", "d1", filter=wanted))) == ["d16", "d17"]
    assert http.delete("/v1/entities/film/d16").is_success
    try:
        assert ids(near(http, "film", "d1", filter=wanted)) == ["d17"], "from the next answer on"
        assert "d16" not in ids(near(http, "user", "u0", relation="click", k=1000))
    finally:
        assert http.post("/v1/entities/film/d16/restore").is_success
    eventually(
        "it is back",
        lambda: len(ids(near(http, "film", "d1", filter=wanted))) == 2,
        seconds=10,
    )


def test_who_completes_a_relation(http: httpx.Client, bundle) -> None:
    found = near(http, "user", "u0", relation="click", k=10)
    assert {item["type"] for item in found["items"]} == {"film"}
    assert all(item["id"].startswith("d") for item in found["items"] if not item["cold"])
    scores = [item["score"] for item in found["items"]]
    assert scores == sorted(scores, reverse=True)
    head = bundle.rows("user", ["u0"])
    trained = [item for item in found["items"] if not item["cold"]]
    rows = bundle.rows("film", [item["id"] for item in trained])
    expected = bundle.score_tails(bundle.relation_index("click"), bundle.vectors[head], rows)[0]
    if not found["folded_edges"]:
        np.testing.assert_allclose([i["score"] for i in trained], expected, rtol=1e-3, atol=1e-3)
    back = near(http, "film", "d1", relation="click", k=5)
    assert {item["type"] for item in back["items"]} == {"user"}
    assert all(int(item["id"][1:]) % 2 == 0 for item in back["items"] if not item["cold"])


def test_an_explanation_names_paths(http: httpx.Client) -> None:
    found = near(http, "film", "d1", k=3, explain=True)
    for item in found["items"]:
        paths = item["explanation"]["paths"]
        assert 1 <= len(paths) <= 3
        for path in paths:
            assert 1 <= len(path) <= 2
            assert path[-1]["to"] == {"type": "film", "id": item["id"]}
    to_user = near(http, "film", "d1", type="user", k=1, explain=True)["items"][0]
    direct = to_user["explanation"]["paths"][0]
    assert direct == [
        {"relation": "click", "direction": "in", "to": {"type": "user", "id": to_user["id"]}}
    ]
    assert "explanation" not in near(http, "film", "d1")["items"][0]


def test_many_queries_get_what_each_gets_alone(http: httpx.Client, bundle) -> None:
    wanted = {"must": [{"attribute": "year", "gte": 1990}]}
    queries = [
        {"entity": {"type": "film", "id": "d1"}, "k": 4},
        {"entity": {"type": "user", "id": "u3"}, "k": 4, "type": "film", "filter": wanted},
        {"entity": {"type": "user", "id": "u3"}, "k": 4, "relation": "click"},
        {"entity": {"type": "film", "id": "d2"}, "k": 4},
    ]
    told = http.post("/v1/neighbors", json={"queries": queries}).json()
    assert [answer["verdict"] for answer in told["answers"]] == ["answered"] * 4
    alone = [
        near(http, "film", "d1", k=4),
        near(http, "user", "u3", k=4, type="film", filter=wanted),
        near(http, "user", "u3", k=4, relation="click"),
        near(http, "film", "d2", k=4),
    ]
    for one, other in zip(told["answers"], alone, strict=True):
        assert ids(one) == ids(other)
        for mine, theirs in zip(one["items"], other["items"], strict=True):
            assert mine["distance"] == pytest.approx(theirs["distance"], abs=1e-5)
    assert told["bundle"] == alone[0]["bundle"]


def test_a_vector_finds_what_its_entity_finds(http: httpx.Client, bundle) -> None:
    row = int(bundle.rows("film", ["d4"])[0])
    vector = bundle.vectors[row].tolist()
    queries = [
        {"vector": vector, "type": "film", "k": 4},
        {"vector": vector, "vector_type": "film", "relation": "genre", "k": 2},
    ]
    first, second = http.post("/v1/neighbors", json={"queries": queries}).json()["answers"]
    assert ids(first)[0] == "d4", "itself: nobody says that it is the film"
    assert ids(first)[1:] == ids(near(http, "film", "d4", k=3))
    assert (first["state"], first["merged_into"]) == (None, None)
    assert ids(second) == ids(near(http, "film", "d4", relation="genre", k=2))
    assert ids(second)[0] == "drama"


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"k": 3}, 422, "entity or a vector"),
        ({"entity": {"type": "film", "id": "d1"}, "k": 0}, 422, "k: should be at least 1"),
        ({"entity": {"type": "film", "id": "d1"}, "kk": 1}, 422, "did you mean k"),
        ({"entity": {"type": "film", "id": "d1"}, "type": "flim"}, 422, "received 'flim'"),
        ({"entity": {"type": "film", "id": "ghost"}}, 404, "no event has named film 'ghost' yet"),
        ({"vector": [1.0, 2.0], "type": "film"}, 422, "vector should have"),
        ({"vector": [1.0]}, 422, "type should be one of film, thing, user, received nothing"),
        ({"vector": [1.0], "relation": "click"}, 422, "vector_type"),
        (
            {"entity": {"type": "film", "id": "d1"}, "vector_type": "film"},
            422,
            "vector_type beside a vector alone",
        ),
        ({"vector": [1.0], "type": "film", "explain": True}, 422, "explain an entity alone"),
        ({"entity": {"type": "film", "id": "d1"}, "facet": "likes"}, 422, "facet should be"),
        ({"entity": {"type": "film", "id": "d1"}, "relation": "klick"}, 422, "relation should be"),
        ({"entity": {"type": "thing", "id": "drama"}, "relation": "click"}, 422, "leads"),
        ({"entity": {"type": "film", "id": "d1"}, "direction": "in"}, 422, "relation should be"),
        (
            {"entity": {"type": "user", "id": "u1"}, "relation": "click", "type": "thing"},
            422,
            "type should be film",
        ),
        ({"entity": {"type": "film", "id": "d1"}, "explain": True, "k": 51}, 422, "at most 50"),
        (
            {"entity": {"type": "film", "id": "d1"}, "filter": {"must": [{"attribut": "a"}]}},
            422,
            "filter.must.0",
        ),
    ],
)
def test_one_that_is_refused_leaves_the_others_alone(
    http: httpx.Client, query: dict[str, Any], status: int, words: str
) -> None:
    sound = {"entity": {"type": "film", "id": "d1"}, "k": 2}
    told = http.post("/v1/neighbors", json={"queries": [sound, query, sound]}).json()["answers"]
    assert [answer["verdict"] for answer in told] == ["answered", "refused", "answered"]
    assert ids(told[0]) == ids(told[2])
    problem = told[1]["problem"]
    assert problem["status"] == status
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("first", "field", "wanted"),
    [
        (1e39, "vector.0", "a number from -1e+15 to 1e+15"),
        (-1e20, "vector.0", "a number from -1e+15 to 1e+15"),
        (1e308, "vector.0", "a number from -1e+15 to 1e+15"),
        (9.9e14, "vector", "of length 0, or from 1e-15 to 1e+15"),
        (1e-30, "vector", "of length 0, or from 1e-15 to 1e+15"),
    ],
)
def test_a_vector_that_cannot_be_compared_is_named(
    http: httpx.Client, bundle, first: float, field: str, wanted: str
) -> None:
    vector = [first, first / 2] + [0.0] * (bundle.dim - 2)
    queries = [{"vector": vector, "type": "film"}, {"vector": [0.0] * bundle.dim, "type": "film"}]
    refused, zero = http.post("/v1/neighbors", json={"queries": queries}).json()["answers"]
    assert (refused["verdict"], refused["problem"]["status"]) == ("refused", 422)
    [error] = refused["problem"]["errors"]
    assert (error["field"], error["expected"]) == (field, wanted)
    assert float(error["value"]) == pytest.approx(first, rel=0.2)
    assert {item["distance"] for item in zero["items"]} == {1.0}, "zero is near nothing"


def test_the_first_number_that_is_too_large_is_named(http: httpx.Client, bundle) -> None:
    numbers = [1.0] + [1e40] * (bundle.dim - 1)
    query = {"vector": numbers, "type": "film"}
    [refused] = http.post("/v1/neighbors", json={"queries": [query]}).json()["answers"]
    assert refused["problem"]["errors"][0]["field"] == "vector.1"


def test_who_is_known_but_joined_to_nothing_is_told_so(http: httpx.Client, problem) -> None:
    assert http.put("/v1/entities/film/lonely", json={"attributes": {"year": 2020}}).is_success
    refused = problem(http.get("/v1/entities/film/lonely/neighbors"), 404)
    assert "film 'lonely' has no edge to anything that training knows" in refused["detail"]


@pytest.mark.parametrize("asked", [{}, {"filter": "{"}, {"type": "film", "k": 3}])
def test_a_type_that_there_is_not_is_no_page(
    http: httpx.Client, problem, asked: dict[str, Any]
) -> None:
    entity = problem(http.get("/v1/entities/flim/d1"), 404)
    refused = problem(http.get("/v1/entities/flim/d1/neighbors", params=asked), 404)
    assert refused["detail"] == entity["detail"]


@pytest.mark.parametrize("length", [1e-14, 1e14])
def test_the_length_of_a_vector_does_not_matter(http: httpx.Client, bundle, length: float) -> None:
    own = bundle.vectors[bundle.rows("film", ["d4"])[0]].astype(float)
    far = (own / np.linalg.norm(own) * length).tolist()
    queries = [{"vector": some, "type": "film", "k": 4} for some in (own.tolist(), far)]
    queries.append({"vector": far, "vector_type": "film", "relation": "genre", "k": 2})
    first, second, scored = http.post("/v1/neighbors", json={"queries": queries}).json()["answers"]
    assert ids(first) == ids(second)
    for one, other in zip(first["items"], second["items"], strict=True):
        assert one["distance"] == pytest.approx(other["distance"], abs=1e-5)
    assert all(np.isfinite(item["score"]) for item in scored["items"])


def test_what_a_request_has_explained_is_bounded(http: httpx.Client) -> None:
    """200 items together: who is refused for another reason takes nothing of them."""

    def query(film: str, k: int, *, explain: bool) -> dict[str, Any]:
        return {"entity": {"type": "film", "id": film}, "k": k, "explain": explain}

    queries = [
        query("d1", 50, explain=True),
        query("ghost", 50, explain=True),
        query("d2", 50, explain=True),
        query("d3", 50, explain=True),
        query("d4", 49, explain=True),
        query("d5", 2, explain=True),
        query("d5", 2, explain=False),
        query("d6", 1, explain=True),
    ]
    told = http.post("/v1/neighbors", json={"queries": queries}).json()["answers"]
    refused = [n for n, answer in enumerate(told) if answer["verdict"] == "refused"]
    assert refused == [1, 5]
    problem = told[5]["problem"]
    assert problem["status"] == 422
    assert problem["detail"] == (
        "k should be at most 200 in all queries of a request that ask to explain, "
        "received 201 with those before"
    )
    [error] = problem["errors"]
    assert (error["field"], error["value"]) == ("k", 201)
    assert error["expected"].startswith("at most 200")
    assert "explanation" in told[7]["items"][0]


def test_too_many_queries_are_refused(http: httpx.Client, problem) -> None:
    query = {"entity": {"type": "film", "id": "d1"}}
    refused = problem(http.post("/v1/neighbors", json={"queries": [query] * 101}), 422)
    assert "at most 100" in refused["detail"]
    problem(http.post("/v1/neighbors", json={"queries": []}), 422)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"filter": "{"}, "JSON"),
        ({"filter": '{"must": [{"attribute": "yaer", "gte": 1}]}'}, "did you mean year"),
        ({"facet": "likes"}, "facet should be one of all"),
        ({"relation": "sequal"}, "relation should be one of"),
        ({"explain": "true", "k": 100}, "k should be at most 50"),
        ({"direction": "up"}, "direction"),
    ],
)
def test_a_wrong_question_is_told_which_part(
    http: httpx.Client, problem, asked: dict[str, Any], words: str
) -> None:
    refused = problem(http.get("/v1/entities/film/d1/neighbors", params=asked), 422)
    assert words in refused["detail"]
