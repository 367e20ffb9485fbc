"""Buckets by hand, and what a caller is told who asks too often."""

from time import sleep

import pytest
from running import free_port

from api.errors import RateInvalid
from api.known_keys import SECONDS
from api.rates import UNKNOWN, RateConfig, Rates
from api.settings import Settings
from graphsvc.keys import SCOPES


def test_a_bucket_by_hand() -> None:
    """Two a second: ten at once, the eleventh half a second later; another key's is its own."""
    now = [100.0]
    rates = Rates(RateConfig(read=2.0, score=0.0), clock=lambda: now[0])
    assert [rates.wait("k", "read") for _ in range(10)] == [0.0] * 10
    assert rates.wait("k", "read") == pytest.approx(0.5)
    assert rates.wait("k", "read") == pytest.approx(0.5), "who is refused takes nothing"
    assert rates.wait("other", "read") == rates.wait("k", "train") == 0.0
    assert {rates.wait("k", "score") for _ in range(1000)} == {0.0}, "no limit"
    now[0] += 0.6
    assert rates.wait("k", "read") == 0.0
    assert rates.wait("k", "read") == pytest.approx(0.4)
    now[0] += 1000.0
    assert [rates.wait("k", "read") for _ in range(11)].count(0.0) == 10, "never fuller than full"


def test_processes_share_a_rate_and_the_least_bucket_has_one() -> None:
    now = [0.0]
    rates = Rates(RateConfig(train=0.5), processes=5, clock=lambda: now[0])
    assert rates.wait("k", "train") == 0.0
    assert rates.wait("k", "train") == pytest.approx(10.0)


def test_no_more_buckets_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.rates._MOST", 3)
    now = [0.0]
    rates = Rates(RateConfig(read=1.0), clock=lambda: now[0])
    for name in "abcd":
        rates.wait(name, "read")
        now[0] += 2.0
    assert {who for who, _ in rates._buckets} <= {"b", "c", "d"}
    for name in "efghij":
        rates.wait(name, "read")
    assert len(rates._buckets) <= 3


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_what_is_no_rate_is_refused(value: float) -> None:
    with pytest.raises(RateInvalid, match="score should be at least 0 and finite, received"):
        RateConfig(score=value)


def test_a_setting_names_its_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHSVC_RATES__READ", "-1")
    with pytest.raises(RateInvalid, match=r"rates\.read should be at least 0"):
        Settings()


@pytest.mark.parametrize("trained", ["sqlite"], indirect=True)
def test_who_asks_too_often_is_told_when_to_come_back(trained, serving, problem) -> None:
    slow = {"rates": RateConfig(read=0.4, unknown=0.2), "port": free_port()}
    settings = trained.settings.model_copy(update=slow)
    with serving(settings) as http:
        headers = {"X-API-Key": trained.key}
        asked = [http.get("/v1/graph", headers=headers) for _ in range(3)]
        assert [one.status_code for one in asked] == [200, 200, 429]
        told = problem(asked[2], 429)
        assert int(asked[2].headers["retry-after"]) in (2, 3)
        assert "GRAPHSVC_RATES__READ is 0.4 requests a second" in told["detail"]
        jobs = http.post("/v1/jobs/none/cancel", headers=headers)
        assert jobs.status_code == 404, "what needs another scope has a bucket of its own"
        wrong = {"X-API-Key": f"gs_{'0' * 16}_{'0' * 64}"}
        tried = [http.get("/v1/graph", headers=wrong).status_code for _ in range(3)]
        assert tried == [401, 429, 429]
        # Who was let in before is, from the same address.
        sleep(SECONDS + 0.1)
        assert http.post("/v1/jobs/none/cancel", headers=headers).status_code == 404
        assert http.get("/v1/graph", headers={"X-API-Key": "no key"}).status_code == 401
        assert http.post("/v1/jobs/none/cancel", headers=headers).status_code == 404


def test_every_scope_has_a_rate() -> None:
    assert set(RateConfig.__slots__) == {*SCOPES, UNKNOWN}
