"""A snapshot: the graph and its interactions as columns, sealed at one watermark.

Takes columns, gives a sealed folder of Parquet files and reads it back as numpy arrays; never
touches the database. Entities are sorted by (type, id), so a type is a contiguous range of rows;
all else is in an order of its own content, so the same events always give the same bytes.

    entities.parquet      type, id                              row number = position
    triples.parquet       head, relation, tail, weight, time    time = newest event
    interactions.parquet  head, tail, event, time, label, span, position, sampling_rate, conversion
    attributes.parquet    row, name, value, time                every version; value is JSON text
    retired.parquet       row                                   entities that are out of answers
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from graphsvc.errors import ArtifactFormat

#: Layout of the payload and files; a snapshot of another one is refused by name.
SNAPSHOT_FORMAT = 3
#: Rows of a block in a file: the same however the rows came, or the bytes would differ.
ROW_GROUP = 1 << 16


class Span(IntEnum):
    """Which of five spans of time, one after the other, an interaction lies in.

    The graph and all that is pretrained on it see GRAPH only; a ranker learns on TRAIN, is stopped
    on VALID, calibrated on CALIBRATE, measured and let through on TEST.
    """

    GRAPH = 0
    TRAIN = 1
    VALID = 2
    CALIBRATE = 3
    TEST = 4


class TypeRange(NamedTuple):
    """Rows `start` up to, not including, `stop` are the entities of one type."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationInfo:
    """A relation of the graph: its name, the types of its ends, and where its events come from."""

    name: str
    head: str
    tail: str
    #: onsite | offsite | structure
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InteractionInfo:
    """What the interactions are: who was shown what, and which event afterwards counts as 1."""

    head: str
    tail: str
    #: The event that shows something, code 0 in the column `event`.
    exposure: str
    #: The event that makes the label 1, code 1 in the column `event`.
    outcome: str
    #: The event that makes it 0 whatever else follows, code 2 in the column `event`.
    negative: str | None = None
    #: Events that count as conversions of what was clicked.
    conversions: tuple[str, ...] = ()
    #: So long after a click one counts, in seconds.
    conversion_seconds: int = 0
    #: Clicked exposures whose windows are over, and of which nobody could have seen a conversion:
    #: their people had not agreed to offsite events yet, or took it back.
    unseen: int = 0

    def __post_init__(self) -> None:
        # JSON has no tuples.
        object.__setattr__(self, "conversions", tuple(self.conversions))


class Triples(NamedTuple):
    """Edges as columns, sorted by (relation, head, tail)."""

    head: NDArray[np.int32]
    relation: NDArray[np.int16]
    tail: NDArray[np.int32]
    weight: NDArray[np.float32]
    time: NDArray[np.int64]


class Interactions(NamedTuple):
    """Exposures, outcomes and negatives as columns, sorted by (time, head, tail, event).

    event: 0 exposure, 1 outcome, 2 negative without an exposure that it could be about. label: 1 or
    0; -1 for an outcome, and for an exposure whose window was not over: nobody knows, and whoever
    takes it for a 0 is wrong. span: a `Span`. time: seconds since 1970. position: place in what was
    shown, from 0; -1 where not said. sampling_rate: share of such exposures that were logged.
    conversion, of an exposure with label 1: whether its click led to a conversion, 1 or 0; -1 where
    the window of conversions was not over, and of everything else.
    """

    head: NDArray[np.int32]
    tail: NDArray[np.int32]
    event: NDArray[np.int8]
    time: NDArray[np.int64]
    label: NDArray[np.int8]
    span: NDArray[np.int8]
    position: NDArray[np.int32]
    sampling_rate: NDArray[np.float32]
    conversion: NDArray[np.int8]


class Attributes(NamedTuple):
    """Every version of every attribute, sorted by (row, name, time).

    A version holds from its time, in seconds since 1970, up to the next one's. value: JSON text;
    `null` where the attribute was taken away.
    """

    row: NDArray[np.int32]
    name: NDArray[np.object_]
    value: NDArray[np.object_]
    time: NDArray[np.int64]


