"""Bundles to search in: one that was trained on a market, and uniform Gaussian vectors.

Takes a store and a number of rows, gives a sealed bundle whose type `ad` has that many; never
searches. Gaussian vectors have no structure at all: every index does worst there.
"""

import json
from collections.abc import Callable
from pathlib import Path

import grid
import numpy as np

from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import (
    InteractionInfo,
    Layout,
    RelationInfo,
    Snapshot,
    TypeRange,
    draft_snapshot,
    seal_snapshot,
)
from kge.arrays import BundleArrays
from kge.bundle import Bundle, open_bundle, seal_bundle
from kge.dials import Dials

DIM = 64
#: Items per user, categories, and acts per user, of which some follow the user's taste.
ITEMS_PER_USER, CATEGORIES, ACTS, OF_TASTE = 10, 400, 40, 0.8
EPOCHS = 2.0
_NOTHING = "0" * 64


def dials() -> dict[str, float]:
    """What a bundle depends on beside its source and rows."""
    return {
        "dim": DIM,
        "items_per_user": ITEMS_PER_USER,
        "categories": CATEGORIES,
        "acts": ACTS,
        "of_taste": OF_TASTE,
        "epochs": EPOCHS,
    }


def bundle_of(store: ArtifactStore, source: str, rows: int) -> Bundle:
    """The bundle of a source by these dials, made at the first call."""
    named = store.root.parent / f"{grid.named(source, dials())}.json"
    if named.exists():
        return open_bundle(store, json.loads(named.read_text())["bundle"])
    bundle = SOURCES[source](store, rows)
    named.write_text(json.dumps({"bundle": bundle.digest}))
    return bundle


def _gaussian(store: ArtifactStore, rows: int) -> Bundle:
    draw = np.random.default_rng(1)
    users = max(rows // ITEMS_PER_USER, 1)
    count = rows + users
    relation = RelationInfo(name="click", head="user", tail="ad", source="onsite")
    eye = np.eye(DIM, dtype=np.float32)
    arrays = BundleArrays(
        types=[TypeRange("ad", 0, rows), TypeRange("user", rows, count)],
        ids=_ids(rows, users),
        vectors=draw.standard_normal((count, DIM), dtype=np.float32),
        bias=np.zeros(count, np.float32),
        degree=np.ones(count, np.int32),
        relations=[relation],
        translations=np.zeros((2, DIM), np.float32),
        projections=np.stack([eye, eye]),
        priors=np.zeros((2, DIM), np.float32),
        frame_rows=np.array([0, rows], np.int32),
    )
    return seal_bundle(store, _NOTHING, arrays, dials={}, metrics={})


def _trained(store: ArtifactStore, rows: int) -> Bundle:
    from kge.train import begin

    snapshot = _market(store, rows)
    training = begin(snapshot, Dials(dim=DIM, epochs=EPOCHS))
    for _ in training.steps():
        pass
    arrays = training.trained().arrays()
    return seal_bundle(store, snapshot.digest, arrays, dials={}, metrics={})


SOURCES: dict[str, Callable[[ArtifactStore, int], Bundle]] = {
    "trained": _trained,
    "gaussian": _gaussian,
}


def _ids(items: int, users: int) -> np.ndarray:
    ids = np.empty(items + users, object)
    ids[:items] = [f"i{n:07d}" for n in range(items)]
    ids[items:] = [f"u{n:07d}" for n in range(users)]
    return ids


def _market(store: ArtifactStore, items: int) -> Snapshot:
    """Items in two categories each, people who mostly click what is of one of their two."""
    draw = np.random.default_rng(2)
    users = max(items // ITEMS_PER_USER, 1)
    first = draw.integers(CATEGORIES, size=items)
    of_item = np.stack([first, (first + draw.integers(1, 20, size=items)) % CATEGORIES], 1)
    taste = draw.integers(CATEGORIES, size=(users, 2))
    order = np.argsort(first, kind="stable")
    starts = np.searchsorted(first[order], np.arange(CATEGORIES + 1))
    wanted = taste[np.arange(users)[:, None], draw.integers(2, size=(users, ACTS))]
    span = starts[wanted + 1] - starts[wanted]
    # Within a category few items have most of the clicks: the square of a uniform number.
    place = starts[wanted] + (draw.random((users, ACTS)) ** 2 * span).astype(np.int64)
    clicked = order[np.minimum(place, items - 1)]
    anything = draw.random((users, ACTS)) > OF_TASTE
    clicked[anything] = (draw.random(int(anything.sum())) ** 2 * items).astype(np.int64)
    who = np.repeat(np.arange(users), ACTS)
    clicks = np.unique(np.stack([who, clicked.ravel()], 1), axis=0)
    # Rows: items (the schema's ads), categories, users, as their types are sorted.
    category_row, user_row = items, items + CATEGORIES
    belongs = np.unique(np.stack([np.repeat(np.arange(items), 2), of_item.ravel()], 1), axis=0)
    head = np.concatenate([clicks[:, 0] + user_row, belongs[:, 0]])
    tail = np.concatenate([clicks[:, 1], belongs[:, 1] + category_row])
    relation = np.repeat([0, 1], [len(clicks), len(belongs)])
    return _sealed(store, (items, users), (head, relation, tail))


def _sealed(
    store: ArtifactStore, sizes: tuple[int, int], triples: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Snapshot:
    items, users = sizes
    head, relation, tail = triples
    names = [f"c{n:05d}" for n in range(CATEGORIES)]
    kinds = ["ad"] * items + ["category"] * CATEGORIES + ["user"] * users
    ids = _ids(items, users).tolist()
    with draft_snapshot(store) as draft:
        draft.write("entities", {"type": kinds, "id": [*ids[:items], *names, *ids[items:]]})
        draft.write(
            "triples",
            {
                "head": head.astype(np.int32),
                "relation": relation.astype(np.int16),
                "tail": tail.astype(np.int32),
                "weight": np.ones(len(head), np.float32),
                "time": np.zeros(len(head), np.int64),
            },
        )
        layout = Layout(
            types=[
                TypeRange("ad", 0, items),
                TypeRange("category", items, items + CATEGORIES),
                TypeRange("user", items + CATEGORIES, items + CATEGORIES + users),
            ],
            relations=[
                RelationInfo(name="click", head="user", tail="ad", source="onsite"),
                RelationInfo(name="belongs", head="ad", tail="category", source="structure"),
            ],
            interaction=InteractionInfo(
                head="user", tail="ad", exposure="impression", outcome="click"
            ),
            attributes={},
            watermark={"seq": 0, "as_of": 0},
            split={"protocol": "global_time", "shares": [0.4, 0.2, 0.1, 0.1, 0.2]},
        )
        return seal_snapshot(store, draft, layout, {})


def folder_of(work: Path, rows: int) -> ArtifactStore:
    """Where bundles of a size are kept."""
    return ArtifactStore(work / f"rows-{rows}" / "artifacts")
