"""POST /v1/score: order, versions, and clear refusals."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from time import sleep
from typing import Any

import httpx
import pytest
from planted import COMEDIES

from api.answers import Answerer


def ask(http: httpx.Client, user: str, candidates: list[str]) -> dict:
    body = {"head": {"type": "user", "id": user}, "candidates": candidates}
    answer = http.post("/v1/score", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_scores_are_probabilities_best_first(http: httpx.Client, trained) -> None:
    candidates = [*COMEDIES, *(f"d{film}" for film in range(20))]
    found = ask(http, "u2", candidates)
    scores = [item["score"] for item in found["scores"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert sorted(item["id"] for item in found["scores"]) == sorted(candidates)
    # u2 likes drama: all twenty of them come before all comedies.
    assert all(item["id"].startswith("d") for item in found["scores"][:20])
    assert found["ranker"] == trained.rankers[-1]


def test_a_candidate_scores_the_same_alone_and_in_company(http: httpx.Client) -> None:
    alone = ask(http, "u2", ["d3"])["scores"][0]["score"]
    company = ask(http, "u2", ["c1", "d3", "c2"])["scores"]
    assert next(i["score"] for i in company if i["id"] == "d3") == pytest.approx(alone, abs=1e-6)


def test_an_unknown_candidate_is_scored_and_says_so(http: httpx.Client) -> None:
    found = {item["id"]: item for item in ask(http, "u2", ["d3", "never-seen"])["scores"]}
    assert found["d3"]["known"]
    assert not found["never-seen"]["known"]


def test_the_same_candidate_twice_is_scored_twice(http: httpx.Client) -> None:
    assert len(ask(http, "u2", ["d3", "d3"])["scores"]) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"head": {"type": "user", "id": "u1"}, "candidates": []}, "body.candidates"),
        ({"head": {"type": "user", "id": "u1"}, "candidates": ["x"] * 1001}, "body.candidates"),
        ({"head": {"type": "user", "id": "u1"}, "candidates": [""]}, "body.candidates.0"),
        ({"head": {"type": "user", "id": "u1"}, "candidates": [3]}, "body.candidates.0"),
        ({"head": {"type": "user"}, "candidates": ["x"]}, "body.head.id"),
        ({"head": {"type": "user", "id": "u1"}, "candidates": ["x"], "k": 1}, "body.k"),
    ],
)
def test_a_wrong_request_names_its_field(http, problem, body: dict, field: str) -> None:
    refused = problem(http.post("/v1/score", json=body), 422)
    assert refused["errors"][0]["field"].startswith(field)


def test_a_head_of_the_wrong_type_is_refused(http: httpx.Client, problem) -> None:
    body = {"head": {"type": "film", "id": "d1"}, "candidates": ["d2"]}
    refused = problem(http.post("/v1/score", json=body), 422)
    assert "user" in refused["detail"]
    assert "film" in refused["detail"]


@pytest.mark.parametrize("way", ["body", "query"])
def test_reasons_are_told_where_they_are_asked_for(http: httpx.Client, way: str) -> None:
    plain = ask(http, "u2", ["d3", "c1"])
    assert [item["why"] for item in plain["scores"]] == [None, None]
    body = {"head": {"type": "user", "id": "u2"}, "candidates": ["d3", "c1"]}
    if way == "body":
        answer = http.post("/v1/score", json={**body, "explain": True})
    else:
        answer = http.post("/v1/score", params={"explain": True}, json=body)
    found = answer.json()["scores"]
    assert [item["score"] for item in found] == pytest.approx(
        [item["score"] for item in plain["scores"]], abs=1e-6
    )
    drama, comedy = (item["why"] for item in found)
    assert len(drama["fields"]) == 5
    # The pair tells, and the ranker has no other field that knows of it: u2 likes drama.
    changes = [{one["field"]: one["change"] for one in why["fields"]} for why in (drama, comedy)]
    assert max(changes[0].values()) > 0
    assert min(changes[1].values()) < 0
    for why in (drama, comedy):
        assert why["tokens"] == [], "a frozen ranker attends to nothing"
        assert 0 < why["without_offsite"] < 1
        assert 0 < why["without_kge"] < 1


def test_fifty_are_explained_at_most(http: httpx.Client, problem) -> None:
    body = {"head": {"type": "user", "id": "u1"}, "candidates": ["d1"] * 51}
    assert http.post("/v1/score", json=body).status_code == 200
    refused = problem(http.post("/v1/score", json={**body, "explain": True}), 422)
    assert refused["errors"][0]["field"] == "candidates"
    assert "at most 50" in refused["detail"]


def test_every_probability_of_the_ranker_is_told(http: httpx.Client) -> None:
    found = ask(http, "u2", ["d3", "c1"])
    assert (found["order"], found["position"]) == ("ctr", None), "nobody said any place"
    for item in found["scores"]:
        assert item["probabilities"] == {"ctr": item["score"]}


def test_an_order_that_the_ranker_does_not_have_is_refused(http: httpx.Client, problem) -> None:
    body = {"head": {"type": "user", "id": "u2"}, "candidates": ["d3"]}
    refused = problem(http.post("/v1/score", json=body | {"order": "cvr"}), 422)
    says = "order should be one of ctr, which this ranker has, received 'cvr'"
    assert refused["detail"] == says
    assert http.post("/v1/score", json=body | {"order": "ctr"}).status_code == 200
    problem(http.post("/v1/score", json=body | {"order": "price"}), 422)
    problem(http.post("/v1/score", json=body | {"position": -1}), 422)
    assert http.post("/v1/score", json=body | {"position": 3}).status_code == 200


def test_scores_are_computed_in_turns_and_nothing_else_waits(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many at once as there are turns; more wait than there are threads for all requests."""
    clients_at_once = 50
    turns = 2 if trained.settings.database_url else 1
    computing, most, begun, go_on = 0, 0, Event(), Event()
    lock = Lock()

    def watched(self: Answerer, *given: Any, work: Any = Answerer.score, **more: Any) -> Any:
        nonlocal computing, most
        with lock:
            computing += 1
            most = max(most, computing)
        begun.set()
        assert go_on.wait(30)
        try:
            return work(self, *given, **more)
        finally:
            with lock:
                computing -= 1

    monkeypatch.setattr(Answerer, "score", watched)
    with ThreadPoolExecutor(clients_at_once) as clients:
        asked = [
            clients.submit(ask, trained.http, f"u{n % 6}", ["d1", "d2"])
            for n in range(clients_at_once)
        ]
        assert begun.wait(30)
        sleep(0.5)  # all the others have come
        assert trained.http.get("/v1/graph").status_code == 200
        go_on.set()
        assert all(one.result()["scores"] for one in asked)
    assert 1 <= most <= turns
