"""Bytes that wait for a client that reads slowly, or only once it has sent everything.

Takes bytes, gives them in their order; keeps few in memory, the others in a file without a name.
"""

import asyncio
from collections.abc import AsyncIterator
from tempfile import SpooledTemporaryFile

#: Kept in memory; more goes into a file.
_MEMORY_BYTES = 4 * 1024 * 1024
#: More than this does not wait: then whoever puts has to.
_MOST_BYTES = 512 * 1024 * 1024
_PIECE_BYTES = 64 * 1024


class Outbox:
    """A queue of bytes between a task that makes them and one that sends them."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._file = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115  closed by `close`
        self._most = most_bytes
        self._written = self._sent = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes, *, patience: float) -> None:
        """Add bytes. Waits while too many wait; raises `TimeoutError` after `patience` seconds.

        The patience begins anew with every piece that is sent.
        """
        async with self._changed:
            while self._written - self._sent > self._most:
                await asyncio.wait_for(self._changed.wait(), patience)
            self._file.seek(self._written)
            self._file.write(data)
            self._written += len(data)
            self._changed.notify_all()

    async def end(self) -> None:
        """Say that nothing more will be put."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Everything that is put, until the end."""
        while piece := await self._next():
            yield piece

    def close(self) -> None:
        """Give the memory or the file back."""
        self._file.close()

    async def _next(self) -> bytes:
        async with self._changed:
            while self._sent == self._written:
                if self._ended:
                    return b""
                if self._written:
                    self._written = self._sent = 0
                    self._file.seek(0)
                    self._file.truncate()
                await self._changed.wait()
            self._file.seek(self._sent)
            piece: bytes = self._file.read(min(_PIECE_BYTES, self._written - self._sent))
            self._sent += len(piece)
            self._changed.notify_all()
            return piece
