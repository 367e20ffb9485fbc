"""Rows with too few or too many cells: any number of them, a few at a time."""

import random
from contextlib import closing
from pathlib import Path
from threading import active_count
from typing import Any

import pytest

from api.reading import tables
from api.reading.mapping import Source
from api.reading.tables import LONGEST_TEXT, read_text


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows wait, whenever one more does."""
    found: list[int] = []
    real = tables._Skipped.skip

    def skip(self: Any, row: Any) -> str:
        found.append(len(self._rows))
        assert len(self._runs) <= 2, "their numbers are kept by the run"
        return real(self, row)

    monkeypatch.setattr(tables._Skipped, "skip", skip)
    return found


def test_no_more_than_a_block_of_them_waits(tmp_path: Path, held: list[int]) -> None:
    file = tmp_path / "t.csv"
    n = 300_000
    file.write_text("a,b\nx,1\n" + "wrong,1,2\n" * n + "y,2\nlast\n")
    assert file.stat().st_size > 2 * tables._BLOCK_BYTES
    good: list[tuple[int, str]] = []
    numbers: list[int] = []
    largest = 0
    for block in read_text(file, Source(), ["a"]):
        good.extend(zip(block.numbers, block.columns["a"], strict=True))
        numbers.extend(row.number for row in block.broken)
        largest = max(largest, len(block.broken))
    assert good == [(2, "x"), (n + 3, "y")]
    assert numbers == [*range(3, n + 3), n + 4]
    assert max(held) < largest == tables._BLOCK_ROWS


def test_a_long_one_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b"a,b\nx,1\n" + b"\xe9" + b"z" * 10_000 + b"\ny,2\n")
    [row] = [row for block in read_text(file, Source(), ["a"]) for row in block.broken]
    assert row.text == "\\xe9" + "z" * (LONGEST_TEXT - 1) + "..."


def test_who_stops_reading_stops_the_parser(tmp_path: Path, held: list[int]) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b\n" + "wrong,1,2\n" * 300_000)
    before = active_count()
    with closing(read_text(file, Source(), ["a"])) as blocks:
        assert len(next(blocks).broken) == tables._BLOCK_ROWS
    assert active_count() == before
    assert len(held) < 300_000


@pytest.mark.parametrize("seed", range(6))
def test_each_row_has_its_number_whatever_is_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(tables, "_BLOCK_BYTES", chance.choice([64, 300, 1000]))
    monkeypatch.setattr(tables, "_BLOCK_ROWS", chance.choice([1, 7, 100]))
    lines = ["a,b"]
    while len(lines) < 2000:
        good = chance.random() < 0.5
        for _ in range(chance.choice([1, 2, 60])):
            lines.append(f"{len(lines) + 1},x" if good else f"{len(lines) + 1}")
    file = tmp_path / "t.csv"
    file.write_text("\n".join(lines))
    found: list[tuple[int, str]] = []
    for block in read_text(file, Source(), ["a"]):
        found.extend((row.number, row.text) for row in block.broken)
        found.extend(zip(block.numbers, block.columns["a"], strict=True))
    assert sorted(found) == [(n, str(n)) for n in range(2, len(lines) + 1)]
