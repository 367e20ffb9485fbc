"""Requests have an id, answers have safe headers, and a line of the log names no person."""

import logging
from uuid import uuid4

import httpx
import pytest

from api.tracing import HEADER

pytestmark = pytest.mark.parametrize("trained", ["sqlite"], indirect=True)

SAFE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def test_an_id_is_given_back_or_made(http: httpx.Client) -> None:
    own = str(uuid4())
    assert http.get("/v1/graph", headers={HEADER: own}).headers[HEADER] == own
    made = [http.get("/v1/graph").headers[HEADER] for _ in range(2)]
    assert len(set(made)) == 2
    assert all(len(one) == 32 for one in made)


@pytest.mark.parametrize("given", ["u1@example.org", "short", "g" * 32, "a" * 65])
def test_what_may_be_a_name_is_not_kept(http: httpx.Client, given: str) -> None:
    assert http.get("/v1/graph", headers={HEADER: given}).headers[HEADER] != given


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/graph", 200), ("/v1/entities/user/nobody", 404), ("/health/live", 200), ("/x", 404)],
)
def test_every_answer_is_safe(http: httpx.Client, path: str, status: int) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    for name, value in SAFE.items():
        assert answer.headers.get_list(name) == [value], name
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_what_is_refused_before_any_route_has_them_as_well(http: httpx.Client) -> None:
    answer = http.get("/v1/graph", headers={"X-Long": "x" * 40_000})
    assert answer.status_code == 431
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert HEADER in answer.headers


def test_the_page_of_the_documentation_may_run_its_own_scripts_alone(trained) -> None:
    with trained.open() as plain:
        policy = plain.get("/docs").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_a_line_names_route_status_and_key_and_nobody(
    http: httpx.Client, trained, caplog: pytest.LogCaptureFixture
) -> None:
    own = uuid4().hex
    with caplog.at_level(logging.INFO, logger="graphsvc.requests"):
        http.get("/v1/entities/user/anna@example.org", headers={HEADER: own})
        http.get("/v1/graph")
    lines = [r for r in caplog.records if r.name == "graphsvc.requests"]
    line, other = lines
    assert line.fields["route"] == "/v1/entities/{type}/{id:path}"
    assert [one.fields["status"] for one in lines] == [404, 200]
    assert other.fields["route"] == "/v1/graph"
    assert line.fields["key"] == trained.key.split("_")[1]
    assert "anna" not in str(vars(line))
    assert trained.key.split("_")[2] not in str(vars(line))
