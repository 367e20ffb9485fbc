"""Explanations in the trained world: whom they name, and what they read."""

from collections.abc import Iterator
from typing import Any

import pytest
from followed import FILM, opened, settle
from planted import FILMS

from api.answers import Answerer
from api.asking import ask, ask_one
from api.live import Live
from api.questions import Answered, Question
from graphsvc import paths
from graphsvc.ids import EntityId


@pytest.fixture
def live(trained) -> Iterator[Live]:
    """The trained world as it is when a test begins."""
    view = opened(trained)
    settle(view)
    yield view
    view.database.dispose()


def asked(live: Live, film: str, **named: object) -> Answered:
    question = Question(entity=EntityId("film", film), k=50, explain=True, **named)  # type: ignore[arg-type]
    return ask_one(Answerer(live.database, FILM, 200), live.trio(), question)


def anchors(answered: Answered) -> list[EntityId]:
    return [one.anchor for why in answered.explanations for one in why.anchors]


def test_an_anchor_that_is_out_of_answers_is_not_named(trained, live: Live) -> None:
    films = [f"{letter}{n}" for letter in "cd" for n in range(FILMS)]
    asks, gone = next((film, a) for film in films for a in anchors(asked(live, film)))
    assert trained.http.delete(f"/v1/entities/{gone.type}/{gone.id}").is_success
    try:
        assert gone not in anchors(asked(live, asks)), "from the next answer on"
        settle(live)
        assert gone not in anchors(asked(live, asks))
    finally:
        assert trained.http.post(f"/v1/entities/{gone.type}/{gone.id}/restore").is_success
    settle(live)
    assert gone in anchors(asked(live, asks))


def test_people_lean_on_their_edges_and_not_on_anchors(live: Live) -> None:
    """Their vectors are fold-ins, by default; films lean on anchors."""
    user = Question(entity=EntityId("user", "u0"), k=50, explain=True)
    assert not anchors(ask_one(Answerer(live.database, FILM, 200), live.trio(), user))
    rows, shares = live.trio().bundle.leaning
    films, people = (slice(*live.trio().bundle.types[name][1:]) for name in ("film", "user"))
    assert (rows[people] == -1).all()
    assert not shares[people].any()
    assert (rows[films] >= 0).any()


def test_queries_share_what_was_read_of_the_graph(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    asking = paths._asked

    def counted(schema: Any, types: Any) -> Any:
        read.extend(types)
        return asking(schema, types)

    monkeypatch.setattr(paths, "_asked", counted)
    answerer = Answerer(live.database, FILM, 200)
    films = [EntityId("film", name) for name in ("c0", "c1", "c0", "c2")]
    questions = [Question(entity=film, k=50, explain=True) for film in films]
    together = ask(answerer, live.trio(), questions)
    assert len(read) == len(set(read)), "no entity's edges twice"
    shared, read[:] = len(read), []
    alone = [ask_one(answerer, live.trio(), question) for question in questions]
    assert len(read) > 3 * shared
    for one, other in zip(together, alone, strict=True):
        assert not isinstance(one, Exception)
        assert one.explanations == other.explanations
        assert any(why.paths for why in one.explanations)
