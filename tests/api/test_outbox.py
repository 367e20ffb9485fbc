"""What waits for a slow reader: in its order, bounded, and a full disk ends it cleanly."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from api import outbox
from api.bulk import Exchange
from api.errors import OutboxBroken
from api.outbox import Outbox
from api.reading.lines import Bounds, LineReader
from graphsvc.ingest import Verdict

KIB = 1024


class FullDisk(SpooledTemporaryFile[bytes]):
    """Files that find no room once they leave memory: the system says so, not this class."""

    def rollover(self) -> None:
        self._file: Any = Path("/dev/full").open("w+b")  # noqa: SIM115
        self._rolled = True
        self._file.write(b"x")


def test_in_order_whatever_the_sizes() -> None:
    async def run() -> bytes:
        box = Outbox(100 * KIB, stretch_bytes=10 * KIB)
        sent = [os.urandom(size) for size in (1, 0, 70_000, 5, 10 * KIB, 30 * KIB, 3)]

        async def fill() -> None:
            for data in sent * 3:
                await box.put(data, patience=5)
            await box.end()

        filling = asyncio.create_task(fill())
        got = b"".join([piece async for piece in box.pieces()])
        await filling
        box.close()
        assert got == b"".join(sent * 3)
        return got

    assert asyncio.run(run())


def test_what_is_sent_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who never catches up: files hold what waits, and less than a stretch besides."""
    files: list[Any] = []

    def spooled(**given: Any) -> Any:
        files.append(SpooledTemporaryFile(**given))  # noqa: SIM115  closed by the outbox
        return files[-1]

    monkeypatch.setattr(outbox, "SpooledTemporaryFile", spooled)
    monkeypatch.setattr(outbox, "_MEMORY_BYTES", KIB)
    most, stretch, part = 512 * KIB, 128 * KIB, 64 * KIB

    async def run() -> int:
        box = Outbox(most, stretch_bytes=stretch)
        pieces = box.pieces()
        largest = total = 0
        for _ in range(200):  # 12.5 MiB, two parts in for each part out until it is full
            for _ in range(2):
                if total < most:
                    await box.put(bytes(part), patience=5)
                    total += part
            total -= len(await anext(pieces))
            assert total > 0, "it never drains"
            largest = max(largest, _size(files))
        with pytest.raises(TimeoutError):  # noqa: PT012  (one of them has to wait)
            for _ in range(20):
                await box.put(bytes(part), patience=0.01)
        box.close()
        return largest

    assert asyncio.run(run()) <= most + stretch + part
    assert _size(files) == 0
    assert len(files) > 20, "the bound was not met because nothing was written"


def _size(files: list[Any]) -> int:
    return sum(os.fstat(file.fileno()).st_size for file in files if not file.closed)


def test_no_room_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "SpooledTemporaryFile", FullDisk)
    monkeypatch.setattr(outbox, "_MEMORY_BYTES", KIB)

    async def run() -> None:
        box = Outbox()
        await box.put(bytes(100), patience=5)
        with pytest.raises(OutboxBroken, match="No space left on device"):
            await box.put(bytes(2000), patience=5)
        box.close()

    asyncio.run(run())


class Requests:
    """A client that sends lines, and an intake that keeps them."""

    def __init__(self, bodies: int) -> None:
        self.left = bodies
        self.kept = 0
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        self.left -= 1
        body = b"".join(b"%d\n" % number for number in range(3000))
        return {"type": "http.request", "body": body, "more_body": self.left > 0}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(3600)  # reads nothing
        self.sent.append(message)

    def intake(self) -> Any:
        return SimpleNamespace(prepare=lambda rows: rows, append=self._append)

    def _append(self, rows: list[tuple[int, Any]]) -> list[tuple[int, Verdict]]:
        self.kept += len(rows)
        return [(number, Verdict(str(number), "accepted")) for number, _ in rows]


@pytest.mark.parametrize("bodies", [3, 50])
def test_an_answer_without_room_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bodies: int
) -> None:
    monkeypatch.setattr(outbox, "SpooledTemporaryFile", FullDisk)
    monkeypatch.setattr(outbox, "_MEMORY_BYTES", 200 * KIB)
    client = Requests(bodies)
    with caplog.at_level(logging.INFO), pytest.raises(ClientDisconnect):
        asyncio.run(_exchange(client).run(client.receive, client.send))
    assert client.kept >= 3000, "what was committed stays"
    assert client.kept <= 12_000, "and nothing is taken for which there is no answer"
    assert b"summary" not in b"".join(message.get("body", b"") for message in client.sent)
    warnings = [record for record in caplog.records if record.name == "graphsvc.bulk"]
    assert [record.levelname for record in warnings] == ["WARNING"]
    assert "No space left on device" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_client_that_left_is_no_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    client = Requests(1)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    with caplog.at_level(logging.INFO), pytest.raises(ClientDisconnect):
        asyncio.run(_exchange(client).run(client.receive, send))
    assert client.kept == 3000
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("keeps", [True, False])
def test_a_client_that_stops_reading_is_given_up(
    caplog: pytest.LogCaptureFixture, *, keeps: bool
) -> None:
    """All of it was taken, so the answer is kept for whoever asks again under the same key."""
    client = Requests(2)
    rest: list[bytes] = []

    async def unread(pieces: AsyncIterator[bytes]) -> None:
        rest.extend([piece async for piece in pieces])

    exchange = _exchange(client, patience=0.3)
    exchange.unread = unread if keeps else None
    with caplog.at_level(logging.INFO), pytest.raises(ClientDisconnect):
        asyncio.run(asyncio.wait_for(exchange.run(client.receive, client.send), 20))
    assert "nobody read its answer" in caplog.text
    assert client.kept == 6000
    assert (b'"complete":true' in b"".join(rest)) == keeps


def test_a_client_that_reads_slowly_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_PIECE_BYTES", 40 * KIB)
    client = Requests(3)
    read: list[bytes] = []

    async def send(message: Message) -> None:
        await asyncio.sleep(0.1)
        read.append(message.get("body", b""))

    asyncio.run(_exchange(client, patience=0.3).run(client.receive, send))
    assert len(read) > 10
    assert b'"complete":true' in b"".join(read)


def _exchange(client: Requests, patience: float = 5) -> Exchange:
    reader = LineReader(gzipped=False, bounds=Bounds(most_bytes=1 << 30))
    return Exchange(intake=client.intake(), reader=reader, patience=patience)
