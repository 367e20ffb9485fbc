"""The successor of a sealed artifact: the same but for some files, and for who its parents are.

Takes an artifact and how files of it are written anew, seals the next one; never edits what is
sealed, and copies no file that stays. The successor says whose it is, so the lineage goes on.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from graphsvc.errors import ArtifactDamaged
from graphsvc.gone import NOBODY
from graphsvc.ids import digest_of_file

#: In a manifest's payload: the digest of the artifact that this one was made from.
ERASED_FROM = "erased_from"
#: Bytes of a number, by the names that safetensors gives to kinds.
_WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4}
_WIDTHS |= {"F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_LENGTH_BYTES = 8

#: Writes a file anew: its source, and where the other one is to lie.
Change = Callable[[Path, Path], None]


class Rewriting(NamedTuple):
    """How an artifact loses somebody."""

    #: By file.
    changes: Mapping[str, Change]
    #: Rows that become zero, by file and tensor: who looks again later knows where.
    zeroed: Mapping[str, Mapping[str, list[int]]]
    #: How many rows go, by table.
    dropped: Mapping[str, int]


UNTOUCHED = Rewriting({}, {}, {})


def renewed(
    store: ArtifactStore,
    artifact: Artifact,
    changes: Mapping[str, Change],
    parents: Mapping[str, str],
) -> Artifact:
    """Seal the successor; harmless to repeat.

    Raises `ArtifactDamaged` where a file that is to change is not what was sealed: its successor
    would seem whole.
    """
    files = artifact.manifest["files"]
    with store.draft() as folder:
        for name, entry in files.items():
            source = artifact.path / name
            if name not in changes:
                _same(source, folder / name)
                continue
            if digest_of_file(source) != entry["sha256"]:
                raise ArtifactDamaged(
                    f"{name} of {artifact.kind} {artifact.digest} is changed, so nobody can be "
                    "erased from it: restore it from a backup, or delete its folder, and resume"
                )
            changes[name](source, folder / name)
        recipe = Recipe(
            kind=artifact.kind,
            parents=dict(parents),
            dials=artifact.dials,
            payload={**artifact.payload, ERASED_FROM: artifact.digest},
            metrics=artifact.metrics,
        )
        return store.seal(folder, recipe, {n: e for n, e in files.items() if n not in changes})


def _same(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every filesystem has links
        shutil.copyfile(source, target)


def rows_written(rows: Mapping[str, NDArray[np.int64]]) -> Change:
    """Zero some rows of some tensors of a safetensors file."""

    def change(source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
        overwrite(target, rows)

    return change


def overwrite(target: Path, rows: Mapping[str, NDArray[np.int64]], number: bytes = b"") -> None:
    """Let each number of some rows be this one, as the file has it, by default 0, in its place.

    A tensor that is not there has no rows.
    """
    header, start = _header(target)
    with target.open("r+b") as file:
        for name in rows.keys() & header.keys():
            told = header[name]
            numbers, width = math.prod(told["shape"][1:]), _WIDTHS[told["dtype"]]
            row = (number or bytes(width)) * numbers
            for place in rows[name].tolist():
                file.seek(start + told["data_offsets"][0] + place * numbers * width)
                file.write(row)


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """What a safetensors file says of its tensors, and where they begin."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        return json.loads(opened.read(length)), _LENGTH_BYTES + length


def tensors_of(file: Path) -> Mapping[str, tuple[int, ...]]:
    """Name -> shape of what a safetensors file holds."""
    header, _ = _header(file)
    return {name: tuple(told["shape"]) for name, told in header.items() if "shape" in told}


def all_zero(file: Path, rows: Mapping[str, Sequence[int]]) -> bool:
    """Whether some rows of tensors of a safetensors file are zero; that of no tensor are."""
    header, start = _header(file)
    with file.open("rb") as opened:
        for name, some in rows.items():
            told = header[name]
            width = math.prod(told["shape"][1:]) * _WIDTHS[told["dtype"]]
            for place in some:
                opened.seek(start + told["data_offsets"][0] + place * width)
                if any(opened.read(width)):
                    return False
    return True


def ids_blanked(rows: NDArray[np.int64], *, group: int | None = None) -> Change:
    """Let nobody stand at some rows of the column `id` of a Parquet file.

    `group`: rows of a block, where they are not the library's own.
    """

    def change(source: Path, target: Path) -> None:
        table = pq.read_table(source)
        ids = table.column("id").to_numpy().copy()
        ids[rows] = NOBODY
        place = table.schema.get_field_index("id")
        blank = pa.array(ids, type=pa.string(), from_pandas=False)
        table = table.set_column(place, table.schema.field("id"), blank)
        pq.write_table(table, target, compression="zstd", row_group_size=group)

    return change


def rows_dropped(gone: Mapping[str, NDArray[np.bool_]], *, group: int) -> Change:
    """Leave out the rows of a Parquet file that name somebody in one of some columns.

    `gone`: column -> True at each number that stands for somebody who is. `group`: rows of a block,
    which is all that memory holds.
    """

    def change(source: Path, target: Path) -> None:
        waiting: list[pa.Table] = []
        with pq.ParquetFile(source) as file:
            schema = file.schema_arrow
            with pq.ParquetWriter(target, schema, compression="zstd") as writer:
                for batch in file.iter_batches(batch_size=group):
                    names = np.zeros(len(batch), np.bool_)
                    for column, mask in gone.items():
                        names |= mask[batch.column(column).to_numpy(zero_copy_only=False)]
                    waiting.append(pa.Table.from_batches([batch]).filter(pa.array(~names)))
                    waiting = _flushed(writer, waiting, group, least=group)
                _flushed(writer, waiting, group, least=1)

    return change


def _flushed(
    writer: pq.ParquetWriter, waiting: list[pa.Table], group: int, *, least: int
) -> list[pa.Table]:
    """Write blocks as long as `least` rows are there, and give what is left."""
    if sum(len(one) for one in waiting) < least:
        return waiting
    rows = pa.concat_tables(waiting)
    while len(rows) >= least:
        writer.write_table(rows.slice(0, group).combine_chunks())
        rows = rows.slice(group)
    return [rows]
