"""A version that is not live beside the one that is: one at a time, kept up, and let go of."""

import weakref
from collections.abc import Iterator
from time import time_ns

import followed
import pytest
from running import eventually

from api.answers import Answerer
from api.errors import NoRoom, WrongState
from api.further import IDLE_SECONDS, Further, Version, choices
from api.jobs.promotion import promote
from api.live import Live
from graphsvc import erasures, ledger
from graphsvc.artifact import ArtifactStore
from graphsvc.errors import ArtifactDamaged, ArtifactMissing
from graphsvc.ids import EntityId

FILMS = ["d0", "d1", "d2", "c0", "c1", "c2"]


@pytest.fixture
def view(trained) -> Iterator[Live]:
    """A server's view of its own: a test may promote."""
    made = followed.opened(trained)
    yield made
    made.database.dispose()


@pytest.fixture
def former(trained) -> Version:
    return Version(trained.rankers[0], trained.bundles[0])


def _scores(view: Live, trio, user: str) -> dict[str, float]:
    answerer = Answerer(view.database, followed.FILM, 200)
    said = answerer.score(trio, EntityId("user", user), FILMS)
    return {item.id: item.score for item in said.items}


def test_versions_that_can_be_opened_are_listed_and_the_live_one_is_not(
    trained, view: Live, former: Version, tmp_path
) -> None:
    listed = choices(view.database, view.store, most=20)
    assert former in [one.version for one in listed]
    assert Version(trained.rankers[1], trained.bundles[1]) not in [one.version for one in listed]
    assert [one.at for one in listed] == sorted((one.at for one in listed), reverse=True)
    assert choices(view.database, ArtifactStore(tmp_path), most=20) == [], "no bytes lie there"


def test_it_says_what_it_says_when_it_is_live(trained, view: Live, former: Version) -> None:
    further = Further(view)
    trio = further.trio(former)
    assert trio.versions == {
        "bundle": trained.bundles[0],
        "index": trained.indexes[0],
        "ranker": trained.rankers[0],
    }
    assert view.trio().ranker.digest == trained.rankers[1], "what is live stays"
    beside = _scores(view, trio, "u3")
    assert beside != _scores(view, view.trio(), "u3")
    asked = {"head": {"type": "user", "id": "u3"}, "candidates": FILMS}
    try:
        promote(view.database, former.ranker, reason="to compare")
        eventually(
            "the server has it",
            lambda: trained.http.post("/v1/score", json=asked).json()["ranker"] == former.ranker,
            seconds=10,
        )
        said = trained.http.post("/v1/score", json=asked).json()["scores"]
        assert {one["id"]: one["score"] for one in said} == pytest.approx(beside, abs=1e-6)
        view.refresh()
        assert further.version == former
        assert not further.look(), "with a promotion it goes"
        assert further.version is None
    finally:
        promote(view.database, trained.rankers[1], reason="as before")


def test_it_has_heard_what_the_log_has_said_since(trained, view: Live, former: Version) -> None:
    further = Further(view)
    newcomer = EntityId("film", "x-further")
    assert further.trio(former).overlay.get(newcomer) is None
    followed.post(trained, "x-further", range(0, 20, 2))
    eventually(
        "it is folded in",
        lambda: further.trio(former).overlay.get(newcomer) is not None,
        seconds=5,
    )


def test_there_is_one_at_most(trained, view: Live, former: Version) -> None:
    further = Further(view)
    first = weakref.ref(further.trio(former).bundle)
    assert further.trio(former).bundle is first(), "it is kept"
    other = Version(trained.rankers[1], trained.bundles[1])
    assert further.trio(other).ranker.digest == other.ranker
    assert further.version == other
    assert first() is None, "nothing of the former one stays"
    further.stop()
    assert further.version is None


def test_nobody_asks_for_it_any_more(view: Live, former: Version) -> None:
    now = [0.0]
    further = Further(view, clock=lambda: now[0])
    assert not further.look(), "there is none"
    further.trio(former)
    now[0] = IDLE_SECONDS
    assert further.look()
    further.trio(former)
    now[0] += IDLE_SECONDS
    assert further.look(), "whoever asks keeps it"
    now[0] += 1
    assert not further.look()
    assert further.version is None


def test_an_erasure_ends_it(trained, view: Live, former: Version) -> None:
    further = Further(view)
    further.trio(former)
    with view.database.transaction() as connection:
        gone = EntityId("user", f"gone-{time_ns()}")
        number = erasures.ask(connection, gone, now=1).number
        erasures.took_out(connection, number, {})
    assert view.refresh(), "what is live remembers nothing of before either"
    assert not further.look()
    assert further.version is None


def test_it_goes_by_itself(view: Live, former: Version, monkeypatch) -> None:
    monkeypatch.setattr("api.further._LOOK_SECONDS", 0.02)
    now = [0.0]
    further = Further(view, clock=lambda: now[0])
    further.trio(former)
    now[0] = IDLE_SECONDS + 1
    eventually("it goes", lambda: further.version is None, seconds=5)
    further.trio(former)
    assert further.version == former
    now[0] = 2 * IDLE_SECONDS + 2
    eventually("so does the next one", lambda: further.version is None, seconds=5)


def test_without_room_it_is_refused_before_anything_is_read(view: Live, former: Version) -> None:
    further = Further(view, free=lambda: 100 << 20)
    with pytest.raises(NoRoom, match="and 100 MiB are free, of which half are left alone"):
        further.trio(former)
    assert further.version is None
    Further(view, free=lambda: 1 << 30).trio(former)


def test_what_cannot_be_opened_says_why(trained, view: Live, former: Version, tmp_path) -> None:
    with pytest.raises(ArtifactMissing, match="the ledger holds no artifact"):
        Further(view).trio(Version("0" * 64, former.bundle))
    weights = view.store.path("ranker", former.ranker) / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    further = Further(view)
    try:
        with pytest.raises(ArtifactDamaged, match=former.ranker[:8]):
            further.trio(former)
    finally:
        weights.write_bytes(whole)
    assert (further.version, further.doing) == (None, "")
    assert further.trio(former).ranker.digest == former.ranker, "and it is tried again"


def test_what_is_being_opened_is_told(trained, view: Live, former: Version) -> None:
    told: list[str] = []
    further = Further(view, free=lambda: told.append(further.doing) or 1 << 40)
    further.trio(former)
    assert (told, further.doing) == (["the ledger"], "")
    told.clear()
    parts = (trained.bundles[0], trained.indexes[0], trained.rankers[0])
    view.beside(ledger.Live(0, *parts), None, told.append)
    assert told == ["the bundle", "the index", "the ranker", "what the log has said since"]


def test_two_at_once_do_not_both_load(view: Live, former: Version, monkeypatch) -> None:
    monkeypatch.setattr("api.further._PATIENCE_SECONDS", 0.05)
    further = Further(view)
    with further._alone(), pytest.raises(WrongState, match="loaded for somebody else"):
        further.trio(former)
    assert further.trio(former)
