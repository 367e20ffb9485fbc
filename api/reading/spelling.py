"""Bytes that are no UTF-8 among text, for a parser that takes nothing else.

Takes a stream of bytes, gives one of UTF-8 in which a wrong byte is a private letter; and gives the
text or the wrong bytes back once it is parsed. A file that is UTF-8 passes as it is.
"""

import codecs
import io
import re
from typing import NamedTuple, Protocol

#: The last letters of Unicode's last private plane, one for each byte.
_FIRST = 0x10FF00
_PRIVATE = re.compile(f"[{chr(_FIRST)}-{chr(_FIRST + 255)}]")
#: The same letters in UTF-8. Where a file has one itself, each of its bytes is spelt out.
_OWN, _OWN_START = re.compile(rb"\xf4\x8f[\xbc-\xbf][\x80-\xbf]"), b"\xf4\x8f"
#: A letter whose end has not come yet.
_BEGUN = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")
_PIECE_BYTES = 1 << 18


def _private(wrong: bytes) -> str:
    return "".join(chr(_FIRST + byte) for byte in wrong)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error  # it would be one of encoding
    return _private(error.object[error.start : error.end]), error.end


codecs.register_error("graphsvc.spell", _spell)


class Read(NamedTuple):
    """A text, and whether it was UTF-8; else the bytes that were not spelt in hexadecimal."""

    text: str
    is_utf8: bool


def read(text: str) -> Read:
    """A text of the stream as the file has it."""
    if not _PRIVATE.search(text):
        return Read(text, is_utf8=True)
    raw = b"".join(
        letter.encode() if ord(letter) < _FIRST else bytes([ord(letter) - _FIRST])
        for letter in text
    )
    return decoded(raw)


def decoded(raw: bytes) -> Read:
    """Bytes as text."""
    try:
        return Read(raw.decode(), is_utf8=True)
    except UnicodeDecodeError:
        return Read(raw.decode(errors="backslashreplace"), is_utf8=False)


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Spelt(io.RawIOBase):
    """A stream as UTF-8."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._begun, self._ready, self._ended = b"", memoryview(b""), False
        #: Whether anything was spelt out so far.
        self.any = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, room: memoryview) -> int:  # type: ignore[override]  # wants any buffer
        """Fill all of `room`, except at the end."""
        filled = 0
        while filled < len(room):
            if not self._ready:
                if self._ended:
                    break
                self._ready = memoryview(self._piece())
                continue
            taken = self._ready[: len(room) - filled]
            room[filled : filled + len(taken)] = taken
            self._ready = self._ready[len(taken) :]
            filled += len(taken)
        return filled

    def _piece(self) -> bytes:
        data = self._source.read(_PIECE_BYTES)
        self._ended = not data
        data = self._begun + data
        begun = None if self._ended else _BEGUN.search(data, max(0, len(data) - 3))
        self._begun = begun[0] if begun else b""
        data = data[: len(data) - len(self._begun)]
        if data.isascii():
            return data
        if _OWN_START not in data:
            try:
                data.decode()
            except UnicodeDecodeError:
                pass
            else:
                return data
        self.any = True
        data = _OWN.sub(lambda own: _private(own[0]).encode(), data)
        return data.decode(errors="graphsvc.spell").encode()
