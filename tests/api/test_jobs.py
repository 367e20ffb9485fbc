"""Retrains and jobs over HTTP, as far as no worker is needed."""

import re
from time import time
from typing import Any, get_args
from unittest.mock import Mock

import httpx
import pytest
from running import free_port

from api.jobs.queue import JobQueue
from api.jobs.requests import ArmName, RetrainRequest
from graphsvc import progress
from graphsvc.db import Database
from ranking.config import ARMS


def test_every_arm_of_the_ladder_may_be_asked_for() -> None:
    assert get_args(ArmName) == tuple(ARMS)
    assert RetrainRequest(arms=tuple(ARMS)).arms == tuple(ARMS), "all of them at once"


def test_an_identical_request_that_waits_is_the_same_job(http: httpx.Client) -> None:
    body = {"split": "per_user_time", "seed": 7}
    first = http.post("/v1/retrains", json=body)
    assert first.status_code == 202
    job = first.json()["job"]
    assert first.json()["existing"] is False
    assert first.headers["location"] == f"/v1/jobs/{job}"
    assert http.post("/v1/retrains", json=body).json() == {"job": job, "existing": True}
    # The same with its defaults written out, and another one.
    full = {**body, "promote": True, "arms": ["none", "frozen", "attention"]}
    assert http.post("/v1/retrains", json=full).json()["job"] == job
    other = http.post("/v1/retrains", json={**body, "seed": 8}).json()["job"]
    assert other != job

    found = http.get(f"/v1/jobs/{job}").json()
    assert (found["state"], found["step"], found["error"]) == ("waiting", None, None)
    assert found["request"]["seed"] == 7


def test_one_that_chooses_its_moment_may_have_missed_what_has_just_come(
    http: httpx.Client, trained: Any
) -> None:
    body = {"seed": 9}
    job = http.post("/v1/retrains", json=body).json()["job"]
    begin(trained, job)
    fresh = http.post("/v1/retrains", json=body).json()
    assert (fresh["job"] != job, fresh["existing"]) == (True, False)
    assert http.post("/v1/retrains", json=body).json() == {"job": fresh["job"], "existing": True}
    begin(trained, fresh["job"])  # as if the first had been cancelled, or another worker had it
    third = http.post("/v1/retrains", json=body).json()
    assert third["job"] not in (job, fresh["job"])
    listed = http.get("/v1/jobs", params={"limit": 3}).json()["items"]
    assert [item["id"] for item in listed] == [third["job"], fresh["job"], job]
    # Each of them is stopped and goes on for itself.
    for one in (job, fresh["job"], third["job"]):
        assert http.post(f"/v1/jobs/{one}/cancel").json()["state"] == "cancelled"
    for one in (job, fresh["job"]):
        assert http.post(f"/v1/jobs/{one}/resume").json()["state"] == "waiting"


def begin(trained: Any, job: str) -> None:
    """As a worker tells it when it begins a job."""
    database = Database(trained.settings.graph_url)
    told = {"position": 0, "state": "running", "done": 0, "total": 0, "note": "", "detail": {}}
    with database.transaction() as connection:
        progress.write(connection, job, "moment", **told, now=1)
    database.dispose()


def test_a_retrain_without_a_body_takes_the_defaults(http: httpx.Client) -> None:
    asked = http.post("/v1/retrains")
    assert asked.status_code == 202
    request = http.get(f"/v1/jobs/{asked.json()['job']}").json()["request"]
    assert (request["split"], request["promote"]) == ("global_time", True)


@pytest.mark.parametrize("trained", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("facets", "says"),
    [
        ({"made": ["directed"]}, "facet made should be among click, actor, "),
        ({"genres": ["genre"], "made": []}, "facet made should be among"),
        ({"all": ["genre"]}, "facet all holds every relation"),
    ],
)
def test_facets_of_no_relation_are_refused_when_a_retrain_is_asked_for(
    trained: Any, serving: Any, problem: Any, facets: dict[str, list[str]], says: str
) -> None:
    own = trained.settings.model_copy(update={"facets": facets, "port": free_port()})
    ended = ask(trained.http, 1)
    trained.http.post(f"/v1/jobs/{ended}/cancel")
    jobs = trained.http.get("/v1/jobs").json()["items"]
    with serving(own) as http:
        http.headers["Authorization"] = f"Bearer {trained.key}"
        for body in ({}, {"refresh": True}):
            assert says in problem(http.post("/v1/retrains", json=body), 422)["detail"]
        assert says in problem(http.post(f"/v1/jobs/{ended}/retry"), 422)["detail"]
        assert problem(http.post("/v1/jobs/nobody/retry"), 404)
        assert http.get("/v1/jobs").json()["items"] == jobs


def ask(http: httpx.Client, seed: int) -> str:
    return http.post("/v1/retrains", json={"seed": seed}).json()["job"]


