"""A Parquet file of pairs into a folder of Parquet files with their scores, part by part.

Takes a file, gives parts that are whole as soon as they have their name; holds two at a time, the
one that is computed and the next one, which is read and looked up meanwhile.
A run that ended early goes on behind its last part, with the same versions or not at all.

    part-000000.parquet    the columns of ids, a probability per head, why there is none, and states
    _run.json              what was scored, by which versions
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from api.errors import FileUnreadable, Invalid
from api.pairs import REASONS, STATES, Answering, Ids, PairScores

#: Rows of a part: some tenths of a second each.
PART_ROWS = 1 << 16
#: Readers of folders of Parquet pass over names that begin so.
RUN = "_run.json"
_UNFINISHED = ".unfinished"
#: Columns of a part that are not the file's.
_OURS = ("ctr", "cvr", "reason", "head_state", "candidate_state")
#: How many rows are done, of how many, and a note.
Tick = Callable[[int, int, str], None]
Score = Callable[[Ids, Ids], Answering]


class Columns(NamedTuple):
    """What the columns of ids are called."""

    head: str = "head"
    candidate: str = "candidate"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What makes two runs the same: one goes on where the other ended."""

    file: str
    bytes: int
    modified_ns: int
    rows: int
    part_rows: int
    columns: Columns
    position: int | None
    versions: Mapping[str, str]
    #: Parts of other columns are of another number.
    layout: int = 2

    @property
    def as_json(self) -> dict[str, Any]:
        """As it is read from a file."""
        told: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return told


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What a run did: rows of the file, those that an earlier one had scored, those without one."""

    rows: int
    resumed: int
    unscored: int
    parts: int


def run_of(
    file: Path, columns: Columns, *, position: int | None, versions: Mapping[str, str]
) -> Run:
    """What is to be done. Raises `FileUnreadable`, also where a column is missing or is no text.

    And `Invalid` for one that is called as one of the answer.
    """
    try:
        schema, about = pq.read_schema(file), file.stat()
        rows = int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error
    for name in columns:
        if name in _OURS:
            raise Invalid(f"a column of ids should not be called {name}, as one of the answer is")
        if name not in schema.names:
            listed = ", ".join(schema.names[:40])
            raise FileUnreadable(f"{file} has no column {name!r}; it has {listed}")
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise FileUnreadable(f"{name} of {file} should be text, as ids are, received {kind}")
    return Run(
        file=file.name,
        bytes=about.st_size,
        modified_ns=about.st_mtime_ns,
        rows=rows,
        part_rows=PART_ROWS,
        columns=columns,
        position=position,
        versions=dict(versions),
    )


def score_file(file: Path, folder: Path, run: Run, score: Score, tick: Tick) -> Done:
    """Score what no part holds yet. Raises `Invalid` for a folder of something else."""
    parts = -(-run.rows // run.part_rows)
    there = _begun(folder, run, parts)
    resumed = min(there * run.part_rows, run.rows)
    tick(resumed, run.rows, f"{there} of {parts} parts were there" if there else "")
    done = resumed
    for number, block, found in _answered(file, run, score, skipped=resumed):
        _write(folder / _name(there + number), block, found)
        done += block.num_rows
        tick(done, run.rows, "")
    if done != run.rows:
        raise FileUnreadable(f"{file} should have {run.rows} rows, received {done}")
    return Done(rows=run.rows, resumed=resumed, unscored=_unscored(folder, parts), parts=parts)


def _answered(
    file: Path, run: Run, score: Score, *, skipped: int
) -> Iterator[tuple[int, pa.Table, PairScores]]:
    """Parts with their scores, in order; while one is computed, the next is read and looked up.

    A part that was begun is given also where the next one cannot be.
    """
    begun: tuple[pa.Table, Answering] | None = None
    given = 0
    try:
        for block in _blocks(file, run, skipped=skipped):
            heads, candidates = (_ids(file, block, name) for name in run.columns)
            answering = score(heads, candidates)
            if begun is not None:
                yield given, begun[0], begun[1]()
                given += 1
            begun = (block, answering)
    except (Exception, KeyboardInterrupt):
        if begun is not None:
            yield given, begun[0], begun[1]()
        raise
    if begun is not None:
        yield given, begun[0], begun[1]()


def _begun(folder: Path, run: Run, parts: int) -> int:
    """How many parts there are, one behind the other, in a folder that is this run's."""
    said = folder / RUN
    if not said.is_file():
        _begin(folder, run)
        return 0
    try:
        before = json.loads(said.read_text(encoding="utf-8"))
    except ValueError:
        before = None
    now = run.as_json
    if before != now:
        known = before if isinstance(before, dict) else {}
        other = [name for name, value in now.items() if known.get(name) != value]
        raise Invalid(
            f"--to holds the scores of another run, which differs in {', '.join(other) or RUN}; "
            f"versions are not mixed, so choose another folder than {folder}"
        )
    return next(n for n in range(parts + 1) if n == parts or not (folder / _name(n)).is_file())


