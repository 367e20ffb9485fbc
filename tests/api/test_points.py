"""The points of the map over HTTP, as the page's script asks for them, and the colors they have."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from loops import silent
from planted import FILMS, USERS
from running import SMALL, Service, eventually, free_port

from api.columns import Column, Values
from api.jobs.map import draw_map
from api.jobs.steps import open_workshop
from api.live import Live
from api.ui.coloring import HIDDEN, MOST_VALUES, STEPS, by_attribute, by_type, hidden
from api.ui.sessions import Sessions
from graphsvc.ids import EntityId
from kge.bundle import open_bundle
from kge.map import open_map


@pytest.fixture(scope="module")
def paged(trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with the page, as people start it, over the trained world."""
    port = free_port()
    environment = {
        **os.environ,
        **SMALL,
        "GRAPHSVC_DATA_DIR": str(trained.settings.data_dir),
        "GRAPHSVC_DATABASE_URL": trained.settings.database_url,
        "GRAPHSVC_PORT": str(port),
    }
    folder: Path = tmp_path_factory.mktemp("paged")
    running = Service(folder, environment, trained.key, port)
    running.start("serve")
    running.wait_ready()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def map_digest(trained, paged: Service) -> str:
    """The map of the live bundle, made after somebody has asked for it in vain."""
    with _signed_in(paged) as browser:
        assert "the live bundle has no map yet" in browser.get("/ui/map").text
        assert browser.get(f"/ui/map/points/{'0' * 64}").status_code == 404
    shop = open_workshop(trained.settings)
    digest = draw_map(shop, trained.bundles[-1], silent)
    shop.database.dispose()
    return digest


@pytest.fixture
def browser(paged: Service, map_digest: str) -> Iterator[httpx.Client]:
    with _signed_in(paged) as client:
        yield client


def _signed_in(paged: Service, key: str = "") -> httpx.Client:
    address = f"http://127.0.0.1:{paged.port}"
    form = {"key": key or paged.key}
    signed = httpx.post(f"{address}/ui/login", data=form, timeout=30)
    return httpx.Client(base_url=address, cookies=signed.cookies, timeout=30)


def _colors(browser: httpx.Client, digest: str, by: str = "") -> tuple[dict, np.ndarray]:
    """What the answer says of codes, and the codes."""
    answer = browser.get(f"/ui/map/colors/{digest}", params={"by": by})
    assert answer.status_code == 200, answer.text
    length = int.from_bytes(answer.content[:4], "little")
    head = json.loads(answer.content[4 : 4 + length])
    return head, np.frombuffer(answer.content[4 + length :], np.uint8)


def test_nobody_has_them_without_a_session(paged: Service, map_digest: str) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{paged.port}") as stranger:
        for path in ("points", "colors"):
            answer = stranger.get(f"/ui/map/{path}/{map_digest}")
            assert (answer.status_code, answer.headers["location"]) == (303, "/ui/login")
            own = {"Authorization": f"Bearer {paged.key}"}
            answer = stranger.get(f"/ui/map/{path}/{map_digest}", headers=own)
            assert answer.status_code == 303, "a key opens no page"


def test_whose_key_is_revoked_has_them_no_more(paged: Service, map_digest: str) -> None:
    with paged.client() as http:
        made = http.post("/v1/keys", json={"scopes": ["read"]}).json()
        with _signed_in(paged, made["key"]) as browser:
            assert browser.get(f"/ui/map/points/{map_digest}").status_code == 200
            http.delete(f"/v1/keys/{made['id']}")
            refused = browser.get(f"/ui/map/points/{map_digest}")
            assert refused.status_code == 401
            assert "was revoked" in refused.json()["detail"]


def test_points_are_the_maps_in_16_bits(trained, shop, browser, map_digest: str) -> None:
    sealed = open_map(shop.store, map_digest, open_bundle(shop.store, trained.bundles[-1]))
    body = browser.get(f"/ui/map/points/{map_digest}").content
    places = np.frombuffer(body, "<u2").reshape(2, -1).T
    np.testing.assert_allclose(places / 65_535 * 2 - 1, sealed.points, atol=2 / 65_535)


def test_another_map_than_the_live_one_is_refused(browser, problem) -> None:
    for path in ("points", "colors"):
        refused = problem(browser.get(f"/ui/map/{path}/{'1' * 64}"), 409)
        assert "another bundle is live by now; load the page again" in refused["detail"]


