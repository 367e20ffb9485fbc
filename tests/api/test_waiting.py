"""Whose turn it is: nobody waits twice, and changed ones wait for all others."""

from api.waiting import Turn, Waiting
from graphsvc.tail import Entity


def entity(key: int) -> Entity:
    return Entity(key, "user", f"u{key}", False, None)


def turns(waiting: Waiting, most: int = 2) -> list[tuple[Turn, list[int]]]:
    taken = []
    while (some := waiting.take(most)) is not None:
        taken.append((some[0], [one.key for one in some[1]]))
    return taken


def test_newcomers_go_first_and_one_turn_at_a_time() -> None:
    waiting = Waiting(most_changed=9)
    for turn, key in ((Turn.CHANGED, 1), (Turn.OLDER, 2), (Turn.NEW, 3), (Turn.NEW, 4)):
        waiting.put(turn, entity(key))
    waiting.put_all(Turn.AGAIN, [entity(5)])
    assert waiting
    assert waiting.unsolved
    assert waiting.count(Turn.NEW, Turn.AGAIN) == 3
    assert turns(waiting) == [
        (Turn.NEW, [3, 4]),
        (Turn.AGAIN, [5]),
        (Turn.OLDER, [2]),
        (Turn.CHANGED, [1]),
    ]
    assert not waiting


def test_nobody_waits_twice_and_a_better_turn_holds() -> None:
    waiting = Waiting(most_changed=9)
    waiting.put(Turn.CHANGED_BEFORE, entity(1))
    waiting.put(Turn.CHANGED, entity(1))
    assert not waiting.unsolved, "it has a vector meanwhile"
    waiting.put(Turn.AGAIN, entity(1))  # it opted out
    waiting.put(Turn.CHANGED, entity(1))
    waiting.put(Turn.NEW, entity(2))
    waiting.drop(entity(2))
    assert turns(waiting) == [(Turn.AGAIN, [1])]


def test_of_changed_ones_the_last_may_wait() -> None:
    waiting = Waiting(most_changed=2)
    for key in (1, 2, 3):
        waiting.put(Turn.CHANGED, entity(key))
        waiting.put(Turn.CHANGED_BEFORE, entity(10 * key))  # walked from the newest to the oldest
    assert turns(waiting) == [(Turn.CHANGED, [2, 3]), (Turn.CHANGED_BEFORE, [10, 20])]
