"""Bytes that are no UTF-8 come through a parser that takes nothing else, wherever a piece ends."""

import io
import random

import pytest

from api.reading import spelling
from api.reading.spelling import Spelt, read

SAMPLES = [
    b"plain",
    "é€𝄞 all of it is UTF-8".encode(),
    b"Jos\xe9,\xff\xfe\n\xe2\x82,\xed\xa0\x80\xf0\x9f\x92",
    # Private letters of the file itself, beside bytes that are wrong.
    "a\U0010ff41b".encode() + b"\xe9" + "\U0010ffff".encode(),
]


@pytest.mark.parametrize("raw", SAMPLES)
@pytest.mark.parametrize("piece", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_there_and_back(monkeypatch: pytest.MonkeyPatch, raw: bytes, piece: int, size: int) -> None:
    monkeypatch.setattr(spelling, "_PIECE_BYTES", piece)
    stream = Spelt(io.BytesIO(raw))
    got = b"".join(iter(lambda: stream.read(size) or b"", b""))
    found = read(got.decode())
    try:
        assert found == (raw.decode(), True)
    except UnicodeDecodeError:
        assert found == (raw.decode(errors="backslashreplace"), False)
        assert stream.any


def test_any_bytes_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    heads = bytes(range(0x80, 0x100)) + b"a\n\xf4\x8f\xbc\x80" * 9
    for _ in range(2000):
        raw = bytes(chance.choices(heads, k=chance.randrange(30)))
        monkeypatch.setattr(spelling, "_PIECE_BYTES", chance.randrange(1, 9))
        text = read(Spelt(io.BytesIO(raw)).read().decode()).text
        assert text == raw.decode(errors="backslashreplace")
