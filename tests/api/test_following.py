"""What a server knows of the log without a retrain: new, retired, merged and opted out."""

import re
import time
from typing import Any

import httpx
import pytest
from planted import COMEDIES, click
from running import eventually

#: From an event's answer to other entities' answers; the promise is one second.
PROMISE_SECONDS = 1.0
#: More than there are, whatever other tests of this process have told the service before.
ALL = 1000


def post(http: httpx.Client, *events: dict[str, Any]) -> None:
    answer = http.post("/v1/events", json={"events": list(events)}).json()
    assert answer["accepted"] == len(events), answer


def built_in(
    name: str, actor: tuple[str, str], *, onto: tuple[str, str] | None = None, later: int = 0
) -> dict[str, Any]:
    ends = {"actor": {"type": actor[0], "id": actor[1]}}
    if onto:
        ends["object"] = {"type": onto[0], "id": onto[1]}
    return {
        "event_id": f"{name}-{actor[1]}-{time.monotonic_ns()}",
        "event_name": name,
        "event_time": int(time.time()) + later,
        "action_source": "onsite" if name.startswith("opt") else "structure",
        **ends,
    }


def clicks(film: str, users: list[str]) -> list[dict[str, Any]]:
    now = int(time.time())
    return [click(user, film, now, f"click-{user}-{film}-{time.monotonic_ns()}") for user in users]


