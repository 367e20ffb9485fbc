"""Tables in files: CSV, TSV and Parquet, read block by block.

Takes a path, gives the columns that were asked for and the numbers of their rows; never holds more
than a block. Text files may be gzipped. Every cell of a text file is text, so that an id such as
007 stays what it is.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from api.errors import FileUnreadable
from api.reading.mapping import Source

_BLOCK_BYTES = 1 << 20
_BLOCK_ROWS = 3000


class Broken(NamedTuple):
    """A row with too few or too many cells."""

    number: int
    expected: str
    text: str


class Block(NamedTuple):
    """Some rows, and those in front of or among them that no row could be made of."""

    columns: dict[str, list[Any]]
    numbers: list[int]
    broken: list[Broken]
    done: int


def format_of(file: Path, source: Source) -> str:
    """csv, tsv, parquet or ndjson, by the mapping or by the file's name."""
    if source.format:
        return source.format
    name = file.name.lower().removesuffix(".gz")
    for ending, kind in (
        (".csv", "csv"),
        (".tsv", "tsv"),
        (".tab", "tsv"),
        (".parquet", "parquet"),
        (".pq", "parquet"),
    ):
        if name.endswith(ending):
            return kind
    return "ndjson"


def read_parquet(file: Path, wanted: Sequence[str]) -> Iterator[Block]:
    """Rows are numbered from 1; `done` counts rows. Raises `FileUnreadable`."""
    try:
        with pq.ParquetFile(file) as table:
            _check(file, wanted, table.schema_arrow.names)
            done = 0
            for batch in table.iter_batches(batch_size=_BLOCK_ROWS, columns=list(wanted)):
                columns = {name: _listed(batch.column(name)) for name in wanted}
                numbers = list(range(done + 1, done + batch.num_rows + 1))
                done += batch.num_rows
                yield Block(columns, numbers, [], done)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def rows_of_parquet(file: Path) -> int:
    """How many rows it has. Raises `FileUnreadable`."""
    try:
        return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def read_text(file: Path, source: Source, wanted: Sequence[str]) -> Iterator[Block]:
    """Rows are numbered as in an editor that counts a header as row 1; `done` counts bytes.

    Raises `FileUnreadable`. A row with too few or too many cells is `broken`.
    """
    broken: list[Broken] = []

    def skip(row: Any) -> str:
        expected = f"{row.expected_columns} cells, received {row.actual_columns}"
        broken.append(Broken(row.number, expected, row.text))
        return "skip"

    tabs = format_of(file, source) == "tsv"
    quoted = not tabs if source.quoted is None else source.quoted
    names = source.columns
    parse = pa_csv.ParseOptions(
        delimiter=source.delimiter or ("\t" if tabs else ","),
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
        invalid_row_handler=skip,
    )
    convert = pa_csv.ConvertOptions(
        # Bytes: one that is no UTF-8 must not take its whole block along.
        column_types=dict.fromkeys(wanted, pa.binary()),
        include_columns=list(wanted),
        include_missing_columns=True,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    try:
        with file.open("rb") as raw, pa.input_stream(raw, compression=_packing(file)) as stream:
            _check(file, wanted, names or _header(file, parse))
            read = pa_csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, column_names=names
            )
            number = 0 if names else 1
            reader = pa_csv.open_csv(stream, read, parse, convert)
            for batch in reader:
                skipped = {row.number for row in broken}
                numbers: list[int] = []
                while len(numbers) < batch.num_rows:
                    number += 1
                    if number not in skipped:
                        numbers.append(number)
                columns = {name: _decoded(batch.column(name)) for name in wanted}
                yield Block(columns, numbers, list(broken), raw.tell())
                broken.clear()
                number = max([number, *skipped])
            if broken:
                yield Block({name: [] for name in wanted}, [], list(broken), raw.tell())
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _header(file: Path, parse: pa_csv.ParseOptions) -> list[str]:
    """The names in the first line."""
    with pa.input_stream(str(file), compression=_packing(file)) as stream:
        first = stream.read(_BLOCK_BYTES).decode("utf-8-sig", "replace").lstrip("\r\n")
    quote = str(parse.quote_char) if parse.quote_char else None
    lines = csv.reader(
        first.splitlines(),
        delimiter=parse.delimiter,
        quotechar=quote,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    return next(lines, [])


def _packing(file: Path) -> str | None:
    return "gzip" if file.name.lower().endswith(".gz") else None


def _check(file: Path, wanted: Sequence[str], there: Sequence[str]) -> None:
    for name in wanted:
        if name not in there:
            listed = ", ".join(there[:40])
            raise FileUnreadable(f"{file} has no column {name!r}; it has {listed}")


def _listed(column: Any) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        # Python's times hold microseconds; what is finer is cut off rather than refused.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    values: list[Any] = column.to_pylist()
    return values


def _decoded(column: Any) -> list[Any]:
    """Texts; what is no UTF-8 keeps the rest of its letters, so that its event is rejected."""
    try:
        texts: list[Any] = column.cast(pa.string()).to_pylist()
    except pa.ArrowInvalid:
        return [
            None if cell is None else cell.decode("utf-8", "surrogateescape")
            for cell in column.to_pylist()
        ]
    return texts


def _unreadable(file: Path, error: Exception) -> FileUnreadable:
    first = str(error).strip().partition("\n")[0]
    return FileUnreadable(f"{file} cannot be read: {first[:200]}")
