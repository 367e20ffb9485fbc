"""Bytes that wait for a client that reads slowly, or only once it has sent everything.

Takes bytes, gives them in their order; keeps few in memory, the others in files without a name,
each of which is given back as soon as it is sent. Never holds more than it was told, and a stretch.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from tempfile import SpooledTemporaryFile

from api.errors import OutboxBroken

#: Kept in memory; more goes into a file.
_MEMORY_BYTES = 4 * 1024 * 1024
#: More than this does not wait: then whoever puts has to.
_MOST_BYTES = 512 * 1024 * 1024
#: A stretch of the queue has a file of its own, so that what is sent takes no room for long.
_STRETCH_BYTES = 32 * 1024 * 1024
_PIECE_BYTES = 64 * 1024


class _Stretch:
    """Some of the bytes in their order, and how far they are sent."""

    def __init__(self) -> None:
        self.file = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115  closed by `close`
        self.written = self.sent = 0

    def write(self, data: bytes) -> None:
        self.file.seek(self.written)
        self.file.write(data)
        self.file.flush()  # a full disk is told to whoever writes, not to whoever reads next
        self.written += len(data)

    def read(self) -> bytes:
        self.file.seek(self.sent)
        piece: bytes = self.file.read(min(_PIECE_BYTES, self.written - self.sent))
        self.sent += len(piece)
        return piece

    def close(self) -> None:
        with suppress(OSError):  # it writes what a full disk has refused before
            self.file.close()


class Outbox:
    """A queue of bytes between a task that makes them and one that sends them."""

    def __init__(
        self, most_bytes: int = _MOST_BYTES, *, stretch_bytes: int = _STRETCH_BYTES
    ) -> None:
        self._stretches: deque[_Stretch] = deque()
        self._most, self._stretch = most_bytes, stretch_bytes
        self._waiting = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes, *, patience: float) -> None:
        """Add bytes. Waits while too many wait; raises `TimeoutError` after `patience` seconds.

        The patience begins anew with every piece that is sent. Raises `OutboxBroken` if there is no
        room for them; then it is of no use any more.
        """
        async with self._changed:
            while self._waiting > self._most:
                await asyncio.wait_for(self._changed.wait(), patience)
            try:
                if not self._stretches or self._stretches[-1].written >= self._stretch:
                    self._stretches.append(_Stretch())
                self._stretches[-1].write(data)
            except OSError as error:
                raise OutboxBroken(error.strerror) from error
            self._waiting += len(data)
            self._changed.notify_all()

    async def end(self) -> None:
        """Say that nothing more will be put."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Everything that is put, until the end. Raises `OutboxBroken` if it cannot be read."""
        while piece := await self._next():
            yield piece

    def close(self) -> None:
        """Give the memory and the files back."""
        while self._stretches:
            self._stretches.popleft().close()

    async def _next(self) -> bytes:
        async with self._changed:
            while not self._waiting:
                if self._ended:
                    return b""
                await self._changed.wait()
            first = self._stretches[0]
            try:
                piece = first.read()
            except OSError as error:
                raise OutboxBroken(error.strerror) from error
            if first.sent == first.written:
                self._stretches.popleft().close()
            self._waiting -= len(piece)
            self._changed.notify_all()
            return piece
