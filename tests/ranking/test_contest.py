"""Rows that neither model learned from, and slices of them, in a world of six users and four films.

At second t user t % 6 is shown film (t // 2) % 4; the candidate's TEST rows are t = 120 to 159.
"""

import numpy as np
import pytest

from graphsvc.snapshot import Span
from ranking.contest import _buckets, later_rows, slices_of
from ranking.errors import ConfigError
from ranking.examples import build_examples
from ranking.gating import GateConfig
from ranking.reliability import HISTORY

USERS, FILMS, SECONDS = 6, 4, 160
CLICK, SAVE, SEQUEL = 0, 1, 2


def events_of(cuts_of, left_out=()):
    """All that happened, cut into spans at the four moments that a user has."""
    events = []
    for t in range(SECONDS):
        user, film = t % USERS, t // 2 % FILMS
        if user in left_out:
            continue
        label, span = (user + film) % 2, sum(t >= cut for cut in cuts_of(user))
        events.append((user, film, 0, t, label, span))
        if label:
            events.append((user, film, 1, t, -1, span))
    return events


def at_once(*cuts):
    return lambda _user: cuts


@pytest.fixture
def made(world):
    """A world of these events: the snapshot and its bundle."""

    def make(events, *, users=USERS, films=FILMS, **more):
        return world(events, users=users, films=films, known_users=users, known_films=films, **more)

    return make


@pytest.fixture
def candidate(made):
    return made(
        events_of(at_once(40, 80, 100, 120)),
        attributes=[
            *((FILMS + user, "lean", f'"{"left" if user < 3 else "right"}"') for user in range(5))
        ],
        triples=[
            *((FILMS + 0, CLICK, film) for film in range(FILMS)),
            (FILMS + 0, SAVE, 0),
            (FILMS + 1, CLICK, 2),
            (0, SEQUEL, 1),
        ],
    )


@pytest.fixture
def examples(candidate):
    return build_examples(candidate.snapshot, candidate.bundle)


def seconds(examples, rows):
    return examples.rows[Span.TEST].time[rows].tolist()


def test_all_rows_are_later_than_what_the_candidate_learned_from(examples, candidate):
    rows = examples.rows[Span.TEST]
    for protocol in ("global_time", "per_user_time"):
        found = later_rows(rows, "user", protocol, [candidate.snapshot])
        assert seconds(examples, found) == list(range(120, SECONDS))


def test_rows_have_to_be_later_than_what_either_learned_from(examples, candidate, made):
    rows = examples.rows[Span.TEST]
    earlier = made(events_of(at_once(20, 60, 80, 100))).snapshot
    later = made(events_of(at_once(60, 100, 120, 140))).snapshot
    for snapshots in ([later], [earlier, later, candidate.snapshot]):
        found = later_rows(rows, "user", "global_time", snapshots)
        assert seconds(examples, found) == list(range(140, SECONDS))
    newest = made(events_of(at_once(60, 100, 130, 159))).snapshot
    assert seconds(examples, later_rows(rows, "user", "global_time", [newest])) == [159]


def test_per_user_time_asks_each_user_under_whatever_row(examples, made):
    """The other snapshot has more films, so other row numbers, and never heard of u5."""
    cuts = {0: 150, 1: 130, 2: 150, 3: 130, 4: 160}
    other = made(
        events_of(lambda user: (40, 80, 100, cuts[user]), left_out=(5,)), users=5, films=FILMS + 3
    ).snapshot
    expected = [t for t in range(120, SECONDS) if t % 6 == 5 or t >= cuts[t % 6]]
    rows = examples.rows[Span.TEST]
    assert seconds(examples, later_rows(rows, "user", "per_user_time", [other])) == expected
    # For all alike u4, whose last one is at 154, holds back everybody.
    assert seconds(examples, later_rows(rows, "user", "global_time", [other])) == list(
        range(155, SECONDS)
    )


def ids_in(examples, chosen, mask):
    return set(examples.rows[Span.TEST].heads.ids[chosen][mask].tolist())


def test_slices_by_relation_and_degree(examples, candidate):
    chosen = np.arange(40)
    found = slices_of(examples, chosen, candidate.snapshot, GateConfig())
    assert ids_in(examples, chosen, found["relation=click"]) == {"u0", "u1"}
    assert ids_in(examples, chosen, found["relation=save"]) == {"u0"}
    assert ids_in(examples, chosen, found["source=onsite"]) == {"u0", "u1"}, "by either"
    assert "relation=sequel" not in found, "structure, and not of users"
    # u0 has four clicks and a save, u1 one click.
    assert ids_in(examples, chosen, found["degree=5-19"]) == {"u0"}
    assert ids_in(examples, chosen, found["degree=1-4"]) == {"u1"}
    assert ids_in(examples, chosen, found["degree=0"]) == {"u2", "u3", "u4", "u5"}
    assert "degree=20+" not in found, "nobody is in it"


def test_slices_that_hold_all_rows_or_none_are_left_out(examples, candidate):
    """By t = 120 each film was shown 30 times, and each user has clicked 10 times."""
    rows = examples.rows[Span.TEST]
    assert (rows.tails.exposures >= 20).all()
    assert (rows.heads.outcomes >= 5).all()
    found = slices_of(examples, np.arange(40), candidate.snapshot, GateConfig())
    assert not [name for name in found if name.startswith(("shown=", "history="))]


def test_buckets_of_what_was_known_before_the_row():
    found = {n: mask.tolist() for n, mask in _buckets("history", np.array([0, 1, 4, 5]), HISTORY)}
    assert found == {
        "history=0": [True, False, False, False],
        "history=1-4": [False, True, True, False],
        "history=5+": [False, False, False, True],
    }


def test_slices_of_some_rows_only(examples, candidate):
    users = examples.rows[Span.TEST].heads.ids
    chosen = np.flatnonzero(np.isin(users, ["u0", "u2"]))
    found = slices_of(examples, chosen, candidate.snapshot, GateConfig())
    assert {mask.shape for mask in found.values()} == {chosen.shape}
    assert ids_in(examples, chosen, found["relation=click"]) == {"u0"}


def test_slices_by_group(examples, candidate):
    chosen = np.arange(40)
    found = slices_of(examples, chosen, candidate.snapshot, GateConfig(groups="lean"))
    assert ids_in(examples, chosen, found["lean=left"]) == {"u0", "u1", "u2"}
    assert ids_in(examples, chosen, found["lean=right"]) == {"u3", "u4"}
    assert ids_in(examples, chosen, found["lean=(unset)"]) == {"u5"}
    few = slices_of(examples, chosen, candidate.snapshot, GateConfig(groups="lean", most_groups=1))
    assert [name for name in few if name.startswith("lean=")] == ["lean=left"]


@pytest.mark.parametrize("name", ["age", "country"])
def test_a_group_that_is_no_category_of_heads_is_named(examples, candidate, name):
    with pytest.raises(ConfigError, match=rf"categories of user \(lean\), received '{name}'"):
        slices_of(examples, np.arange(3), candidate.snapshot, GateConfig(groups=name))
