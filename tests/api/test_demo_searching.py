"""The demo finds a name in each kind of file of a data folder, and fails where it does so late."""

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.demo.client import ServiceFailed
from api.demo.forget import require
from api.demo.searching import holds, places

NAME = "forget-me@example.org"
#: What zlib makes little of, so that what is packed has a length.
NOISE = np.random.default_rng(0).bytes(40_000).hex()


def _row(folder: Path, packed: bytes) -> Path:
    """A database that has something packed."""
    file = folder / "graph.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, answer BLOB)")
        database.execute("INSERT INTO kept VALUES ('a', ?)", (packed,))
        database.commit()
    return file


def test_plain_bytes(tmp_path: Path) -> None:
    for name, inside in (("a.json", json.dumps({"id": NAME})), ("b.json", "{}")):
        (tmp_path / name).write_text(inside)
    (tmp_path / "within").mkdir()
    (tmp_path / "within" / "c.bin").write_bytes(b"\x00\xff" + NAME.encode() + b"\x00")
    found = [str(file.relative_to(tmp_path)) for file in places(tmp_path, NAME)]
    assert found == ["a.json", "within/c.bin"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["other", NAME]),
        pa.array(["other", NAME], pa.large_string()),
        pa.array(["other", NAME]).dictionary_encode(),
        pa.array([["other"], ["more", NAME], None]),
        pa.array([{"who": NAME}, None]),
        pa.array([b"other", NAME.encode()]),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_of_parquet(tmp_path: Path, column: pa.Array) -> None:
    numbers = pa.array(range(len(column)))
    file = tmp_path / "table.parquet"
    packed = {"compression": "gzip", "write_statistics": False}
    pq.write_table(pa.table({"n": numbers, "column": column}), file, **packed)
    assert NAME.encode() not in file.read_bytes()
    assert holds(file, NAME)
    assert not holds(file, "nobody@example.org")


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("before", ["", NOISE], ids=["short", "over several pages"])
def test_what_is_packed_in_a_database(tmp_path: Path, level: int, before: str) -> None:
    packed = zlib.compress(f"{before} {NAME}".encode(), level)
    file = _row(tmp_path, packed)
    assert NAME.encode() not in file.read_bytes()
    assert holds(file, NAME)
    assert not holds(file, "nobody@example.org")


def test_a_row_that_is_gone_and_not_yet_written_over(tmp_path: Path) -> None:
    file = _row(tmp_path, zlib.compress(json.dumps({"id": NAME, "more": NOISE}).encode()))
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("DELETE FROM kept")
        database.commit()
        assert holds(file, NAME)
        database.execute("VACUUM")
    assert not holds(file, NAME)


DONE = {"files_before": 9, "files_after": 0, "late": "erased", "checks": [{"ok": True}]}


@pytest.mark.parametrize(
    "left",
    [{"files_before": 0}, {"files_after": 1}, {"late": None}, {"checks": [{"ok": False}]}],
    ids=lambda left: next(iter(left)),
)
def test_a_demo_that_leaves_something_fails(left: dict[str, Any]) -> None:
    require(DONE)
    with pytest.raises(ServiceFailed):
        require(DONE | left)
