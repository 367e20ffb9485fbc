"""Retire, restore, merge, ETags, the past and lists of entities, over HTTP."""

from threading import Thread
from time import time
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest


@pytest.fixture
def name() -> str:
    """An id that no other test uses."""
    return f"n{uuid4().hex[:8]}"


def put(http: httpx.Client, where: str, **attributes: object) -> httpx.Response:
    answer = http.put(where, json={"attributes": attributes})
    assert answer.status_code == 200, answer.text
    return answer


def test_a_film_is_retired_and_restored(http: httpx.Client, problem, name: str) -> None:
    where = f"/v1/entities/film/{name}"
    problem(http.delete(where), 404)
    put(http, where, year=1999)
    for _ in range(2):
        gone = http.delete(where)
        assert (gone.status_code, gone.json()["retired"]) == (200, True)
        assert http.delete(where).json() == gone.json(), "harmless to repeat"
        held = http.get(where).json()
        assert (held["retired"], held["attributes"]) == (True, {"year": 1999})
        assert isinstance(held["retired_time"], int)
        assert held["counters"]["retire"] == held["counters"].get("restore", 0) + 1
        back = http.post(f"{where}/restore").json()  # within the same second
        assert (back["retired"], back["retired_time"]) == (False, None)
        assert http.post(f"{where}/restore").json() == back, "harmless to repeat"
    told = [
        (one["event_name"], one["attributes"])
        for one in http.get(f"{where}/history").json()["items"]
        if one["event_name"] != "set_attributes"
    ]
    assert told == [("restore", {}), ("retire", {})] * 2
    times = [one["event_time"] for one in http.get(f"{where}/history").json()["items"]]
    seen = http.get(where, params={"as_of": times[0] - 1}).json()
    assert seen["retired"] == (seen["retired_time"] is not None)


def test_a_person_is_erased_and_not_retired(http: httpx.Client, problem, name: str) -> None:
    where = f"/v1/entities/user/{name}"
    put(http, where, age=3)
    assert "opt_in" in problem(http.post(f"{where}/restore"), 409)["detail"]
    asked = http.delete(where)
    assert asked.status_code == 202, asked.text
    again = http.delete(where)
    assert again.json()["erasure"] == asked.json()["erasure"]
    listed = http.get("/v1/erasures", params={"limit": 1}).json()["items"]
    one = http.get(f"/v1/erasures/{asked.json()['erasure']}").json()
    assert listed == [one]
    assert (one["type"], one["certificate"], one["returned_at"]) == ("user", None, None)
    assert name not in str(one)
    # No worker runs here, and nothing comes in all the same.
    refused = problem(http.put(where, json={"attributes": {"age": 4}}), 422)
    assert "should be somebody who was not erased" in refused["detail"]
    problem(http.get("/v1/erasures/999999"), 404)


def test_two_ids_of_one_film(http: httpx.Client, problem, name: str) -> None:
    one, two = f"/v1/entities/film/{name}-1", f"/v1/entities/film/{name}-2"
    put(http, one, title="first", year=1999)
    problem(http.post(f"{two}/merge", json={"into": f"{name}-1"}), 404)
    put(http, two, title="second")
    problem(http.post(f"{two}/merge", json={"into": f"{name}-3"}), 404)
    for _ in range(2):
        kept = http.post(f"{two}/merge", json={"into": f"{name}-1"})
        assert kept.status_code == 200, kept.text
        assert kept.json()["attributes"] == {"title": "second", "year": 1999}
        assert kept.json()["counters"] == {"set_attributes": 2, "merge": 1}
    old = http.get(two).json()
    assert (old["id"], old["merged_from"]) == (f"{name}-1", f"{name}-2")
    assert put(http, two, year=2000).json()["id"] == f"{name}-1"
    assert http.get(one).json()["attributes"]["year"] == 2000
    refused = problem(http.post(f"{one}/merge", json={"into": f"{name}-1"}), 422)
    assert (
        refused["detail"]
        == f"into should be another entity than the one merged, received '{name}-1'"
    )
    [error] = refused["errors"]
    assert (error["field"], error["value"]) == ("into", f"{name}-1")
    assert error["expected"] == "another entity than the one merged"
    refused = problem(http.post(f"{one}/merge", json={"into": f"{name}-2"}), 422)
    assert refused["detail"].startswith("into should be another entity than the one merged: these")
    [listed] = http.get("/v1/entities/film", params={"id": f"{name}-2"}).json()["items"]
    assert (listed["id"], listed["merged_into"]) == (f"{name}-2", f"{name}-1")


