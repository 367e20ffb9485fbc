"""A ranker and a pretrained table without somebody: their rows are zeroed where they are.

Takes opened artifacts and who is gone, says how their files are written anew; never seals. Rows of
ids that were not frequent are shared by hash, and what a network learned is everybody's: neither is
unlearned before the next training.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphsvc.artifact import Artifact
from graphsvc.gone import Gone
from graphsvc.renewal import (
    UNTOUCHED,
    Change,
    Rewriting,
    ids_blanked,
    rows_written,
    tensors_of,
)
from ranking.carrying import REMEMBERED
from ranking.pretraining.tables import ids_of

#: Files of a ranker with a row for each id, and of which ids these are.
_BY_ROW = ("weights.safetensors", REMEMBERED)
_IDS = "ids.json"
_VECTORS = "vectors.safetensors"
_SIDES = ("head", "tail")


def ranker_without(artifact: Artifact, gone: Gone) -> Rewriting:
    """Their rows in every ID table, with what an optimizer remembers of them; their slots go."""
    ids = json.loads(artifact.file(_IDS).read_text(encoding="utf-8"))
    spec = artifact.payload["spec"]
    rows = {side: gone.among(spec[side]["type"], ids[side]) for side in _SIDES}
    if not any(len(some) for some in rows.values()):
        return UNTOUCHED
    changes: dict[str, Change] = {_IDS: _slots_given_up(rows)}
    zeroed: dict[str, dict[str, list[int]]] = {}
    for file in _BY_ROW:
        if file not in artifact.manifest["files"]:
            continue
        tensors = {
            name: rows[side] for name in tensors_of(artifact.file(file)) if (side := _side(name))
        }
        changes[file] = rows_written(tensors)
        zeroed[file] = {name: some.tolist() for name, some in tensors.items() if len(some)}
    return Rewriting(changes, zeroed, {})


def table_without(artifact: Artifact, gone: Gone) -> Rewriting:
    """Their rows of either side; their ids are nobody's."""
    changes: dict[str, Change] = {}
    tensors: dict[str, NDArray[np.int64]] = {}
    for side in _SIDES:
        rows = gone.among(artifact.payload[f"{side}_type"], ids_of(artifact, side).tolist())
        if len(rows):
            changes[f"{side}_ids.parquet"] = ids_blanked(rows)
            tensors[f"{side}s"] = rows
    if not tensors:
        return UNTOUCHED
    changes[_VECTORS] = rows_written(tensors)
    zeroed = {_VECTORS: {name: rows.tolist() for name, rows in tensors.items()}}
    return Rewriting(changes, zeroed, {})


def ids_in(artifact: Artifact) -> dict[str, list[str | None]]:
    """The ids that a ranker or a table has rows of, by type."""
    if artifact.kind == "table":
        return {artifact.payload[f"{side}_type"]: list(ids_of(artifact, side)) for side in _SIDES}
    ids = json.loads(artifact.file(_IDS).read_text(encoding="utf-8"))
    return {artifact.payload["spec"][side]["type"]: ids[side] for side in _SIDES}


def _slots_given_up(rows: dict[str, NDArray[np.int64]]) -> Change:
    def change(source: Path, target: Path) -> None:
        ids = json.loads(source.read_text(encoding="utf-8"))
        for side, some in rows.items():
            for row in some.tolist():
                ids[side][row] = None
        target.write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")

    return change


def _side(tensor: str) -> str | None:
    """Whose rows a tensor holds: `head_table.weight`, `tokens.tail_shift.codes`."""
    module = tensor.rpartition(".")[0].rpartition(".")[2]
    for side in _SIDES:
        if module in (f"{side}_table", f"{side}_shift"):
            return side
    return None
