"""POST /v1/recommend: found, ranked, filtered, spread; u0 likes drama and never saw d0."""

from typing import Any

import httpx
import pytest
from planted import WITHHELD_FILM, WITHHELD_USER
from running import eventually

#: Other files of tests bring films of their own.
PLANTED = [f"{letter}{n}" for letter in "cd" for n in range(20)]
AMONG = {"must": [{"ids": PLANTED}]}


def ask(http: httpx.Client, user: str, **more: Any) -> dict[str, Any]:
    answer = http.post("/v1/recommend", json={"head": {"type": "user", "id": user}, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(found: dict[str, Any]) -> list[str]:
    return [item["id"] for item in found["items"]]


def test_what_was_clicked_is_out_and_the_withheld_film_comes_first(
    http: httpx.Client, trained
) -> None:
    """Of 40 films u0 has clicked 19 dramas: what is left are d0 and the comedies."""
    found = ask(http, WITHHELD_USER, filter=AMONG)
    assert ids(found)[0] == WITHHELD_FILM
    assert all(name.startswith("c") for name in ids(found)[1:])
    assert len(found["items"]) == 10
    assert found["ranker"] == trained.rankers[-1]
    assert (found["state"], found["order"], found["capped"]) == ("learned", "ctr", 0)
    scores = [item["score"] for item in found["items"]]
    assert scores == sorted(scores, reverse=True)


def test_with_what_was_clicked_dramas_come_first(http: httpx.Client) -> None:
    found = ask(http, "u2", seen="in", retrieve=100, filter=AMONG)
    assert all(name.startswith("d") for name in ids(found))
    assert all(name.startswith("c") for name in ids(ask(http, "u2", retrieve=100, filter=AMONG)))


def test_scores_are_those_of_a_score_request(http: httpx.Client) -> None:
    found = ask(http, "u4", seen="in", k=5)
    body = {"head": {"type": "user", "id": "u4"}, "candidates": ids(found)}
    single = http.post("/v1/score", json=body).json()
    expected = {item["id"]: item["score"] for item in single["scores"]}
    assert {item["id"]: item["score"] for item in found["items"]} == pytest.approx(
        expected, abs=1e-6
    )
    near = http.get("/v1/entities/user/u4/neighbors", params={"type": "film", "k": 200}).json()
    distance = {item["id"]: item["distance"] for item in near["items"]}
    for item in found["items"]:
        assert item["distance"] == pytest.approx(distance[item["id"]], abs=1e-6)


def test_only_what_passes_is_ranked(http: httpx.Client) -> None:
    """Films n of each genre are of 1980 + n: from 1990 to 1994 there are five, less one."""
    wanted = {
        "must": [{"attribute": "year", "gte": 1990, "lt": 1995}],
        "should": [{"ids": PLANTED}],
        "must_not": [{"ids": ["c12"]}],
    }
    found = ask(http, "u2", filter=wanted)
    assert sorted(ids(found)) == ["c10", "c11", "c13", "c14"]
    assert found["retrieved"] == 4
    both = ask(http, "u2", filter=wanted, seen="in")
    assert sorted(ids(both)) == ["c10", "c11", "c13", "c14", *(f"d{n}" for n in range(10, 15))]


@pytest.mark.parametrize("at_once", [50_000, 7])
def test_a_cap_spreads_over_what_films_lead_to(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """However few edges are read at once, none is left out."""
    monkeypatch.setattr("api.recommending._MOST_EDGES", at_once)
    cap = {"relation": "genre", "most": 2}
    plain = ask(http, "u2", seen="in", filter=AMONG, k=40, retrieve=100)
    found = ask(http, "u2", seen="in", filter=AMONG, k=40, retrieve=100, cap=cap)
    best = [[name for name in ids(plain) if name.startswith(letter)][:2] for letter in ("d", "c")]
    assert ids(found) == [*best[0], *best[1]]
    assert found["capped"] == 36


def test_the_answer_is_kept_under_its_name(http: httpx.Client) -> None:
    found = ask(http, "u6", k=3, request_id="recommended-6")
    assert found["request_id"] == "recommended-6"

    def kept() -> list[str]:
        answers = http.get("/v1/answers", params={"limit": 100}).json()
        return [str(one) for one in answers["items"] if "recommended-6" in str(one)]

    eventually("it is written down", lambda: bool(kept()), seconds=10)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"k": 20, "retrieve": 10}, "should retrieve at least k, 20, received 10"),
        ({"cap": {"relation": "click", "most": 1}}, "cap.relation should be one of"),
        ({"order": "cvr"}, "order should be one of ctr"),
        ({"relation": "sequel"}, "relation"),
        ({"filter": {"must": [{"attribute": "size", "gte": 1}]}}, "attribute"),
        ({"seen": "maybe"}, "seen"),
    ],
)
def test_what_makes_no_sense_is_refused(http: httpx.Client, problem, more: dict, says: str) -> None:
    body = {"head": {"type": "user", "id": "u2"}, **more}
    refused = problem(http.post("/v1/recommend", json=body), 422)
    assert says in refused["detail"] + str(refused.get("errors"))


def test_who_is_nowhere_gets_no_recommendation(http: httpx.Client, problem) -> None:
    nobody = {"head": {"type": "user", "id": "never-heard-of"}}
    problem(http.post("/v1/recommend", json=nobody), 404)
    refused = problem(http.post("/v1/recommend", json={"head": {"type": "film", "id": "d1"}}), 422)
    assert "head.type should be 'user', received 'film'" in refused["detail"]
