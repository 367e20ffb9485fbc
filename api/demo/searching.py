"""Where in a folder a name stands, in whatever form: plain, in columns of Parquet, or packed.

Takes a folder, gives files; never says what else is in them. What is kept packed is zlib's: answers
to requests with an Idempotency-Key, which lie in a database, or in what it has not written over.
"""

import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

#: How something begins that zlib has packed, at whichever level.
_PACKED = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
#: So much is unpacked at a time: what is damaged further on has told what came before.
_STEP = 512
_SQLITE = b"SQLite format 3\x00"


def places(folder: Path, name: str) -> Iterator[Path]:
    """The files in which a name stands."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and holds(file, name):
            yield file


def holds(file: Path, name: str) -> bool:
    """Whether a name stands in a file."""
    content, needle = file.read_bytes(), name.encode()
    if needle in content or _in_packed(content, needle):
        return True
    if file.suffix == ".parquet":  # its columns are packed by other means
        return any(name in text for text in _texts(file))
    return content.startswith(_SQLITE) and any(_in_packed(one, needle) for one in _blobs(file))


def _texts(file: Path) -> Iterator[str]:
    """All that is no number: texts, and lists and records as Python writes them."""
    table = pq.read_table(file)
    for field, column in zip(table.schema, table.columns, strict=True):
        if not pa.types.is_primitive(field.type):
            yield from map(str, column.to_pylist())


def _in_packed(content: bytes, needle: bytes) -> bool:
    """Whether it is in something packed, at whatever place that begins."""
    return any(_unpacks_to(content, at.start(), needle) for at in _PACKED.finditer(content))


def _unpacks_to(content: bytes, begin: int, needle: bytes) -> bool:
    unpacker, tail = zlib.decompressobj(), b""
    for at in range(begin, len(content), _STEP):
        try:
            tail += unpacker.decompress(content[at : at + _STEP])
        except zlib.error:  # nothing that was packed, or not all of it
            return False
        if needle in tail:
            return True
        if unpacker.eof:
            return False
        tail = tail[-len(needle) :]
    return False


def _blobs(file: Path) -> Iterator[bytes]:
    """Every value of bytes in a database: a long one lies in several places of its file."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                query = f'SELECT "{column}" FROM "{table}" WHERE typeof("{column}") = \'blob\''  # noqa: S608
                yield from (row[0] for row in database.execute(query))