_SCHEMAS = {
    "entities": pa.schema([("type", pa.string()), ("id", pa.string())]),
    "triples": pa.schema(
        [
            ("head", pa.int32()),
            ("relation", pa.int16()),
            ("tail", pa.int32()),
            ("weight", pa.float32()),
            ("time", pa.int64()),
        ]
    ),
    "interactions": pa.schema(
        [
            ("head", pa.int32()),
            ("tail", pa.int32()),
            ("event", pa.int8()),
            ("time", pa.int64()),
            ("label", pa.int8()),
            ("span", pa.int8()),
            ("position", pa.int32()),
            ("sampling_rate", pa.float32()),
            ("conversion", pa.int8()),
        ]
    ),
    "attributes": pa.schema(
        [("row", pa.int32()), ("name", pa.string()), ("value", pa.string()), ("time", pa.int64())]
    ),
    "retired": pa.schema([("row", pa.int32())]),
}
TABLES = tuple(_SCHEMAS)


@dataclass(frozen=True)
class Snapshot:
    """A sealed snapshot, opened. Columns are read when first asked for."""

    artifact: Artifact

    @property
    def digest(self) -> str:
        return self.artifact.digest

    @property
    def watermark(self) -> Mapping[str, int]:
        """Up to where it looks; times in seconds since 1970.

        seq: the last row of the log that counts. observed: when that row arrived. as_of: event time
        of the last exposure in GRAPH.
        """
        return self.artifact.payload["watermark"]

    @property
    def split(self) -> Mapping[str, Any]:
        """How interactions were cut into spans: protocol, shares and times."""
        return self.artifact.payload["split"]

    @property
    def graph_end(self) -> int:
        """Up to when everybody's events are edges, in seconds since 1970; no later one is.

        0 where each has an end of their own (`per_user_time`), since the manifest names none.
        """
        times = self.split.get("last_times")
        return int(times[Span.GRAPH]) if times else 0

    @cached_property
    def types(self) -> dict[str, TypeRange]:
        return {t["name"]: TypeRange(**t) for t in self.artifact.payload["types"]}

    @cached_property
    def relations(self) -> tuple[RelationInfo, ...]:
        """Relations in the order of their codes in `triples().relation`."""
        return tuple(RelationInfo(**r) for r in self.artifact.payload["relations"])

    @property
    def interaction(self) -> InteractionInfo:
        return InteractionInfo(**self.artifact.payload["interaction"])

    @property
    def attribute_kinds(self) -> Mapping[str, Mapping[str, str]]:
        """Entity type -> attribute -> category | list | number | text."""
        return self.artifact.payload["attributes"]

    @property
    def entity_count(self) -> int:
        return max((t.stop for t in self.types.values()), default=0)

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """The application's id of every row (unique within a type only)."""
        return self._column("entities", "id")

    def triples(self) -> Triples:
        return Triples(*(self._column("triples", name) for name in Triples._fields))

    def interactions(self) -> Interactions:
        return Interactions(*(self._column("interactions", name) for name in Interactions._fields))

    def attributes(self) -> Attributes:
        return Attributes(*(self._column("attributes", name) for name in Attributes._fields))

    def retired(self) -> NDArray[np.int32]:
        """Rows of the entities that were out of answers at the watermark, in rising order."""
        return self._column("retired", "row")

    def conversions_by_span(self) -> NDArray[np.int64]:
        """[spans, 2] clicked exposures that are known not to have led to a conversion, and to."""
        found = np.zeros((len(Span), 2), dtype=np.int64)
        for block in self.blocks("interactions"):
            known = block["conversion"] >= 0
            np.add.at(found, (block["span"][known], block["conversion"][known]), 1)
        return found

    def blocks(self, table: str) -> Iterator[dict[str, NDArray[Any]]]:
        """The columns of a table, block by block, for whoever need not have all at once."""
        with pq.ParquetFile(self.artifact.file(f"{table}.parquet")) as file:
            for batch in file.iter_batches(batch_size=ROW_GROUP):
                yield {
                    name: batch.column(name).to_numpy(zero_copy_only=False)
                    for name in batch.schema.names
                }

    def _column(self, table: str, name: str) -> NDArray[Any]:
        file = self.artifact.file(f"{table}.parquet")
        return pq.read_table(file, columns=[name]).column(0).to_numpy()


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What a snapshot's manifest says beside its columns."""

    types: Sequence[TypeRange]
    relations: Sequence[RelationInfo]
    interaction: InteractionInfo
    attributes: Mapping[str, Mapping[str, str]]
    watermark: Mapping[str, int]
    split: Mapping[str, Any]

    def payload(self) -> dict[str, Any]:
        return {
            "format": SNAPSHOT_FORMAT,
            "types": [t._asdict() for t in self.types],
            "relations": [asdict(r) for r in self.relations],
            "interaction": asdict(self.interaction),
            "attributes": {t: dict(kinds) for t, kinds in self.attributes.items()},
            "watermark": dict(self.watermark),
            "split": dict(self.split),
        }


