"""Answers that are to be given again: taken as they go out, packed, and replayed.

Takes the messages that an app sends, gives what is kept of them and sends that once more; never
knows why an answer is kept. A whole answer waits until it is kept. A stream goes out as it comes,
packed on the way, and only its end waits: who has seen the end can count on a replay.
"""

import json
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import Message, Send

from graphsvc.idempotency import Answer

#: A key of the ASGI scope: set by an app whose answer is not worth keeping, though its status says
#: nothing of it, as a stream's status is sent before anything has happened.
UNFINISHED = "graphsvc.unfinished"
#: A key of the ASGI scope: what takes the rest of an answer that nobody reads, to be kept all the
#: same; absent where it would not be kept.
UNREAD = "graphsvc.unread"
Unread = Callable[[AsyncIterator[bytes]], Awaitable[None]]
#: Larger answers are not kept, so the request runs again when it is repeated: a whole answer is
#: measured as it is, a stream packed.
MOST_ANSWER_BYTES = 1024 * 1024
#: Packing is for its room in the database; the lowest level does most of that.
_LEVEL = 1
#: Some answers unpack to much more than their size, so they are unpacked in pieces.
_PIECE_BYTES = 64 * 1024
#: A text in JSON, and a word of a sentence without what quotes it or ends it.
_TEXT = re.compile(rb'"((?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*)"')
_WORD = re.compile(r"""[^\s'"`,;()\[\]]+(?<![.:?!])""")
#: What was not even begun, and may be let in a moment later.
_NOT_RUN = frozenset({401, 403, 429})
#: These belong to one sending of the answer.
_NOT_KEPT = frozenset({"date", "server", "connection", "transfer-encoding"})


@dataclass(slots=True)
class Held:
    """An answer that is held back until it is kept; of one that is too large, the last piece."""

    send: Send
    start: Message | None = None
    body: bytearray = field(default_factory=bytearray)
    begun: bool = False
    ended: bool = False

    async def take(self, message: Message) -> None:
        """What the app sends."""
        if message["type"] == "http.response.start":
            self.start = message
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            self.ended = not message.get("more_body", False)
            if not self.ended and (self.begun or len(self.body) > MOST_ANSWER_BYTES):
                await self._pass_on()
        else:
            await self.send(message)

    def answer(self) -> Answer | None:
        """What is kept; None if the request may run again."""
        too_large = self.begun or len(self.body) > MOST_ANSWER_BYTES
        if too_large or self.start is None or self.start["status"] >= 500:
            return None
        if self.start["status"] in _NOT_RUN:
            return None
        packed = zlib.compress(_head_of(self.start) + self.body, _LEVEL)
        return Answer(self.start["status"], _media_type(self.start), packed)

    async def give(self) -> None:
        """Send what was held back."""
        if self.start:
            await self._pass_on()

    async def _pass_on(self) -> None:
        if self.start and not self.begun:
            await self.send(self.start)
        self.begun = True
        body, self.body = bytes(self.body), bytearray()
        await self.send({"type": "http.response.body", "body": body, "more_body": not self.ended})


class Streamed:
    """An answer that goes out as it comes, except for its end."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._end: Message | None = None
        self._whole = False
        self._packer: Any = zlib.compressobj(_LEVEL)
        self._packed = bytearray()

    async def take(self, message: Message) -> None:
        """What the app sends."""
        if message["type"] == "http.response.start":
            self._start = message
            self._pack(_head_of(message))
        elif message["type"] == "http.response.body":
            self._pack(message.get("body", b""))
            if not message.get("more_body"):
                self._end, self._whole = message, True
                return
        await self._send(message)

    async def take_unread(self, pieces: AsyncIterator[bytes]) -> None:
        """The rest of the answer, if whoever asked has stopped reading."""
        async for piece in pieces:
            self._pack(piece)
        self._whole = True

    def answer(self) -> Answer | None:
        """What is kept; None if the request may run again."""
        if self._start is None or not self._whole or self._start["status"] >= 400:
            return None
        self._packed += self._packer.flush()
        if len(self._packed) > MOST_ANSWER_BYTES:
            return None
        return Answer(self._start["status"], _media_type(self._start), bytes(self._packed))

    async def give(self) -> None:
        """Send the end."""
        if self._end:
            await self._send(self._end)

    def _pack(self, data: bytes) -> None:
        if len(self._packed) <= MOST_ANSWER_BYTES:
            self._packed += self._packer.compress(data)


async def replay(answer: Answer, send: Send) -> None:
    """Send what was kept."""
    pieces = _unpacked(answer.body)
    head = b""
    while b"\n" not in head:
        head += next(pieces)
    packed, _, body = head.partition(b"\n")
    headers = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in orjson.loads(packed)
    ]
    headers.append((b"idempotent-replayed", b"true"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def mentioned(packed: bytes, ids: Collection[str]) -> bool:
    """Whether one of some ids is in a kept answer, in whatever sentence, as JSON writes it."""
    whole = b"".join(_unpacked(packed))
    return any(
        needle in whole
        for id_ in ids
        for needle in {json.dumps(id_)[1:-1].encode(), orjson.dumps(id_)[1:-1]}
    )


def texts(packed: bytes) -> set[str]:
    """Every text of a kept answer, and every word of its sentences: what may be an id."""
    whole = b"".join(_unpacked(packed))
    found = {_read(text) for text in set(_TEXT.findall(whole))}
    return found | {word for text in found if " " in text for word in _WORD.findall(text)}


def _read(text: bytes) -> str:
    """What a text in JSON says; half of a character, which no id has, becomes a question mark."""
    plain = text.decode(errors="replace")
    if "\\" not in plain:
        return plain
    said: str = json.loads(f'"{plain}"')
    return said.encode(errors="replace").decode()


def _head_of(start: Message) -> bytes:
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in start["headers"]
        if name.decode("latin-1").lower() not in _NOT_KEPT
    ]
    return orjson.dumps(headers) + b"\n"


def _media_type(start: Message) -> str:
    kinds = [value for name, value in start["headers"] if name.lower() == b"content-type"]
    return kinds[0].decode("latin-1") if kinds else ""


def _unpacked(packed: bytes) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    while not unpacker.eof:
        piece = unpacker.decompress(packed, _PIECE_BYTES)
        packed = unpacker.unconsumed_tail
        if not (piece or unpacker.eof):
            raise ValueError("a kept answer has lost its end")
        yield piece
