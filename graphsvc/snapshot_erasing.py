"""A snapshot without somebody: the row stays, so that all others keep theirs, and is nobody's.

Takes an opened snapshot and who is gone, says how its files are written anew; never seals.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from graphsvc.artifact import Artifact
from graphsvc.gone import NOBODY, Gone
from graphsvc.renewal import UNTOUCHED, Rewriting, ids_blanked, rows_dropped
from graphsvc.snapshot import ROW_GROUP, Snapshot

#: Which columns of a table name entities.
_NAMING: Mapping[str, tuple[str, ...]] = {
    "triples": ("head", "tail"),
    "interactions": ("head", "tail"),
    "attributes": ("row",),
    "retired": ("row",),
}


def without(artifact: Artifact, gone: Gone) -> Rewriting:
    """Their ids are blanked, and every row of every other table that names them goes."""
    snapshot = Snapshot(artifact)
    rows = rows_of(snapshot, gone)
    if not len(rows):
        return UNTOUCHED
    mask = np.zeros(snapshot.entity_count, np.bool_)
    mask[rows] = True
    named = {table: _named(snapshot, table, mask) for table in _NAMING}
    changes = {
        f"{table}.parquet": rows_dropped(dict.fromkeys(_NAMING[table], mask), group=ROW_GROUP)
        for table, count in named.items()
        if count
    }
    blanked = {"entities.parquet": ids_blanked(rows, group=ROW_GROUP)}
    return Rewriting(changes | blanked, {}, {name: count for name, count in named.items() if count})


def names_nobody(snapshot: Snapshot) -> bool:
    """Whether no row of any table names somebody who was erased."""
    mask = snapshot.ids == NOBODY
    return not mask.any() or not any(_named(snapshot, table, mask) for table in _NAMING)


def rows_of(snapshot: Snapshot, gone: Gone) -> NDArray[np.int64]:
    """Their rows, in rising order."""
    found = [
        kind.start + gone.among(kind.name, snapshot.ids[kind.start : kind.stop].tolist())
        for kind in snapshot.types.values()
        if kind.name in gone.types
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]))


def _named(snapshot: Snapshot, table: str, mask: NDArray[np.bool_]) -> int:
    """How many rows of a table name somebody."""
    count = 0
    for block in snapshot.blocks(table):
        names = np.logical_or.reduce([mask[block[column]] for column in _NAMING[table]])
        count += int(np.count_nonzero(names))
    return count