class SnapshotDraft:
    """A snapshot being written, block by block; memory holds one block of each table."""

    def __init__(self, folder: Path, writers: Mapping[str, pq.ParquetWriter]) -> None:
        self.folder = folder
        self.writers = writers
        self._waiting: dict[str, list[pa.Table]] = {name: [] for name in writers}

    def write(self, table: str, columns: Mapping[str, Any]) -> None:
        """Append one block to a table."""
        schema = _SCHEMAS[table]
        arrays = [pa.array(columns[f.name], type=f.type, from_pandas=False) for f in schema]
        self._waiting[table].append(pa.Table.from_arrays(arrays, schema=schema))
        if sum(len(block) for block in self._waiting[table]) >= ROW_GROUP:
            self._flush(table, ROW_GROUP)

    def close(self) -> None:
        """Write what is left and close the files."""
        for table, writer in self.writers.items():
            self._flush(table, 1)
            writer.close()

    def _flush(self, table: str, least: int) -> None:
        """Write row groups as long as `least` rows are there."""
        rows = pa.concat_tables([_SCHEMAS[table].empty_table(), *self._waiting[table]])
        while len(rows) >= least:
            self.writers[table].write_table(rows.slice(0, ROW_GROUP).combine_chunks())
            rows = rows.slice(ROW_GROUP)
        self._waiting[table] = [rows]


@contextmanager
def draft_snapshot(store: ArtifactStore) -> Iterator[SnapshotDraft]:
    """Open the files of a new snapshot; `seal_snapshot` closes them."""
    with store.draft() as folder, ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd")
            )
            for name, schema in _SCHEMAS.items()
        }
        yield SnapshotDraft(folder, writers)


def seal_snapshot(
    store: ArtifactStore, draft: SnapshotDraft, layout: Layout, dials: Mapping[str, Any]
) -> Snapshot:
    """Close a draft's files and give it its digest."""
    draft.close()
    recipe = Recipe(kind="snapshot", dials=dials, payload=layout.payload())
    return Snapshot(store.seal(draft.folder, recipe))


def open_snapshot(store: ArtifactStore, digest: str, *, verify: bool = True) -> Snapshot:
    """Open a sealed snapshot, every byte checked against its digest.

    Without `verify` only the manifest is. Raises `ArtifactMissing`, `ArtifactDamaged` or
    `ArtifactFormat`.
    """
    artifact = store.open("snapshot", digest, verify=verify)
    found = artifact.payload.get("format", 1)
    if found != SNAPSHOT_FORMAT:
        raise ArtifactFormat(
            f"snapshot {digest} has layout {found}, this version reads {SNAPSHOT_FORMAT}: "
            "take it again with `graphsvc snapshot`"
        )
    return Snapshot(artifact)
