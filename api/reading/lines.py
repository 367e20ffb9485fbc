"""Events from bytes: lines of JSON, plain or gzipped, as they come in.

Takes pieces of bytes of any size, gives chunks of numbered rows; never holds more than one chunk
and one line, however large the stream is or unpacks to. A line that is not JSON is a row that has
its verdict already, so its neighbors are none the worse.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from api.errors import StreamBroken, StreamTooLarge
from graphsvc.ingest import Verdict


class Unmade(NamedTuple):
    """A row that no event could be made of: why, and what is needed to repair it."""

    verdict: Verdict
    #: As it was read: column -> cell, or the text of a line; None where that was too long.
    row: dict[str, Any] | str | None = None
    #: Its number among the [[events]] of the mapping, from 1, and the event that it makes.
    entry: dict[str, Any] | None = None


#: Its number, and the event or what is known instead.
Row = tuple[int, Any]
Rows = list[Row]

#: Longest line, in bytes. The largest event, every character of it escaped, is shorter.
LONGEST_LINE = 256 * 1024
#: A chunk is one transaction; it ends at so many rows, or so many bytes.
CHUNK_ROWS, CHUNK_BYTES = 3000, 4 * 1024 * 1024
#: gzip unpacks to as much as a thousand times its size, so it is unpacked in pieces.
_PIECE_BYTES = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_BOM = b"\xef\xbb\xbf"
_LOST = "; line breaks may have got lost: curl -d drops them, --data-binary keeps them"
_BATCH = (
    'line: should be one event, received {"events": ...}, which is the body of POST /v1/events; '
    "here each line is one event"
)
#: How gzip begins. No line of JSON does.
_MAGIC = b"\x1f\x8b"


class Gunzip:
    """Unpacks gzip in bounded pieces; several files one after the other are one stream."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` unpacks to. Raises `StreamBroken`."""
        try:
            while True:
                if self._member.eof:
                    data = data.lstrip(b"\0")  # padding between and behind members
                    if not data:
                        return
                    self._member = zlib.decompressobj(_GZIP)
                piece = self._member.decompress(data, _PIECE_BYTES)
                if piece:
                    yield piece
                ended = self._member.eof
                data = self._member.unused_data if ended else self._member.unconsumed_tail
                # A full piece may have left something inside, even if all of the input is used.
                if not data and (ended or len(piece) < _PIECE_BYTES):
                    return
        except zlib.error as error:
            raise StreamBroken(f"the stream should be gzip: {error}") from error

    def finish(self) -> None:
        """Raise `StreamBroken` if the end is missing."""
        if not self._member.eof:
            raise StreamBroken("the stream should be gzip: its end is missing")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How much is taken of a stream, unpacked."""

    most_bytes: int | None = None
    longest_line: int = LONGEST_LINE
    chunk_rows: int = CHUNK_ROWS
    chunk_bytes: int = CHUNK_BYTES


class LineReader:
    """Cuts a stream into chunks of rows. Feed it, then finish it, and take all it gives."""

    def __init__(self, *, gzipped: bool, bounds: Bounds = Bounds()) -> None:
        self._gunzip = Gunzip() if gzipped else None
        self._bounds = bounds
        self._line = 0  # lines that ended, and with `_begun` the number of the present one
        self._begun = bytearray()
        self._skipping = False  # the present line is too long; its end is awaited
        self._taken = 0
        self._rows: Rows = []
        self._row_bytes = 0

    @property
    def waiting(self) -> bool:
        """Whether complete rows wait for their chunk to be full."""
        return bool(self._rows)

    def feed(self, data: bytes) -> Iterator[Rows]:
        """The chunks that are full. Raises `StreamBroken` or `StreamTooLarge`.

        What was complete before the error is given by `flush`.
        """
        if self._gunzip is None and self._taken < len(_MAGIC):
            self._refuse_gzip(data)
        for piece in self._gunzip.feed(data) if self._gunzip else (data,):
            self._taken += len(piece)
            most = self._bounds.most_bytes
            if most is not None and self._taken > most:
                raise StreamTooLarge(f"the stream should be at most {most} bytes, unpacked")
            *ended, rest = piece.split(b"\n")
            for line in ended:
                self._end_line(line)
                if (
                    len(self._rows) >= self._bounds.chunk_rows
                    or self._row_bytes >= self._bounds.chunk_bytes
                ):
                    yield self.flush()
            self._continue_line(rest)

    def finish(self) -> Iterator[Rows]:
        """The last chunk. Raises `StreamBroken` if the end of a gzip stream is missing."""
        if self._gunzip:
            self._gunzip.finish()
        if self._begun or self._skipping:
            self._end_line(b"")
        if self._rows:
            yield self.flush()

    def flush(self) -> Rows:
        """The rows that are complete, though their chunk is not full."""
        rows, self._rows, self._row_bytes = self._rows, [], 0
        return rows

    def _refuse_gzip(self, data: bytes) -> None:
        if (bytes(self._begun) + data).startswith(_MAGIC):
            raise StreamBroken(
                "the stream should be lines of JSON, and this one is gzip (it begins with 1f 8b): "
                "send it with the header Content-Encoding: gzip"
            )

    def _continue_line(self, part: bytes) -> None:
        if self._skipping:
            return
        if len(self._begun) + len(part) > self._bounds.longest_line:
            self._skipping = True
            self._begun.clear()
        else:
            self._begun += part

    def _end_line(self, part: bytes) -> None:
        self._continue_line(part)
        self._line += 1
        line = bytes(self._begun)
        self._begun.clear()
        if self._skipping:
            self._skipping = False
            longest = self._bounds.longest_line
            message = f"line: should be one event, of at most {longest} bytes{_LOST}"
            self._add(Unmade(Verdict(None, "rejected", "too_large", "line", message)), 0)
            return
        if self._line == 1:
            line = line.removeprefix(_BOM)
        if line.strip():
            self._add(parsed(line), len(line))

    def _add(self, value: Any, size: int) -> None:
        self._rows.append((self._line, value))
        self._row_bytes += size


def parsed(line: bytes) -> Any:
    """The JSON value of a line, or what is known of one that cannot be an event."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _loosely(line)
    if type(value) is dict and "events" in value and "event_id" not in value:
        return _no_event(line, _BATCH)
    return value


def _loosely(line: bytes) -> Any:
    # JSON can spell what no event may hold, such as half a pair or 1e999. The standard library
    # reads that, and the verdict can name the field.
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        message = f"line: should be JSON, {_said(error)}"
    except UnicodeDecodeError as error:
        message = f"line: should be JSON in UTF-8, byte {error.start + 1} is not"
    except RecursionError:
        message = "line: should be JSON that is less deep"
    except ValueError:
        message = "line: should be JSON with shorter numbers"
    return _no_event(line, message)


def _said(error: json.JSONDecodeError) -> str:
    if error.msg == "Extra data" and error.doc[error.pos : error.pos + 1] in ("{", "["):
        return f"one value, and a second one begins at column {error.colno}{_LOST}"
    if error.doc.strip() in ("{", "["):
        return "whole on its line: here each line is one event"
    return f"{error.msg} at column {error.colno}"


def _no_event(line: bytes, message: str) -> Unmade:
    text = line.decode(errors="replace").rstrip("\r")
    return Unmade(Verdict(None, "rejected", "invalid", "line", message), text)