def near(http: httpx.Client, type_: str, id_: str, **params: Any) -> dict[str, Any]:
    answer = http.get(f"/v1/entities/{type_}/{id_}/neighbors", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(found: dict[str, Any]) -> list[str]:
    return [item["id"] for item in found["items"]]


def score(http: httpx.Client, user: str, candidates: list[str], **fields: Any) -> dict[str, Any]:
    body = {"head": {"type": "user", "id": user}, "candidates": candidates, **fields}
    answer = http.post("/v1/score", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_new_film_is_found_near_others_within_a_second(http: httpx.Client) -> None:
    lovers = [f"u{n}" for n in range(2, 12, 2)]  # of drama
    post(http, *clicks("premiere", lovers))
    posted = time.monotonic()
    eventually(
        "the film is near a drama",
        lambda: "premiere" in ids(near(http, "film", "d4", k=ALL)),
        seconds=PROMISE_SECONDS,
    )
    assert time.monotonic() - posted < PROMISE_SECONDS
    (item,) = [i for i in near(http, "film", "d4", k=ALL)["items"] if i["id"] == "premiere"]
    assert (item["cold"], item["edges"]) == (True, 5)
    learned = [i for i in near(http, "film", "d4", k=ALL)["items"] if i["id"] == "d5"]
    assert (learned[0]["cold"], learned[0]["edges"]) == (False, 0)
    # Nearer to those who like drama than to those who like comedy.
    to = {
        user: next(i["distance"] for i in near(http, "user", user, k=ALL, type="film")["items"]
                   if i["id"] == "premiere")
        for user in ("u20", "u21")
    }  # fmt: skip
    assert to["u20"] < to["u21"]

    found = score(http, "u20", ["premiere", "d4", "never-named"])["scores"]
    by_id = {item["id"]: item for item in found}
    assert (by_id["premiere"]["known"], by_id["d4"]["known"]) == (False, True)
    assert (by_id["d4"]["cold"], by_id["d4"]["edges"]) == (False, 0)
    assert (by_id["never-named"]["cold"], by_id["never-named"]["edges"]) == (False, 0)
    assert (by_id["premiere"]["cold"], by_id["premiere"]["edges"]) == (True, 5)

    # Its folded vector says who will like it, as decision 9 measured.
    by_comedian = {item["id"]: item for item in score(http, "u21", ["premiere", "d4"])["scores"]}
    assert by_id["premiere"]["score"] > by_comedian["premiere"]["score"]

    # One click is taken back: one edge less.
    taken = built_in("retract", ("user", lovers[0]), onto=("film", "premiere"))
    post(http, {**taken, "relation": "click", "action_source": "onsite"})
    eventually(
        "four edges",
        lambda: (
            [i["edges"] for i in near(http, "film", "d4", k=ALL)["items"] if i["id"] == "premiere"]
            == [4]
        ),
        seconds=PROMISE_SECONDS,
    )


def test_what_is_retired_leaves_the_next_answer(http: httpx.Client, problem) -> None:
    before = ids(near(http, "film", "d6", k=ALL))
    post(http, built_in("retire", ("film", "d7")))
    try:
        assert "d7" not in ids(near(http, "film", "d6", k=ALL))
        reach = before.index("d7") + 1
        after = ids(near(http, "film", "d6", k=reach))
        assert "d7" not in after
        assert len(after) == reach, "another one takes its place"
        found = score(http, "u2", ["d7", "d8", "c1"])
        assert found["left_out"] == [{"id": "d7", "reason": "retired", "merged_into": None}]
        assert {item["id"] for item in found["scores"]} == {"d8", "c1"}
        assert score(http, "u2", ["d7"])["scores"] == []
        gone = problem(http.get("/v1/entities/film/d7/neighbors"), 410)
        assert "restore" in gone["detail"]
    finally:
        post(http, built_in("restore", ("film", "d7"), later=1))  # of one second, retire wins
    eventually(
        "it is back", lambda: "d7" in ids(near(http, "film", "d6", k=ALL)), seconds=PROMISE_SECONDS
    )


def test_a_merged_id_answers_for_the_one_that_is_kept(http: httpx.Client) -> None:
    post(http, *clicks("double", ["u1", "u3"]), *clicks("kept", ["u5", "u7", "u9"]))
    post(http, built_in("merge", ("film", "double"), onto=("film", "kept")))
    asked = near(http, "film", "double", k=5)
    assert asked["merged_into"] == "kept"
    assert asked["folded_edges"] == 5
    assert near(http, "film", "kept", k=5)["merged_into"] is None
    assert ids(asked) == ids(near(http, "film", "kept", k=5))
    found = score(http, "u1", ["double", "kept"])
    assert found["left_out"] == [{"id": "double", "reason": "merged", "merged_into": "kept"}]
    assert "double" not in ids(near(http, "film", "c1", k=ALL))
    eventually(
        "five edges",
        lambda: (
            [i["edges"] for i in near(http, "film", "c1", k=ALL)["items"] if i["id"] == "kept"]
            == [5]
        ),
        seconds=PROMISE_SECONDS,
    )


def test_an_opt_out_holds_from_the_next_answer_on(http: httpx.Client) -> None:
    before = near(http, "user", "u40", k=5, type="film")
    assert (before["state"], score(http, "u40", COMEDIES)["state"]) == ("learned", "learned")
    post(http, built_in("opt_out", ("user", "u40")))
    after = near(http, "user", "u40", k=5, type="film")
    assert (after["state"], after["folded_edges"]) == ("cold", 20)
    assert score(http, "u40", COMEDIES)["state"] == "cold"
    eventually(
        "others see the new vector only",
        lambda: [
            (i["cold"], i["edges"]) for i in near(http, "user", "u42", k=ALL)["items"]
            if i["id"] == "u40"
        ] == [(True, 20)],
        seconds=PROMISE_SECONDS,
    )  # fmt: skip
    # A later consent restores nothing that was learned.
    post(http, built_in("opt_in", ("user", "u40"), later=1))
    assert near(http, "user", "u40", k=5)["state"] == "cold"


def seen_from(http: httpx.Client, user: str, of: str) -> dict[str, Any]:
    """What the list of a user's neighbors says of another user, who has to be there once."""
    (item,) = [i for i in near(http, "user", user, k=ALL)["items"] if i["id"] == of]
    return item


def test_somebody_whose_taste_changes_is_found_where_they_are_now(http: httpx.Client) -> None:
    """u46 liked drama when the bundle was trained."""

    def comedies() -> int:
        found = ids(near(http, "user", "u46", k=ALL, type="film"))
        trained = [id_ for id_ in found if re.fullmatch(r"[cd]\d+", id_)]
        return len([id_ for id_ in trained[:20] if id_ in COMEDIES])

    before, from_comedian = near(http, "user", "u46", type="film"), seen_from(http, "u47", "u46")
    # The graph's span, and so the trained vector, holds the first of their edges alone.
    assert (before["state"], before["folded_edges"], comedies()) == ("learned", 20, 0)
    assert (from_comedian["cold"], from_comedian["edges"]) == (False, 20)
    post(http, *[event for _ in range(3) for film in COMEDIES for event in clicks(film, ["u46"])])
    posted = time.monotonic()
    eventually("their films are comedies", lambda: comedies() > 15, seconds=PROMISE_SECONDS)
    after = near(http, "user", "u46", type="film")
    assert (after["state"], after["folded_edges"]) == ("learned", 40)
    now = seen_from(http, "u47", "u46")
    assert time.monotonic() - posted < PROMISE_SECONDS
    assert (now["cold"], now["edges"]) == (False, 40)
    assert now["distance"] < from_comedian["distance"]
    assert seen_from(http, "u46", "u47")["distance"] == pytest.approx(now["distance"], abs=1e-5)
    # The ranker has learned on trained vectors of people: it hears of it by their counters.
    scored = score(http, "u46", ["d1", "c1"])
    assert (scored["state"], scored["folded_edges"]) == ("learned", 0)

    # What they see and do not click moves nothing.
    shown = {**click("u46", "d1", int(time.time()), "shown-46"), "event_name": "impression"}
    post(http, shown)
    # Their opt-out: only what they did here counts, and nothing that was learned.
    post(http, built_in("opt_out", ("user", "u46")))
    assert near(http, "user", "u46")["state"] == "cold"
    eventually(
        "others see them as cold",
        lambda: (
            [i["cold"] for i in near(http, "user", "u47", k=ALL)["items"] if i["id"] == "u46"]
            == [True]
        ),
        seconds=PROMISE_SECONDS,
    )


@pytest.mark.parametrize("name", ["graphsvc_overlay_entities", "graphsvc_overlay_lag_events"])
def test_the_overlay_is_watched(http: httpx.Client, name: str) -> None:
    (line,) = [ln for ln in http.get("/metrics").text.splitlines() if ln.startswith(name)]
    assert float(line.rpartition(" ")[2]) >= 0
