"""Artifacts over HTTP: lineage, reports, promotion and rollback, and what is refused."""

import json

import httpx
import pytest
from running import eventually

from api.jobs.promotion import promote
from graphsvc import ledger
from graphsvc.artifact import ArtifactStore, Recipe
from graphsvc.db import Database
from graphsvc.report import rows_of


def test_lists_are_newest_first_in_pages(http: httpx.Client, trained) -> None:
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/artifacts", params=query).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    digests = [item["digest"] for item in seen]
    assert len(digests) == len(set(digests))
    # Other tests of the same service may have made more.
    made = {trained.snapshot, *trained.bundles, *trained.rankers, trained.report}
    assert made <= set(digests)
    times = [item["created_at"] for item in seen]
    assert times == sorted(times, reverse=True)
    rankers = http.get("/v1/artifacts", params={"kind": "ranker"}).json()["items"]
    assert {item["digest"] for item in rankers} >= set(trained.rankers)
    assert {item["kind"] for item in rankers} == {"ranker"}


def test_lineage_can_be_walked(http: httpx.Client, trained) -> None:
    ranker = http.get(f"/v1/artifacts/{trained.rankers[0]}").json()
    assert ranker["parents"] == {"snapshot": trained.snapshot, "bundle": trained.bundles[0]}
    bundle = http.get(f"/v1/artifacts/{ranker['parents']['bundle']}").json()
    assert bundle["parents"] == {"snapshot": trained.snapshot}
    assert bundle["dials"]["dim"] == 8, "the artifact is the experiment record"


def test_a_report_holds_figures_with_intervals(http: httpx.Client, trained) -> None:
    report = http.get(f"/v1/artifacts/{trained.report}").json()["payload"]
    rows = rows_of(report)
    assert {"machine", "commit", "dials"} <= set(report["header"])
    auc = {row.model: row for row in rows if row.metric == "auc" and "history" not in row.split}
    assert {"constant", "item_ctr", "user_item_mean", "ranker_frozen"} <= set(auc)
    frozen = auc["ranker_frozen"]
    assert frozen.lo is not None
    assert frozen.lo <= frozen.value <= frozen.hi
    assert {"transra", "click_count", "random"} <= {r.model for r in rows if r.metric == "mrr"}


def test_promote_and_roll_back(http: httpx.Client, trained) -> None:
    def live() -> str:
        return http.get("/v1/entities/film/d1/neighbors").json()["ranker"]

    first, second = trained.rankers
    before = http.get("/health/ready").json()["generation"]
    rolled = http.post(f"/v1/artifacts/{first}/promote", json={"reason": "roll back"}).json()
    assert rolled == {
        "generation": before + 1,
        "bundle": trained.bundles[0],
        "index": trained.indexes[0],
        "ranker": first,
    }
    eventually("rolled back", lambda: live() == first, seconds=5)
    state = {i["digest"]: i["state"] for i in http.get("/v1/artifacts").json()["items"]}
    assert (state[first], state[second]) == ("live", "retired")
    again = http.post(f"/v1/artifacts/{first}/promote").json()
    assert again["generation"] == before + 1, "what is live already keeps its generation"
    http.post(f"/v1/artifacts/{second}/promote", json={"reason": "back again"})
    eventually("back again", lambda: live() == second, seconds=5)


def test_a_job_does_not_undo_a_rollback(http: httpx.Client, trained) -> None:
    """Its worker was killed behind the promotion, and comes back after somebody went back."""
    first, second = trained.rankers
    database = Database(trained.settings.graph_url)
    made = [promote(database, first, reason="job 7", once=True)]
    back = http.post(f"/v1/artifacts/{second}/promote", json={"reason": "back"}).json()
    made.append(promote(database, first, reason="job 7", once=True))
    assert made[0] == made[1]
    with database.reading() as connection:
        assert ledger.generation(connection) == back["generation"]
    eventually(
        "it stays as it was put back",
        lambda: http.get("/v1/entities/film/d1/neighbors").json()["ranker"] == second,
        seconds=5,
    )
    database.dispose()


@pytest.mark.parametrize(
    ("digest", "status"), [("0" * 64, 404), ("short", 422), ("Z" * 64, 422), ("..%2f..", 422)]
)
def test_a_digest_that_names_nothing(http, problem, digest: str, status: int) -> None:
    for answer in (
        http.get(f"/v1/artifacts/{digest}"),
        http.post(f"/v1/artifacts/{digest}/promote"),
    ):
        assert answer.status_code in (status, 404)
        problem(answer, answer.status_code)


def test_only_rankers_are_promoted(http: httpx.Client, trained, problem) -> None:
    refused = problem(http.post(f"/v1/artifacts/{trained.bundles[0]}/promote"), 422)
    assert "bundle" in refused["detail"]


def test_a_certificate_is_shown_as_it_was_sealed(http: httpx.Client, trained, problem) -> None:
    store, database = (
        ArtifactStore(trained.settings.artifacts_dir),
        Database(trained.settings.graph_url),
    )
    told = {"schema": "graphsvc.fairness/1", "groups": {"f": {"tau": 0.1}}}
    with store.draft() as folder:
        (folder / "certificate.json").write_text(json.dumps(told))
        sealed = store.seal(folder, Recipe(kind="ranker"))
    with database.transaction() as connection:
        ledger.record(connection, sealed, job_id=None, now=1)
    database.dispose()
    assert http.get(f"/v1/artifacts/{sealed.digest}/certificate").json() == told
    without = problem(http.get(f"/v1/artifacts/{trained.rankers[0]}/certificate"), 404)
    assert "certificate.json" in without["detail"]