@pytest.mark.parametrize("limit", [1, 2])
def test_jobs_that_are_added_do_not_shift_the_pages(http: httpx.Client, limit: int) -> None:
    first = 100 * limit
    made = [ask(http, seed) for seed in range(first, first + 5)]
    before = [job["id"] for job in http.get("/v1/jobs", params={"limit": 100}).json()["items"]]
    assert before[:5] == made[::-1]
    seen, cursor, added = [], None, first + 5
    while True:
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        if added < first + 10:
            ask(http, added)
            added += 1
    assert seen == before


@pytest.mark.parametrize("value", ["yesterday", 1.5, -1, True, "7", 1_767_225_600_000, ["x"]])
def test_a_bad_moment_is_named_in_one_sentence(http: httpx.Client, problem, value: object) -> None:
    [error] = problem(http.post("/v1/retrains", json={"as_of": value}), 422)["errors"]
    assert error["field"] == "body.as_of"
    assert error["value"] == ('["x"]' if isinstance(value, list) else value)
    assert "seconds since 1970" in error["expected"]
    assert "digest of a snapshot" in error["expected"]
    assert ("milliseconds" in error["expected"]) == (value == 1_767_225_600_000)


def test_a_moment_that_no_job_could_use_is_refused_at_once(http, trained, problem) -> None:
    before = http.get("/v1/jobs").json()["items"]
    now = int(time())
    for value, says in (
        ("0" * 64, f"no snapshot {'0' * 64} under artifacts/"),
        (trained.bundles[0], "should be a digest of kind snapshot, it is one of kind bundle"),
        (now + 3600, "should not be in the future: it is "),
    ):
        refused = problem(http.post("/v1/retrains", json={"as_of": value}), 422)
        [error] = refused["errors"]
        assert (error["field"], error["value"]) == ("body.as_of", value)
        assert says in error["expected"]
        assert refused["detail"].startswith("body.as_of should")
        assert str(value) in refused["detail"]
    assert abs(int(re.search(r"it is (\d+) now", refused["detail"])[1]) - now) < 30
    assert http.get("/v1/jobs").json()["items"] == before
    for value in (trained.snapshot, now):
        assert http.post("/v1/retrains", json={"as_of": value}).status_code == 202


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"split": "by_chance"}, "body.split"),
        ({"shares": [0.5, 0.5, 0.5, 0.5, 0.5]}, "body.shares"),
        ({"shares": [1, 0, 0, 0, 0]}, "body.shares.0"),
        ({"arms": []}, "body.arms"),
        ({"arms": ["none", "none"]}, "body.arms"),
        ({"arms": ["magic"]}, "body.arms.0"),
        ({"ranker": {"heads": "all"}}, "body.ranker.heads"),
        ({"ranker": {"sharing": "nothing"}}, "body.ranker.sharing"),
        ({"ranker": {"experts": 65}}, "body.ranker.experts"),
        ({"ranker": {"crossing": "wide"}}, "body.ranker.crossing"),
        ({"ranker": {"layers": 0}}, "body.ranker.layers"),
        ({"ranker": {"rank_share": 1.5}}, "body.ranker.rank_share"),
        ({"ranker": {"epochs": 0}}, "body.ranker.epochs"),
        ({"ranker": {"rows": -1}}, "body.ranker.rows"),
        ({"ranker": {"negatives_kept": 0}}, "body.ranker.negatives_kept"),
        ({"ranker": {"calibration": "beta"}}, "body.ranker.calibration"),
        ({"ranker": {"depth": 3}}, "body.ranker.depth"),
        ({"ranker": {}, "refresh": True}, "body.ranker"),
        ({"carry": True, "refresh": True}, "body.carry"),
        ({"carry": True, "arms": ["attention"]}, "body.arms"),
        ({"conversions": []}, "body.conversions"),
        ({"conversion_days": 366}, "body.conversion_days"),
        ({"seed": -1}, "body.seed"),
        ({"speed": "fast"}, "body.speed"),
    ],
)
def test_a_wrong_request_names_its_field(http, problem, body: dict, field: str) -> None:
    refused = problem(http.post("/v1/retrains", json=body), 422)
    assert refused["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("body", "received"),
    [
        ({"shares": [0.5, 0.5, 0.5, 0.5, 0.5]}, "[0.5, 0.5, 0.5, 0.5, 0.5]"),
        ({"arms": ["none", "none"]}, '["none", "none"]'),
    ],
)
def test_a_list_is_echoed_as_it_was_sent(http, problem, body: dict, received: str) -> None:
    refused = problem(http.post("/v1/retrains", json=body), 422)
    assert refused["detail"].endswith(f", received {received}")


def test_a_choice_says_what_it_should_be_in_the_rankers_own_words(http, problem) -> None:
    body = {"ranker": {"heads": "all", "epochs": 4}}
    refused = problem(http.post("/v1/retrains", json=body), 422)
    says = "body.ranker.heads: should be one of ctr, cvr, ctr_cvr, received 'all'"
    assert refused["detail"] == says
    assert refused["errors"][0]["expected"] == "one of ctr, cvr, ctr_cvr"