def _begin(folder: Path, run: Run) -> None:
    """Say in an empty folder whose it is."""
    if folder.exists() and not folder.is_dir():
        raise Invalid(f"--to should be a folder, received the file {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(not one.name.endswith(_UNFINISHED) for one in folder.iterdir()):
            raise Invalid(f"--to should be an empty folder or one of this run, received {folder}")
        unfinished = folder / f"{RUN}{_UNFINISHED}"
        unfinished.write_text(json.dumps(run.as_json, indent=1), encoding="utf-8")
        unfinished.replace(folder / RUN)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _blocks(file: Path, run: Run, *, skipped: int) -> Iterator[pa.Table]:
    """The rows behind `skipped` in tables of a part each; row groups before them are not read."""
    try:
        with pq.ParquetFile(file) as opened:
            first, left = 0, skipped
            while first < opened.num_row_groups:
                rows = opened.metadata.row_group(first).num_rows
                if rows > left:
                    break
                first, left = first + 1, left - rows
            groups = list(range(first, opened.num_row_groups))
            if groups:
                names = list(dict.fromkeys(run.columns))
                batches = opened.iter_batches(
                    batch_size=run.part_rows, row_groups=groups, columns=names
                )
                yield from _parts(batches, run.part_rows, left)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _parts(batches: Iterator[pa.RecordBatch], size: int, left: int) -> Iterator[pa.Table]:
    """The same rows behind the first `left` in tables of `size`; the last one may be shorter."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        dropped = min(left, batch.num_rows)
        left -= dropped
        held.append(batch.slice(dropped))
        while sum(one.num_rows for one in held) >= size:
            whole = pa.Table.from_batches(held)
            yield whole.slice(0, size)
            held = whole.slice(size).to_batches()
    if sum(one.num_rows for one in held):
        yield pa.Table.from_batches(held)


def _ids(file: Path, block: pa.Table, name: str) -> Ids:
    """A column of ids; an empty one is none."""
    column = block.column(name).cast(pa.large_string())
    column = pc.if_else(pc.equal(column, ""), None, column)
    coded = column.combine_chunks().dictionary_encode()
    try:
        names: list[str] = coded.dictionary.to_pylist()
    except UnicodeDecodeError as error:
        raise _unreadable(file, error) from error
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    return Ids(names, codes.astype(np.int64))


def _write(part: Path, block: pa.Table, found: PairScores) -> None:
    """A part gets its name when it is whole."""
    table = block
    for head, probabilities in found.probabilities.items():
        table = table.append_column(head, pa.array(probabilities, from_pandas=True))
    table = table.append_column("reason", _named(found.why, REASONS))
    table = table.append_column("head_state", _named(found.heads, STATES))
    table = table.append_column("candidate_state", _named(found.candidates, STATES))
    unfinished = part.with_name(f"{part.name}{_UNFINISHED}")
    try:
        pq.write_table(table, unfinished, compression="zstd")
        unfinished.replace(part)
    except OSError as error:
        raise _unwritable(part.parent, error) from error


def _named(numbers: NDArray[np.int8], names: Sequence[str | None]) -> pa.Array:
    """A column of words by their numbers; below 0 there is none."""
    codes = pa.array(numbers, mask=numbers < 0)
    words = pa.DictionaryArray.from_arrays(codes, pa.array(names, type=pa.string()))
    return words.cast(pa.string())


def _unscored(folder: Path, parts: int) -> int:
    """Rows of all parts without a score."""
    reasons = (
        pq.read_table(folder / _name(n), columns=["reason"]).column("reason") for n in range(parts)
    )
    return sum(len(column) - column.null_count for column in reasons)


def _name(number: int) -> str:
    return f"part-{number:06}.parquet"


def _unreadable(file: Path, error: Exception) -> FileUnreadable:
    first = str(error).strip().partition("\n")[0]
    return FileUnreadable(f"{file} cannot be read: {first[:200]}")


def _unwritable(folder: Path, error: OSError) -> Invalid:
    return Invalid(f"--to {folder} cannot be written: {error.strerror or error}")
