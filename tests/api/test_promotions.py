"""Promotions by hand over HTTP: when they need a reason, who signs, what is listed."""

from dataclasses import replace
from itertools import count
from typing import Any

import httpx
import pytest

from api.errors import Invalid
from api.jobs.gate import Candidate, gate
from api.jobs.promotion import promote_by_hand
from api.jobs.steps import Workshop
from ranking.gating import GateConfig

OPEN = GateConfig(
    auc_margin=2.0, logloss_margin=1000.0, least_users=2, least_outcomes=1, slice_level=0.0
)
#: More people than there are.
CROWD = GateConfig(least_users=1000)
#: Another job each time: the same one would find its decision there.
JOBS = count()


def decide(shop: Workshop, trained: Any, dials: GateConfig) -> dict[str, Any]:
    """What the gate says of the trio that is not live."""
    own = replace(shop, settings=shop.settings.model_copy(update={"gate": dials}))
    candidate = Candidate(trained.snapshot, trained.bundles[0], trained.rankers[0])
    return gate(own, candidate, tick=lambda *_: None, job_id=f"promotions {next(JOBS)}")


def post(http: httpx.Client, ranker: str, **more: Any) -> httpx.Response:
    return http.post("/v1/promotions", json={"ranker": ranker, **more})


def test_what_the_gate_was_never_asked_needs_a_reason(http, trained, problem, shop) -> None:
    # With the other's bundle the gate has never seen it, whatever else was asked before.
    before = http.get("/health/ready").json()["generation"]
    refused = problem(post(http, trained.rankers[1], bundle=trained.bundles[0]), 422)
    [error] = refused["errors"]
    assert (error["field"], error["value"]) == ("body.reason", None)
    assert refused["detail"] == (
        "body.reason should say why this is promoted, since the gate has not compared it with "
        "what is live"
    )
    for blank in ("", "  "):
        problem(post(http, trained.rankers[1], bundle=trained.bundles[0], reason=blank), 422)
        with pytest.raises(Invalid, match="--reason should say why"):
            promote_by_hand(
                shop.database,
                trained.rankers[1],
                reason=blank,
                by="test",
                bundle=trained.bundles[0],
                field="--reason",
            )
    assert http.get("/health/ready").json()["generation"] == before


def test_one_that_was_not_decided_needs_a_reason_that_is_kept(http, trained, problem, shop) -> None:
    decided = decide(shop, trained, CROWD)
    first, second = trained.rankers
    path = f"/v1/artifacts/{first}/promote"
    for refused in (problem(post(http, first), 422), problem(http.post(path), 422)):
        says = "since the gate says not decided: there is too little: 60 users"
        assert says in refused["detail"]
    assert post(http, first, reason="").status_code == 422
    overruled = post(http, first, reason="the old one is broken")
    assert overruled.status_code == 200, overruled.text
    [told] = http.get("/v1/promotions", params={"limit": 1}).json()["items"]
    key = trained.key.split("_")[1]
    assert told | {"created_at": 0} == {
        **overruled.json(),
        "reason": "the old one is broken",
        "promoted_by": f"key {key}",
        "decision": decided["id"],
        "created_at": 0,
    }
    assert post(http, first).json() == overruled.json(), "it is live already"
    assert post(http, second, reason="roll back").json()["ranker"] == second


def test_one_that_passed_needs_none_while_its_champion_is_live(
    http, trained, problem, shop
) -> None:
    decided = decide(shop, trained, OPEN)
    assert decided["decision"] == "passed"
    first, second = trained.rankers
    promoted = post(http, first)
    assert promoted.status_code == 200, promoted.text
    [told] = http.get("/v1/promotions", params={"limit": 1}).json()["items"]
    assert (told["reason"], told["decision"]) == ("it passed the gate", decided["id"])
    # The former champion was never compared with this one.
    assert "has not compared it" in problem(post(http, second), 422)["detail"]
    assert post(http, second, reason="roll back").status_code == 200


def test_decisions_are_listed_newest_first_and_shown_with_their_numbers(
    http, trained, problem, shop
) -> None:
    made = [decide(shop, trained, dials)["id"] for dials in (OPEN, CROWD)]
    seen, cursor = [], None
    while True:
        query = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/decisions", params=query).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert set(made) <= {item["id"] for item in seen}
    times = [item["created_at"] for item in seen]
    assert times == sorted(times, reverse=True)
    only = http.get("/v1/decisions", params={"decision": "not decided"}).json()["items"]
    assert made[1] in {item["id"] for item in only}
    assert {item["decision"] for item in only} == {"not decided"}
    of = http.get("/v1/decisions", params={"ranker": trained.rankers[0]}).json()["items"]
    assert {item["candidate"]["ranker"] for item in of} == {trained.rankers[0]}

    shown = http.get(f"/v1/decisions/{made[0]}").json()
    assert shown["champion"] == {"ranker": trained.rankers[1], "bundle": trained.bundles[1]}
    metrics = {gain["metric"]: gain for gain in shown["numbers"]["verdicts"]["ctr"]["metrics"]}
    auc = metrics["auc"]
    assert auc["gain"] == pytest.approx(auc["candidate"] - auc["champion"])
    assert auc["lo"] <= auc["gain"] <= auc["hi"]
    problem(http.get(f"/v1/decisions/{'0' * 64}"), 404)
    problem(http.get("/v1/decisions/short"), 422)
    problem(http.get("/v1/decisions", params={"decision": "maybe"}), 422)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.ranker"),
        ({"ranker": "short"}, "body.ranker"),
        ({"ranker": "0" * 64, "why": "x"}, "body.why"),
        ({"ranker": "0" * 64, "reason": "x" * 501}, "body.reason"),
    ],
)
def test_a_wrong_request_names_its_field(http, problem, body: dict, field: str) -> None:
    refused = problem(http.post("/v1/promotions", json=body), 422)
    assert refused["errors"][0]["field"] == field


def test_what_is_no_ranker_is_not_promoted(http, trained, problem) -> None:
    problem(post(http, "0" * 64, reason="x"), 404)
    refused = problem(post(http, trained.bundles[0], reason="x"), 409)
    assert "should be a ranker, it is a bundle" in refused["detail"]
    mixed = problem(post(http, trained.rankers[1], bundle=trained.bundles[0], reason="x"), 409)
    assert "frame" in mixed["detail"]
