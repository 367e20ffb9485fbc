"""A snapshot with some of its relations: what an embedding would know that saw only these.

Takes a sealed snapshot, gives another one of the same entities, interactions and spans.
"""

import numpy as np

from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import (
    TABLES,
    Layout,
    Snapshot,
    draft_snapshot,
    seal_snapshot,
)

#: By name: whence the events of people come that make edges. Structure is in all of them.
GRAPHS = {"onsite": ("onsite",), "offsite": ("offsite",), "both": ("onsite", "offsite")}


def only(store: ArtifactStore, snapshot: Snapshot, graph: str) -> Snapshot:
    """The snapshot without the relations of other sources; they are not even declared."""
    kept = [
        code
        for code, relation in enumerate(snapshot.relations)
        if relation.source in (*GRAPHS[graph], "structure")
    ]
    number = np.full(len(snapshot.relations), -1, dtype=np.int16)
    number[kept] = np.arange(len(kept), dtype=np.int16)
    layout = Layout(
        types=list(snapshot.types.values()),
        relations=[snapshot.relations[code] for code in kept],
        interaction=snapshot.interaction,
        attributes=snapshot.attribute_kinds,
        watermark=snapshot.watermark,
        split=snapshot.split,
    )
    with draft_snapshot(store) as draft:
        for table in TABLES:
            for block in snapshot.blocks(table):
                if table == "triples":
                    own = number[block["relation"]] >= 0
                    block = {name: column[own] for name, column in block.items()}  # noqa: PLW2901
                    block["relation"] = number[block["relation"]]
                draft.write(table, block)
        dials = dict(snapshot.artifact.dials) | {"graph": graph}
        return seal_snapshot(store, draft, layout, dials)
