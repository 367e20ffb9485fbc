"""Whose turn it is to compute, caller by caller.

Takes work and who asks for it, lets so much of it run in threads at once; never lets one caller's
many questions stand before another's one. Used in one event loop, so it needs no lock.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

Answer = TypeVar("Answer")


class Turns:
    """So many at once; whoever waits has a turn when all others who wait have had one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._running = 0
        #: Who waits -> their questions, in order; who is first has the next turn.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        # Never waited for: as many threads as there are turns.
        self._threads = CapacityLimiter(most)

    async def take(self, who: str, work: Callable[[], Answer]) -> Answer:
        """Compute in a thread, when it is this one's turn."""
        await self._enter(who)
        try:
            return await to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._leave()

    async def _enter(self, who: str) -> None:
        if self._running < self.most:
            self._running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was this one's turn by then, and is now the next one's
            raise

    def _leave(self) -> None:
        """Give the turn to who is next; those who gave up waiting are passed over."""
        while self._waiting:
            who, queue = self._waiting.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._waiting[who] = queue  # behind all others
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1
