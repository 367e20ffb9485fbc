"""Files of events: lines of JSON as they are, tables through a mapping.

Takes a path, gives chunks of numbered rows and how far it has come; never writes.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from api.errors import ApiError, FileUnreadable
from api.reading.lines import CHUNK_ROWS, LONGEST_LINE, LineReader, Rows, Unmade
from api.reading.mapped import events_of
from api.reading.mapping import Mapping, Source
from api.reading.tables import Block, format_of, read_parquet, read_text, rows_of_parquet
from graphsvc.ingest import Verdict

_PIECE_BYTES = 256 * 1024
_PLAIN = Source()
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
#: What a server takes as one body, by default; a larger file is none.
_LARGEST_BODY = 16 * 1024 * 1024


@dataclass(slots=True)
class EventFile:
    """A file that is being read. Raises `FileUnreadable`, or `MappingInvalid` for want of one."""

    path: Path
    mapping: Mapping | None = None
    #: How far it is read, of how much; bytes, or rows where the file knows their number.
    done: int = 0
    total: int = 0
    unit: str = field(init=False, default="bytes")

    def __post_init__(self) -> None:
        kind = self.kind
        if kind != "ndjson" and self.mapping is None:
            raise FileUnreadable(
                f"{self.path} is a table, so a mapping should say how rows become events: "
                "--mapping FILE"
            )
        if kind == "ndjson" and self.mapping is not None:
            raise FileUnreadable(
                f"{self.path} should be CSV, TSV or Parquet to be mapped; lines of JSON are events "
                "already, and another name can be explained under [source] format"
            )
        try:
            self.total = self.path.stat().st_size
        except OSError as error:
            raise FileUnreadable(f"{self.path} cannot be read: {error.strerror}") from error
        if kind == "ndjson":
            self._refuse_one_value()
        if kind == "parquet":
            self.total, self.unit = rows_of_parquet(self.path), "rows"

    @property
    def kind(self) -> str:
        """csv, tsv, parquet or ndjson."""
        return format_of(self.path, self.mapping.source if self.mapping else _PLAIN)

    def chunks(self) -> Generator[Rows, None, None]:
        """The rows of the file, in chunks."""
        return self._lines() if self.mapping is None else self._mapped(self.mapping)

    def _refuse_one_value(self) -> None:
        """Raise `FileUnreadable` for JSON over many lines, of which each would be rejected."""
        if not self.path.is_file() or self.total > _LARGEST_BODY:
            return
        try:
            with self.path.open("rb") as stream:
                first = stream.readline(LONGEST_LINE).removeprefix(_BOM)
                if not first.lstrip().startswith((b"{", b"[")) or _value(first) is not None:
                    return
                whole = first + stream.read()
        except OSError as error:
            raise FileUnreadable(f"{self.path} cannot be read: {error.strerror}") from error
        value = _value(whole)
        if type(value) is dict and type(value.get("events")) is list and "event_id" not in value:
            found = "a body of POST /v1/events"
            part = "'.events[]'"
        elif value is not None and b"\n" in whole.strip():
            found = "one value of JSON over many lines"
            part = "." if type(value) is dict else "'.[]'"
        else:  # lines, of which the first is wrong
            return
        raise FileUnreadable(
            f"{self.path} should hold one event per line, and it is {found}; "
            f"`jq -c {part} {self.path}` makes lines of it"
        )

    def _lines(self) -> Generator[Rows, None, None]:
        try:
            with self.path.open("rb") as stream:
                gzipped = stream.read(len(_GZIP)) == _GZIP
                stream.seek(0)
                reader = LineReader(gzipped=gzipped)
                try:
                    while piece := stream.read(_PIECE_BYTES):
                        self.done = stream.tell()
                        yield from reader.feed(piece)
                    yield from reader.finish()
                except ApiError as error:
                    if reader.waiting:
                        yield reader.flush()
                    raise FileUnreadable(f"{self.path} breaks off: {error}") from error
        except OSError as error:
            raise FileUnreadable(f"{self.path} cannot be read: {error.strerror}") from error

    def _mapped(self, mapping: Mapping) -> Generator[Rows, None, None]:
        with closing(self._blocks(mapping)) as blocks:
            for block in blocks:
                rows = _broken(block) + events_of(
                    mapping.events, block.columns, block.numbers, block.no_utf8
                )
                for first in range(0, len(rows), CHUNK_ROWS):
                    yield rows[first : first + CHUNK_ROWS]
                self.done = block.done

    def _blocks(self, mapping: Mapping) -> Generator[Block, None, None]:
        wanted = mapping.columns()
        if self.kind == "parquet":
            return read_parquet(self.path, wanted)
        return read_text(self.path, mapping.source, wanted)


def _value(text: bytes) -> Any:
    """The object or list that a text is, None where it is neither."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _broken(block: Block) -> Rows:
    return [
        (
            row.number,
            Unmade(
                Verdict(None, "rejected", "invalid", "row", f"row should have {row.expected}"),
                row.text,
            ),
        )
        for row in block.broken
    ]
