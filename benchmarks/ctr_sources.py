"""Files of clicks as columns of text, block by block: Criteo, Avazu, and any table with a label.

Takes files and what their columns are, gives blocks of columns; never holds more than a block, so a
file may be larger than memory. Text may be gzipped; tables may be Parquet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

#: Bytes of a block of text, rows of a block of Parquet.
BLOCK_BYTES, BLOCK_ROWS = 1 << 24, 1 << 17

#: name -> texts; a missing value is an empty text
Block = Mapping[str, pa.Array]


class SourceError(Exception):
    """A file that cannot be read as it was said to be."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file, and which of its columns are what."""

    file: Path
    label: str
    #: A row is a 1 from here on.
    positive: float = 1.0
    #: Columns of names: each value has an embedding.
    fields: Sequence[str]
    #: Columns of numbers, each in buckets that have embeddings.
    numbers: Sequence[str] = ()
    #: Who, what and when; without a time the order of rows is that of time.
    user: str | None = None
    item: str | None = None
    time: str | None = None
    delimiter: str = ","
    #: The columns' names, where the file has no header.
    names: Sequence[str] | None = None
    #: A further field -> a column, of which it is the last two characters (the hour of an hour).
    ends: Mapping[str, str] = field(default_factory=dict)


def criteo(file: Path) -> Source:
    """Label, 13 numbers, 26 names; tab separated, no header, in order of time (Criteo's terms)."""
    numbers = [f"I{n}" for n in range(1, 14)]
    names = [f"C{n}" for n in range(1, 27)]
    return Source(
        file=file,
        label="label",
        fields=names,
        numbers=numbers,
        delimiter="\t",
        names=["label", *numbers, *names],
    )


_AVAZU = (
    "C1 banner_pos site_id site_domain site_category app_id app_domain app_category device_id "
    "device_ip device_model device_type device_conn_type C14 C15 C16 C17 C18 C19 C20 C21"
)


def avazu(file: Path) -> Source:
    """id, click, hour (YYMMDDHH) and 21 names, with a header."""
    return Source(
        file=file,
        label="click",
        fields=_AVAZU.split(),
        time="hour",
        ends={"hour_of_day": "hour"},
    )


def blocks(source: Source, columns: Sequence[str]) -> Iterator[Block]:
    """Some columns, block by block. Raises `SourceError`."""
    try:
        if source.file.name.endswith((".parquet", ".pq")):
            yield from _parquet(source, columns)
        else:
            yield from _text(source, columns)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{source.file.name} cannot be read: {error}") from error


def _text(source: Source, columns: Sequence[str]) -> Iterator[Block]:
    reader = pa_csv.open_csv(
        source.file,
        read_options=pa_csv.ReadOptions(block_size=BLOCK_BYTES, column_names=source.names),
        parse_options=pa_csv.ParseOptions(delimiter=source.delimiter),
        convert_options=pa_csv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=False,
        ),
    )
    for batch in reader:
        yield {name: batch.column(name) for name in columns}


def _parquet(source: Source, columns: Sequence[str]) -> Iterator[Block]:
    with pq.ParquetFile(source.file) as table:
        for batch in table.iter_batches(batch_size=BLOCK_ROWS, columns=list(columns)):
            yield {name: batch.column(name).cast(pa.string()).fill_null("") for name in columns}