def test_nobody_overwrites_what_they_have_not_seen(http: httpx.Client, problem, name: str) -> None:
    where = f"/v1/entities/user/{name}"
    new = {"json": {"attributes": {"age": 1}}, "headers": {"If-Match": '"x"'}}
    problem(http.put(where, **new), 412)
    tag = put(http, where, age=1).headers["ETag"]
    assert http.get(where).headers["ETag"] == tag
    same = http.get(where, headers={"If-None-Match": tag})
    assert (same.status_code, same.content) == (304, b"")
    found: list[int] = []

    def change(age: int) -> None:
        body = {"attributes": {"age": age}}
        found.append(http.put(where, json=body, headers={"If-Match": tag}).status_code)

    both = [Thread(target=change, args=(age,)) for age in range(2, 8)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(found) == [200, *[412] * 5], "one of them was first"
    after = http.get(where, headers={"If-None-Match": tag})
    assert after.status_code == 200
    assert after.headers["ETag"] != tag


def test_only_if_it_is_new(http: httpx.Client, problem, name: str) -> None:
    where = f"/v1/entities/user/{name}"

    def put_unless(tag: str, age: int) -> httpx.Response:
        headers = {"If-None-Match": tag}
        return http.put(where, json={"attributes": {"age": age}}, headers=headers)

    problem(put_unless("no quotes", 0), 422)
    made = put_unless("*", 1)
    assert (made.status_code, made.json()["attributes"]) == (200, {"age": 1})
    assert "exists" in problem(put_unless("*", 2), 412)["detail"]
    problem(put_unless(made.headers["ETag"], 2), 412)
    assert put_unless('"another"', 3).json()["attributes"] == {"age": 3}


def test_the_last_put_is_what_is_read(http: httpx.Client, name: str) -> None:
    where = f"/v1/entities/user/{name}"
    ahead = {
        "event_id": f"zz-{name}",
        "event_name": "set_attributes",
        "event_time": int(time()) + 300,
        "action_source": "structure",
        "actor": {"type": "user", "id": name},
        "properties": {"age": 99},
    }
    assert http.post("/v1/events", json={"events": [ahead]}).json()["accepted"] == 1
    for age in range(20):  # all within a second or two
        assert put(http, where, age=age).json()["attributes"] == {"age": age}
    times = [one["event_time"] for one in http.get(f"{where}/history").json()["items"]]
    assert max(times) == int(ahead["event_time"]) + 1, "no drift into the future"


def test_the_past_of_a_film(http: httpx.Client, problem, name: str) -> None:
    where, start = f"/v1/entities/film/{name}", 1_700_000_000
    events = [
        {
            "event_id": f"{name}-{after}",
            "event_name": "set_attributes",
            "event_time": start + after,
            "action_source": "structure",
            "actor": {"type": "film", "id": name},
            "properties": {"title": title},
        }
        for after, title in ((10, "second"), (0, "first"), (20, None))
    ]
    assert http.post("/v1/events", json={"events": events}).json()["accepted"] == 3
    seen = [http.get(where, params={"as_of": start + after}).json() for after in (-1, 0, 19, 20)]
    assert [one["attributes"] for one in seen] == [{}, {"title": "first"}, {"title": "second"}, {}]
    assert seen[0]["counters"] is None
    pages, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = http.get(f"{where}/history", params=query).json()
        pages.append([(one["event_time"] - start, one["attributes"]) for one in page["items"]])
        cursor = page["next"]
        if cursor is None:
            break
    assert pages == [
        [(20, {"title": None}), (10, {"title": "second"})],
        [(0, {"title": "first"})],
    ]
    problem(http.get(where, params={"as_of": -1}), 422)
    problem(http.get(f"{where}/history", params={"cursor": "AAAA"}), 422)
    problem(http.get(f"/v1/entities/film/{name}x/history"), 404)


def test_ids_that_end_like_a_route_are_found_by_filter(http: httpx.Client, name: str) -> None:
    for end in ("edges", "events", "history", "neighbors", "restore"):
        odd = f"{name}/{end}"
        put(http, f"/v1/entities/film/{quote(odd, safe='')}", year=1)
        [found] = http.get("/v1/entities/film", params={"id": odd}).json()["items"]
        assert (found["id"], found["attributes"]) == (odd, {"year": 1})


def test_the_films_in_pages(http: httpx.Client, problem) -> None:
    seen, cursor = [], None
    while True:
        query = {"limit": 13} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/entities/film", params=query).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == http.get("/v1/graph").json()["entities"]["film"]
    problem(http.get("/v1/entities/planet"), 404)
    problem(http.get("/v1/entities/film", params={"limit": 0}), 422)