def test_types_have_colors_and_counts(browser: httpx.Client, map_digest: str) -> None:
    head, codes = _colors(browser, map_digest)
    counts = {entry["label"]: entry["count"] for entry in head["legend"]}
    assert (counts["film"], counts["user"]) == (2 * FILMS, USERS)
    for entry in head["legend"]:
        assert np.count_nonzero(codes == entry["codes"][0]) == entry["count"]
    assert len({head["colors"][entry["codes"][0]][0] for entry in head["legend"]}) == len(counts)


def test_years_are_a_ramp(browser, trained, shop, map_digest: str) -> None:
    head, codes = _colors(browser, map_digest, "film.year")
    ramp, others = head["legend"]
    assert (ramp["label"], ramp["count"]) == ("1980 to 1999", 2 * FILMS)
    assert (others["label"], others["codes"]) == ("other types", [STEPS + 1])
    bundle = open_bundle(shop.store, trained.bundles[-1])
    rows = bundle.rows("film", [f"d{n}" for n in range(FILMS)])
    assert (np.diff(codes[rows].astype(int)) >= 0).all(), "the later the farther up"
    assert (codes[rows[0]], codes[rows[-1]]) == (0, STEPS - 1)


def test_what_nobody_has_and_what_there_is_not_are_told_apart(browser, map_digest: str) -> None:
    head, _ = _colors(browser, map_digest, "user.gender")
    assert [entry["label"] for entry in head["legend"]] == ["no value", "other types"]
    assert head["legend"][0]["count"] == USERS
    by_types, _ = _colors(browser, map_digest)
    for unknown in ("film.nothing", "nobody", "film.title"):
        assert _colors(browser, map_digest, unknown)[0] == by_types


def test_who_is_retired_is_not_drawn(browser, trained, shop, map_digest: str, http) -> None:
    row = int(open_bundle(shop.store, trained.bundles[-1]).rows("film", ["c7"])[0])
    assert _colors(browser, map_digest)[1][row] != HIDDEN
    assert http.delete("/v1/entities/film/c7").status_code == 200

    def gone() -> bool:
        return all(_colors(browser, map_digest, by)[1][row] == HIDDEN for by in ("", "film.year"))

    eventually("the point is gone", gone, seconds=10)
    head, codes = _colors(browser, map_digest)
    films = next(entry for entry in head["legend"] if entry["label"] == "film")
    assert films["count"] == 2 * FILMS - 1
    assert np.count_nonzero(codes == HIDDEN) == 1
    assert http.post("/v1/entities/film/c7/restore").status_code == 200
    eventually("and back", lambda: not gone(), seconds=10)


def test_the_most_frequent_values_have_colors_of_their_own(live: Live) -> None:
    trio = live.trio()
    films = trio.bundle.types["film"]
    count = films.stop - films.start
    values = Values()
    # Film n has value v of as many as there are: v0 once, v1 twice, ...
    names = [f"v{n}" for n in range(MOST_VALUES + 3) for _ in range(n + 1)][-count:]
    codes = [values.code(json.dumps([name, "never"])) for name in names]
    column = Column(
        "film", "genres", np.array(codes, np.int32), others={}, values=values, seq=0, loaded=0
    )
    made = by_attribute(trio, column, "list")
    labels = [entry.label for entry in made.legend]
    assert labels[:2] == [f"v{MOST_VALUES + 2}", f"v{MOST_VALUES + 1}"]
    assert labels[-2:] == ["other values", "other types"] or len(set(names)) <= MOST_VALUES
    total = sum(entry.count for entry in made.legend)
    assert total == np.count_nonzero(~hidden(trio))
    assert len(made.colors) <= MOST_VALUES + 2
    for entry in made.legend:
        assert np.count_nonzero(np.isin(made.codes, entry.codes)) == entry.count


def test_colors_leave_out_whom_the_index_left_out(live: Live) -> None:
    trio = live.trio()
    assert not hidden(trio).any()
    trio.index.__dict__["left_out"] = np.array([3, 5], np.int32)
    try:
        assert np.flatnonzero(hidden(trio)).tolist() == [3, 5]
        made = by_type(trio)
        assert np.flatnonzero(made.codes == HIDDEN).tolist() == [3, 5]
        assert sum(entry.count for entry in made.legend) == len(trio.bundle.ids) - 2
    finally:
        del trio.index.__dict__["left_out"]


def test_an_entity_is_handed_over_once_and_to_nobody_else() -> None:
    sessions = Sessions()
    own, other = (sessions.find(sessions.begin("k")) for _ in range(2))
    assert own
    assert other
    entity = EntityId("user", "person-1")
    sessions.hand(own, entity)
    assert "person-1" not in repr(sessions)
    assert sessions.handed(other) is None
    assert sessions.handed(own) == entity
    assert sessions.handed(own) is None
    sessions.hand("no session", entity)
    assert sessions.handed("no session") is None