def test_a_choice_that_would_do_nothing_is_refused(http, problem) -> None:
    body = {"ranker": {"crossing": "wukong", "rank_share": 0.5}}
    refused = problem(http.post("/v1/retrains", json=body), 422)
    expected = "absent: wukong is not made larger by a rank"
    assert refused["detail"] == f"ranker.rank_share should be {expected}, received 0.5"
    told = {"field": "body.ranker.rank_share", "value": 0.5, "expected": expected}
    assert refused["errors"] == [told]


def test_a_schema_without_conversions_has_no_rankers_of_them(http, problem) -> None:
    """The film schema has nothing that could be one; so none may be named either."""
    refused = problem(http.post("/v1/retrains", json={"ranker": {"heads": "ctr_cvr"}}), 422)
    assert refused["errors"][0]["field"] == "body.ranker.heads"
    assert "nothing in the schema counts as a conversion" in refused["detail"]
    refused = problem(http.post("/v1/retrains", json={"conversions": ["click"]}), 422)
    assert refused["detail"].endswith("(the schema has none), received 'click'")


def test_an_unknown_job_is_not_found(http: httpx.Client, problem) -> None:
    problem(http.get("/v1/jobs/none-such"), 404)


def test_a_job_that_waits_is_cancelled_and_goes_on(http: httpx.Client, problem) -> None:
    body = {"split": "per_user_time", "seed": 40}
    job = http.post("/v1/retrains", json=body).json()["job"]
    for _ in range(2):  # harmless to repeat
        cancelled = http.post(f"/v1/jobs/{job}/cancel")
        assert cancelled.status_code == 200
        assert (cancelled.json()["state"], cancelled.json()["error"]) == ("cancelled", None)
    for _ in range(2):
        resumed = http.post(f"/v1/jobs/{job}/resume")
        assert resumed.status_code == 202
        assert (resumed.json()["id"], resumed.json()["state"]) == (job, "waiting")
    # What was done to it is told, once each.
    told = http.get(f"/v1/jobs/{job}/log").json()["items"]
    assert [(one["level"], one["step"], one["message"]) for one in told] == [
        ("warning", None, "cancelled, as was asked"),
        ("info", None, "waits to go on from its first step"),
    ]
    # The job that waits again is found by its request, as before.
    assert http.post("/v1/retrains", json=body).json()["job"] == job


def test_a_job_that_is_moved_while_it_is_read_waits_to_the_eye(
    http: httpx.Client, trained: Any, monkeypatch
) -> None:
    job = ask(http, 60)
    database = Database(trained.settings.graph_url)
    jobs, read = JobQueue(trained.settings.jobs_url, database), progress.read
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "go_on", Mock())  # the mark is written and the row says cancelled
        jobs.move(jobs.status(job), version="5")
    assert http.get(f"/v1/jobs/{job}").json()["state"] == "waiting"

    def ends_meanwhile(*args: Any) -> Any:
        monkeypatch.setattr(progress, "read", read)
        jobs.go_on(jobs.status(job), version="5")
        return read(*args)

    monkeypatch.setattr(progress, "read", ends_meanwhile)
    assert jobs.get(job).state == "waiting"
    assert jobs.cancel(job).state == "cancelled"
    jobs.close()
    database.dispose()


def test_a_retry_is_a_new_job_of_the_same_request(http: httpx.Client, problem) -> None:
    job = http.post("/v1/retrains", json={"seed": 41}).json()["job"]
    refused = problem(http.post(f"/v1/jobs/{job}/retry"), 409)
    assert refused["detail"] == f"job {job} is waiting; cancel it before it is retried"
    http.post(f"/v1/jobs/{job}/cancel")
    first = http.post(f"/v1/jobs/{job}/retry")
    again = http.post(f"/v1/jobs/{job}/retry").json()
    assert first.status_code == 202
    assert first.headers["location"] == f"/v1/jobs/{again['id']}"
    assert first.json()["id"] == again["id"] != job
    assert (again["state"], again["request"]["seed"]) == ("waiting", 41)
    assert http.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"


def test_no_step_of_a_cancelled_job_runs(http: httpx.Client, trained: Any) -> None:
    job = ask(http, 42)
    begin(trained, job)
    assert http.get(f"/v1/jobs/{job}").json()["progress"][0]["state"] == "running"
    assert http.post(f"/v1/jobs/{job}/cancel").json()["progress"][0]["state"] == "cancelled"
    assert http.get(f"/v1/jobs/{job}").json()["progress"][0]["state"] == "cancelled"


def test_the_log_of_an_unknown_job_is_not_found(http: httpx.Client, problem) -> None:
    problem(http.get("/v1/jobs/none-such/log"), 404)


@pytest.mark.parametrize("verb", ["cancel", "resume", "retry"])
def test_what_is_done_to_an_unknown_job_is_not_found(http: httpx.Client, problem, verb) -> None:
    problem(http.post(f"/v1/jobs/none-such/{verb}"), 404)
