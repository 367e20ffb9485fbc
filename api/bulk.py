"""One bulk request: events stream in, verdicts stream out.

Takes the two ends of an HTTP connection and an intake, gives a verdict for every line once it is
committed; never waits for the answer to be read before it reads on, since many clients read only
when they have sent everything. While a chunk is being appended in one thread, the next one is read
and checked in another.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import orjson
from anyio import to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.errors import OutboxBroken, StreamStalled
from api.intake import Intake, Prepared
from api.kept import UNFINISHED, UNREAD, Unread
from api.outbox import Outbox
from api.problems import answer_to, problem
from api.reading.lines import LineReader, Rows
from graphsvc.ingest import STATUSES

_log = logging.getLogger("graphsvc.bulk")

#: After so many seconds without a new byte, the lines that are complete are taken as they are.
IDLE_SECONDS = 0.2
#: After so many the stream is over; and so, once all of it was sent, if nothing of the answer is
#: read.
PATIENCE_SECONDS = 60.0

MEDIA_TYPE = "application/x-ndjson"

Result = TypeVar("Result")


@dataclass(kw_only=True)
class Exchange:
    """A stream of events and its answer."""

    intake: Intake
    reader: LineReader
    show: Literal["all", "errors"] = "all"
    counted: Callable[[Counter[str]], None] = lambda _counts: None
    patience: float = PATIENCE_SECONDS
    outbox: Outbox = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)
    #: Whether all of the stream was taken.
    complete: bool = False
    #: Takes what is left of the answer if nobody reads it.
    unread: Unread | None = None
    _sent: int = 0

    async def run(self, receive: Receive, send: Send) -> None:
        """Take the stream to its end, and answer. Raises `ClientDisconnect`, and nothing else.

        An answer that cannot be kept until it is read ends without a summary, as if the connection
        had broken: what was committed stays, and the client sends the rest again.
        """
        self.outbox = Outbox()
        first = await receive()  # a client may wait for this before it sends anything
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sending = asyncio.create_task(self._send(send))
        try:
            await self._take(_bodies(first, receive, self.patience))
            await self.outbox.end()
            await self._watched(sending)
        except TimeoutError:
            _log.info("a bulk stream ended: nobody read its answer")
            sending.cancel()
            await asyncio.wait({sending})
            if self.complete and self.unread:
                await self.unread(self.outbox.pieces())
            raise ClientDisconnect from None
        except OutboxBroken as error:
            _log.warning("a bulk stream was cut off: no room for its answer (%s)", error)
            raise ClientDisconnect from None
        except OSError:  # some servers say so of a client that left
            raise ClientDisconnect from None
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(sending, return_exceptions=True)
            self.outbox.close()

    async def _watched(self, sending: asyncio.Task[None]) -> None:
        """Wait for the end of the answer. Raises `TimeoutError` if none of it is read any more."""
        sent = -1
        while sent < self._sent:
            sent = self._sent
            done, _ = await asyncio.wait({sending}, timeout=self.patience)
            if done:
                return await sending
        raise TimeoutError

    async def _take(self, bodies: AsyncGenerator[bytes | None, None]) -> None:
        error: dict[str, Any] | None = None
        try:
            async with aclosing(bodies), aclosing(self._prepared(bodies)) as chunks:
                await self._append_all(chunks)
        except (ClientDisconnect, TimeoutError, OutboxBroken):
            raise
        except Exception as raised:  # noqa: BLE001  the status is sent, so errors go into the stream
            error = _described(raised)
            await self._put([{"error": error}])
        summary = {status: self.counts[status] for status in STATUSES}
        self.complete = error is None
        await self._put([{"summary": {**summary, "complete": self.complete}}])

    async def _append_all(self, chunks: AsyncGenerator[Prepared, None]) -> None:
        """Append one chunk while the next is made; every chunk whole, whatever happens."""
        pending: asyncio.Task[None] | None = None
        try:
            async for prepared in chunks:
                if pending:
                    await pending
                pending = asyncio.create_task(self._append(prepared))
        finally:
            if pending:
                await pending  # it is not cancelled, and an error of its own comes first

    async def _append(self, prepared: Prepared) -> None:
        numbered = await _in_thread(self.intake.append, prepared)
        counts = Counter[str](verdict.status for _, verdict in numbered)
        self.counts.update(counts)
        self.counted(counts)
        await self._put(
            [
                {"line": line, "event_id": verdict.event_id, "status": verdict.status}
                if verdict.code is None
                else {"line": line, **verdict._asdict()}
                for line, verdict in numbered
                if self.show == "all" or verdict.status != "accepted"
            ]
        )

    async def _prepared(
        self, bodies: AsyncGenerator[bytes | None, None]
    ) -> AsyncGenerator[Prepared, None]:
        try:
            async for data in bodies:
                if data is None:
                    chunks = iter([self.reader.flush()] if self.reader.waiting else [])
                else:
                    chunks = self.reader.feed(data)
                while prepared := await _in_thread(self._advance, chunks):
                    yield prepared
            chunks = self.reader.finish()
            while prepared := await _in_thread(self._advance, chunks):
                yield prepared
        except ClientDisconnect:
            raise
        except Exception:
            if self.reader.waiting:  # what was complete before the stream broke
                yield await _in_thread(self.intake.prepare, self.reader.flush())
            raise

    def _advance(self, chunks: Iterator[Rows]) -> Prepared | None:
        rows = next(chunks, None)
        return None if rows is None else self.intake.prepare(rows)

    async def _put(self, lines: list[dict[str, Any]]) -> None:
        data = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        await self.outbox.put(data, patience=self.patience)

    async def _send(self, send: Send) -> None:
        async for piece in self.outbox.pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            self._sent += 1
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class BulkAnswer(Response):
    """The answer to a bulk request; it reads the request while it is being sent."""

    def __init__(self, exchange: Exchange, release: Callable[[], None]) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._exchange = exchange
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._exchange.unread = scope.get(UNREAD)
        try:
            await self._exchange.run(receive, send)
        except ClientDisconnect:
            pass  # nobody is there to be told
        finally:
            scope[UNFINISHED] = not self._exchange.complete
            self._release()


async def _bodies(
    message: Message, receive: Receive, patience: float
) -> AsyncGenerator[bytes | None, None]:
    """The pieces of the body; None whenever nothing came for a moment."""
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return
        waiting = asyncio.ensure_future(receive())
        try:
            done, _ = await asyncio.wait({waiting}, timeout=IDLE_SECONDS)
            if not done:
                yield None
                done, _ = await asyncio.wait({waiting}, timeout=patience)
                if not done:
                    raise StreamStalled(f"nothing came for {patience:.0f} seconds")
            message = waiting.result()
        finally:
            waiting.cancel()


def _described(error: Exception) -> dict[str, Any]:
    try:
        answer = answer_to(error)
    except Exception:  # noqa: BLE001  it goes into the log
        _log.exception("unexpected error in a bulk stream")
        says = "Something went wrong here; the server's log says what."
        answer = problem(500, "Internal error", says)
    described: dict[str, Any] = orjson.loads(answer.body)
    return described


async def _in_thread(work: Callable[..., Result], given: Any) -> Result:
    # Not cancelled halfway: whoever is cancelled waits for the thread to end.
    return await to_thread.run_sync(work, given)
