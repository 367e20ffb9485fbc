"""Conversions of an export: which exposure led to one, and of which nothing is known yet."""

from pathlib import Path
from typing import Any

import pytest
from exported import ADS, DAY, NOW, SHARES, START, consent_said, hand_made_log, post, raw, seal
from slow_export import named_interactions

from graphsvc.db import Database
from graphsvc.export import Conversions, Moment, Split
from graphsvc.snapshot import Snapshot


def conversions_of(snapshot: Snapshot) -> dict[tuple[str, int], int]:
    """(ad, days) -> conversion of each exposure."""
    return {
        (tail[1], (time - START) // DAY): conversion
        for time, _, tail, event, _, _, conversion, _, _ in named_interactions(snapshot)
        if event == 0
    }


def heard_log(days: float = 40) -> list[dict[str, Any]]:
    """The same, and what somebody else does, by which the logs of both sources end."""
    end = START + round(days * DAY)
    return [*hand_made_log(), raw("save", end, "u9", "a9"), raw("page_visit", end, "u9", "p9")]


def test_conversions_by_hand(database: Database, tmp_path: Path) -> None:
    """Only clicked exposures have one: a1 of days 0 and 14 (u1), of day 22 (u2)."""
    log = heard_log()  # u1 checks p1 out on day 14, a second behind the second click on a1
    post(database, log)
    sealed = seal(database, tmp_path, Split(shares=SHARES))
    assert sealed.interaction.conversions == ("sign_up", "add_to_cart", "checkout")
    assert sealed.interaction.conversion_seconds == 7 * DAY
    assert conversions_of(sealed) == {
        ("a1", 0): 0,
        ("a1", 14): 1,
        ("a2", 20): -1,
        ("a2", 21): -1,
        ("a1", 22): 0,
        ("a2", 30): -1,
    }


@pytest.mark.parametrize(("missing", "known"), [(0, 0), (1, -1)])
def test_what_is_younger_than_its_windows_is_not_known(
    database: Database, tmp_path: Path, missing: int, known: int
) -> None:
    """The exposure of day 22 may be clicked for 30 minutes, and that count for 9 days."""
    post(database, heard_log())
    snapshot = seal(
        database,
        tmp_path,
        Split(shares=SHARES),
        conversions=Conversions(days=9),
        at=Moment(14, START + 31 * DAY + 1800 - missing),
    )
    assert conversions_of(snapshot)["a1", 22] == known


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("ends_first", ["onsite", "offsite"])
@pytest.mark.parametrize("counted", ["long_click", "checkout", "long_click checkout"])
def test_windows_close_where_the_log_of_their_source_ends(
    database: Database, tmp_path: Path, counted: str, ends_first: str, missing: int
) -> None:
    """All arrived years after. The other source goes on for a month."""
    over = START + 29 * DAY + 1800  # the window of the exposure of day 22
    end = {"onsite": over + 30 * DAY, "offsite": over + 30 * DAY, ends_first: over - missing}
    log = [*hand_made_log()[:-1], raw("impression", START + 29 * DAY, "u1", "a2")]
    log += [raw("save", end["onsite"], "u9", "a9"), raw("page_visit", end["offsite"], "u9", "p9")]
    post(database, log)
    names = tuple(counted.split())
    snapshot = seal(database, tmp_path, Split(shares=SHARES), conversions=Conversions(events=names))
    # Up to then a click, which is onsite, may take the conversion away from this one.
    waits = missing and ends_first in {"onsite", *(ADS.events[name].source for name in names)}
    assert conversions_of(snapshot)["a1", 22] == (-1 if waits else 0)


def test_nothing_is_known_of_a_source_that_has_said_nothing(
    database: Database, tmp_path: Path
) -> None:
    """Whether it never did, or an opt-out took the last of it out of the log."""
    silent = [event for event in heard_log() if event["action_source"] != "offsite"]
    post(database, silent)
    assert set(conversions_of(seal(database, tmp_path, Split(shares=SHARES))).values()) == {-1}
    post(database, [raw("page_visit", START + 40 * DAY, "u9", "p9")])
    known = conversions_of(seal(database, tmp_path, Split(shares=SHARES)))
    assert [known["a1", day] for day in (0, 14, 22)] == [0, 0, 0]
    post(database, [consent_said("opt_out", START + 41 * DAY, "u9")])
    assert set(conversions_of(seal(database, tmp_path, Split(shares=SHARES))).values()) == {-1}


def test_what_comes_later_closes_no_window_of_an_earlier_moment(
    database: Database, tmp_path: Path
) -> None:
    post(database, hand_made_log())
    before = seal(database, tmp_path, Split(shares=SHARES))
    assert conversions_of(before)["a1", 22] == -1
    post(database, heard_log()[-2:])
    assert conversions_of(seal(database, tmp_path, Split(shares=SHARES)))["a1", 22] == 0
    again = seal(database, tmp_path, Split(shares=SHARES), at=Moment(12, NOW))
    assert again.digest == before.digest


def without_consent(log: list[dict[str, Any]], *users: str) -> list[dict[str, Any]]:
    """What these users do onsite says nothing of consent, and nothing offsite is known of them."""
    return [
        event | {"consent": None if event["actor"]["id"] in users else event["consent"]}
        for event in log
        if event["actor"]["id"] not in users or event["action_source"] != "offsite"
    ]


def test_no_conversion_is_known_of_who_never_agreed(database: Database, tmp_path: Path) -> None:
    post(database, without_consent(heard_log(), "u2"))
    sealed = seal(database, tmp_path, Split(shares=SHARES))
    found = conversions_of(sealed)
    assert (found["a1", 0], found["a1", 14], found["a1", 22]) == (0, 1, -1)
    assert sealed.interaction.unseen == 1


@pytest.mark.parametrize(("later", "known"), [(0, 0), (1, -1)])
@pytest.mark.parametrize("agrees", ["an opt-in", "an onsite event", "an offsite event"])
def test_any_word_of_consent_makes_what_follows_known(
    database: Database, tmp_path: Path, agrees: str, later: int, known: int
) -> None:
    """Not what was clicked before: a purchase would have been refused."""
    time = START + 22 * DAY + later
    said = {
        "an opt-in": consent_said("opt_in", time, "u2"),
        "an onsite event": raw("save", time, "u2", "a2"),
        "an offsite event": raw("page_visit", time, "u2", "p9"),
    }
    post(database, [*without_consent(heard_log(), "u2"), said[agrees]])
    assert conversions_of(seal(database, tmp_path, Split(shares=SHARES)))["a1", 22] == known


def test_conversions_of_who_opted_out_are_unknown_up_to_the_barrier(
    database: Database, tmp_path: Path
) -> None:
    """What was bought before it is gone; what is clicked after agreeing again counts."""
    log = heard_log()
    post(database, log)
    known = seal(database, tmp_path, Split(shares=SHARES))
    seq = known.watermark["seq"]
    post(database, [consent_said("opt_out", START + 15 * DAY, "u1")])
    found = conversions_of(seal(database, tmp_path, Split(shares=SHARES)))
    assert (found["a1", 0], found["a1", 14], found["a1", 22]) == (-1, -1, 0)
    before = seal(database, tmp_path, Split(shares=SHARES), at=Moment(seq, NOW))
    assert conversions_of(before)["a1", 14] == -1, "taken out of the log, so unknown then as well"
    again = [consent_said("opt_in", START + 16 * DAY, "u1")]
    again += [raw(name, START + 30 * DAY + 1, "u1", "a2") for name in ("click", "save")]
    post(database, again)
    found = conversions_of(seal(database, tmp_path, Split(shares=SHARES)))
    assert (found["a1", 0], found["a1", 14], found["a2", 30]) == (-1, -1, 0)


def test_conversions_that_need_no_consent_are_known_of_all(
    database: Database, tmp_path: Path
) -> None:
    post(database, without_consent(heard_log(), "u1", "u2"))
    snapshot = seal(
        database, tmp_path, Split(shares=SHARES), conversions=Conversions(events=("long_click",))
    )
    assert set(conversions_of(snapshot).values()) == {0, -1}
    assert conversions_of(snapshot)["a1", 22] == 0
