"""Turns: so many at once, caller after caller, and none is lost."""

import asyncio
import threading

import pytest

from api.turns import Turns


async def _settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_callers_have_turns_one_after_the_other() -> None:
    """One who asks five times and one who asks once: the latter is second, not last."""
    order: list[str] = []

    async def main() -> None:
        turns, go_on = Turns(1), threading.Event()
        first = asyncio.ensure_future(turns.take("x", go_on.wait))
        await _settled()
        asked = [
            asyncio.ensure_future(turns.take(who, lambda told=f"{who}{n}": order.append(told)))
            for n, who in enumerate(("a", "a", "a", "b", "a", "c"))
        ]
        await _settled()
        assert order == []
        go_on.set()
        await asyncio.gather(first, *asked)

    asyncio.run(main())
    assert order == ["a0", "b3", "c5", "a1", "a2", "a4"]


def test_no_more_at_once_than_may_be() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    async def main() -> None:
        turns = Turns(2)
        await asyncio.gather(*(turns.take(str(n % 3), work) for n in range(12)))
        assert turns._running == 0
        assert not turns._waiting

    asyncio.run(main())
    assert most == 2


def test_who_gives_up_takes_no_turn_with_them() -> None:
    async def main() -> None:
        turns, go_on = Turns(1), threading.Event()
        first = asyncio.ensure_future(turns.take("a", go_on.wait))
        await _settled()
        waiting = [asyncio.ensure_future(turns.take("b", lambda: 7)) for _ in range(3)]
        await _settled()
        waiting[0].cancel()
        await _settled()
        go_on.set()
        await first
        # It has its turn by now, and is cancelled before it knows.
        waiting[1].cancel()
        assert await waiting[2] == 7
        assert await turns.take("c", lambda: 8) == 8
        assert turns._running == 0

    asyncio.run(main())


def test_what_fails_gives_its_turn_on() -> None:
    async def main() -> None:
        turns = Turns(1)
        with pytest.raises(ZeroDivisionError):
            await turns.take("a", lambda: 1 // 0)
        assert await turns.take("a", lambda: 1) == 1

    asyncio.run(main())
