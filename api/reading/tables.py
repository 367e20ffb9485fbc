"""Tables in files: CSV, TSV and Parquet, read block by block.

Takes a path, gives the columns that were asked for and the numbers of their rows; never holds more
than a block. Text files may be gzipped. Every cell of a text file is text, so that an id such as
007 stays what it is.
"""

import csv
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from api.errors import FileUnreadable
from api.reading.beside import Hand, handed
from api.reading.mapping import Source
from api.reading.spelling import Read, Spelt, decoded, read

_BLOCK_BYTES = 1 << 20
_BLOCK_ROWS = 3000
_BLOCKS_READY = 1
#: What is kept of the text of a row that is broken, in characters.
LONGEST_TEXT = 2000


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
    #: The cells that are no UTF-8, as a place in `numbers` and a column.
    no_utf8: Sequence[tuple[int, str]] = ()


class Cells(NamedTuple):
    """A column, and the places in it of what is no UTF-8."""

    values: list[Any]
    no_utf8: list[int]


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


def read_parquet(file: Path, wanted: Sequence[str]) -> Generator[Block, None, None]:
    """Rows are numbered from 1; `done` counts rows. Raises `FileUnreadable`."""
    try:
        with pq.ParquetFile(file) as table:
            _check(file, wanted, table.schema_arrow.names)
            done = 0
            for batch in table.iter_batches(batch_size=_BLOCK_ROWS, columns=list(wanted)):
                cells = {name: _listed(batch.column(name)) for name in wanted}
                numbers = list(range(done + 1, done + batch.num_rows + 1))
                done += batch.num_rows
                yield _block(cells, numbers, done)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error


def rows_of_parquet(file: Path) -> int:
    """How many rows it has. Raises `FileUnreadable`."""
    try:
        return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def read_text(file: Path, source: Source, wanted: Sequence[str]) -> Generator[Block, None, None]:
    """Rows are numbered as in an editor that counts a header as row 1; `done` counts bytes.

    Raises `FileUnreadable`. A row with too few or too many cells is `broken`. The parser goes over
    any number of these without a word, so it works beside and they are handed over meanwhile.
    """
    return handed(partial(_parse, file, source, wanted), ready=_BLOCKS_READY)


class _Skipped:
    """Rows with too few or too many cells, handed over whenever a block of them waits."""

    def __init__(self, hand: Hand[Block], wanted: Sequence[str], raw: BinaryIO) -> None:
        self._hand, self._wanted, self._raw = hand, wanted, raw
        self._rows: list[Broken] = []
        #: The first and the last of each run of such rows behind the last one that was numbered.
        self._runs: deque[tuple[int, int]] = deque()

    def skip(self, row: Any) -> str:
        """Take a row that pyarrow could not; ends the parsing where nobody waits for more."""
        text = row.text if len(row.text) <= LONGEST_TEXT else f"{row.text[:LONGEST_TEXT]}..."
        expected = f"{row.expected_columns} cells, received {row.actual_columns}"
        self._rows.append(Broken(row.number, expected, read(text).text))
        if self._runs and self._runs[-1][1] == row.number - 1:
            self._runs[-1] = (self._runs[-1][0], row.number)
        else:
            self._runs.append((row.number, row.number))
        return "skip" if len(self._rows) < _BLOCK_ROWS or self.flush() else "error"

    def flush(self) -> bool:
        """Hand over what waits, if anything does."""
        rows, self._rows = self._rows, []
        empty: dict[str, list[Any]] = {name: [] for name in self._wanted}
        return not rows or self._hand(Block(empty, [], rows, self._raw.tell()))

    def numbers(self, after: int, rows: int) -> tuple[list[int], int]:
        """The numbers of so many good rows, and the last one that was given to any row."""
        numbers: list[int] = []
        # The parser may be ahead of the rows that it gives: later runs have to wait.
        while self._runs and self._runs[0][0] <= after + 1 + rows - len(numbers):
            first, last = self._runs.popleft()
            numbers.extend(range(after + 1, first))
            after = last
        rest = rows - len(numbers)
        numbers.extend(range(after + 1, after + 1 + rest))
        return numbers, after + rest


def _parse(file: Path, source: Source, wanted: Sequence[str], hand: Hand[Block]) -> None:
    tabs = format_of(file, source) == "tsv"
    quoted = not tabs if source.quoted is None else source.quoted
    names = source.columns
    parse = pa_csv.ParseOptions(
        delimiter=source.delimiter or ("\t" if tabs else ","),
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,
    )
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(wanted, pa.string()),
        include_columns=list(wanted),
        include_missing_columns=True,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    options = pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=names)
    try:
        with file.open("rb") as raw, pa.input_stream(raw, compression=_packing(file)) as packed:
            _check(file, wanted, names or _header(file, parse))
            skipped, stream = _Skipped(hand, wanted, raw), Spelt(packed)
            parse.invalid_row_handler = skipped.skip
            number = 0 if names else 1
            for batch in pa_csv.open_csv(pa.PythonFile(stream, "r"), options, parse, convert):
                numbers, number = skipped.numbers(number, batch.num_rows)
                cells = {name: _cells(batch.column(name), spelt=stream.any) for name in wanted}
                if not (skipped.flush() and hand(_block(cells, numbers, raw.tell()))):
                    return
            skipped.flush()
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


def _block(cells: Mapping[str, Cells], numbers: list[int], done: int) -> Block:
    no_utf8 = [(row, name) for name, column in cells.items() for row in column.no_utf8]
    return Block(
        {name: column.values for name, column in cells.items()}, numbers, [], done, no_utf8
    )


def _listed(column: Any) -> Cells:
    """The cells of a column of Parquet."""
    if pa.types.is_timestamp(column.type):
        # Python's times hold microseconds; what is finer is cut off rather than refused.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return Cells(column.to_pylist(), [])
    except UnicodeDecodeError:
        if not pa.types.is_string(column.type):
            raise
    raw: list[bytes | None] = column.cast(pa.binary()).to_pylist()
    return _sorted_out([None if cell is None else decoded(cell) for cell in raw])


def _cells(column: Any, *, spelt: bool) -> Cells:
    """The cells of a column of text; if anything was spelt out, they are looked at one by one."""
    texts: list[Any] = column.to_pylist()
    if not spelt:
        return Cells(texts, [])
    return _sorted_out([None if text is None else read(text) for text in texts])


def _sorted_out(cells: list[Read | None]) -> Cells:
    wrong = [row for row, cell in enumerate(cells) if cell is not None and not cell.is_utf8]
    return Cells([cell and cell.text for cell in cells], wrong)


def _unreadable(file: Path, error: Exception) -> FileUnreadable:
    first = str(error).strip().partition("\n")[0]
    return FileUnreadable(f"{file} cannot be read: {first[:200]}")
