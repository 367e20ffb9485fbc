"""Work beside hands over what it has, waits while enough lies ready, and ends with its reader."""

import threading
from contextlib import closing

import pytest

from api.reading.beside import Hand, handed


def test_it_waits_for_its_reader_and_ends_with_it() -> None:
    made: list[int] = []
    ended = threading.Event()

    def count(hand: Hand[int]) -> None:
        while hand(len(made)):
            made.append(len(made))
        ended.set()

    with closing(handed(count, ready=2)) as numbers:
        assert [next(numbers) for _ in range(20)] == list(range(20))
        assert not ended.wait(0.3)
        assert len(made) <= 22, "two lie ready; one more waits to"
    assert ended.is_set()


def test_what_fails_there_fails_here_once_all_is_read() -> None:
    def break_off(hand: Hand[str]) -> None:
        hand("")
        hand("b")
        raise ValueError("broken off")

    read: list[str] = []
    with pytest.raises(ValueError, match="broken off"):
        read.extend(handed(break_off, ready=1))
    assert read == ["", "b"]
