"""Small worlds whose truth a reader sees.

Every world has users who lean left or right and films that lean left or right. An exposure ends in
an outcome exactly when both lean the same way. So every user and every film has a mean of one
half: means know nothing, and only the pair tells.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from graphsvc.artifact import ArtifactStore
from graphsvc.snapshot import (
    InteractionInfo,
    Layout,
    RelationInfo,
    Snapshot,
    Span,
    TypeRange,
    draft_snapshot,
    seal_snapshot,
)
from kge.arrays import BundleArrays
from kge.bundle import Bundle, seal_bundle
from ranking.bundle import EntityStates, ExposureStates, seal_ranker
from ranking.examples import build_examples

RELATIONS = (
    RelationInfo(name="click", head="user", tail="film", source="onsite"),
    RelationInfo(name="save", head="user", tail="film", source="onsite"),
    RelationInfo(name="sequel", head="film", tail="film", source="structure"),
)
KINDS = {
    "film": {"lean": "category", "tags": "list", "year": "number", "title": "text"},
    "user": {"lean": "category", "age": "number"},
}


@dataclass(frozen=True)
class World:
    store: ArtifactStore
    snapshot: Snapshot
    bundle: Bundle


def seal_world(store, events, *, users, films, attributes=(), protocol="per_user_time", triples=()):
    """A snapshot of events, films in the first rows.

    An event is (user, film, event, time, label, span[, rate[, position, conversion]]). Attributes
    are (row, name, JSON text[, time]), triples (head row, relation, tail row).
    """
    columns = list(zip(*(e[:6] for e in events), strict=True))
    attributes = sorted((a[0], a[1], a[3] if len(a) > 3 else 0, a[2]) for a in attributes)
    with draft_snapshot(store) as draft:
        draft.write(
            "entities",
            {
                "type": ["film"] * films + ["user"] * users,
                "id": [f"f{i}" for i in range(films)] + [f"u{i}" for i in range(users)],
            },
        )
        draft.write(
            "triples",
            {
                "head": [t[0] for t in triples],
                "relation": [t[1] for t in triples],
                "tail": [t[2] for t in triples],
                "weight": [1.0] * len(triples),
                "time": [0] * len(triples),
            },
        )
        draft.write(
            "interactions",
            {
                "head": [films + user for user in columns[0]],
                "tail": list(columns[1]),
                "event": list(columns[2]),
                "time": list(columns[3]),
                "label": list(columns[4]),
                "span": list(columns[5]),
                "position": [e[7] if len(e) > 7 else -1 for e in events],
                "sampling_rate": [e[6] if len(e) > 6 else 1.0 for e in events],
                "conversion": [e[8] if len(e) > 8 else -1 for e in events],
            },
        )
        draft.write(
            "attributes",
            {
                "row": [a[0] for a in attributes],
                "name": [a[1] for a in attributes],
                "time": [a[2] for a in attributes],
                "value": [a[3] for a in attributes],
            },
        )
        layout = Layout(
            types=[TypeRange("film", 0, films), TypeRange("user", films, films + users)],
            relations=RELATIONS,
            interaction=InteractionInfo(
                head="user", tail="film", exposure="impression", outcome="click"
            ),
            attributes=KINDS,
            watermark={"seq": len(events), "as_of": 0},
            split={"protocol": protocol},
        )
        return seal_snapshot(store, draft, layout, {})


def seal_vectors(store, snapshot, *, users, films, dim=4, width=3, seed=0):
    """A bundle that holds the first `users` users and the first `films` films.

    An even id leans left: its first coordinate is -1, else +1; the others are noise. Every
    relation keeps the first coordinates as they are and translates by nothing.
    """
    rng = np.random.default_rng(seed)
    count, relations = films + users, len(RELATIONS)
    vectors = rng.normal(scale=0.1, size=(count, dim)).astype(np.float32)
    lean = np.concatenate([np.arange(films), np.arange(users)]) % 2 * 2 - 1
    vectors[:, 0] = lean
    projections = np.tile(np.eye(width, dim, dtype=np.float32), (2 * relations, 1, 1))
    arrays = BundleArrays(
        types=[TypeRange("film", 0, films), TypeRange("user", films, count)],
        ids=np.array(
            [f"f{i}" for i in range(films)] + [f"u{i}" for i in range(users)], dtype=object
        ),
        vectors=vectors,
        bias=np.zeros(count, dtype=np.float32),
        degree=np.ones(count, dtype=np.int32),
        relations=RELATIONS,
        translations=np.zeros((2 * relations, width), dtype=np.float32),
        projections=projections,
        priors=np.zeros((2, dim), dtype=np.float32),
        frame_rows=np.array([0, films], dtype=np.int32),
    )
    return seal_bundle(store, snapshot.digest, arrays, dials={}, metrics={})


def leaning_events(users, films, per_span, *, seed=0):
    """`per_span` exposures of random pairs in each span, one second apart."""
    rng = np.random.default_rng(seed)
    events, time = [], 1_000
    for span in Span:
        for _ in range(per_span):
            user, film = int(rng.integers(users)), int(rng.integers(films))
            label = int(user % 2 == film % 2)
            time += 1
            events.append((user, film, 0, time, label, span))
            if label:
                events.append((user, film, 1, time, -1, span))
    return events


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def states():
    """States of n entities with what a test sets; all else is empty."""

    def make(ids, *, vectors=None, known=None, attributes=None, exposures=None, outcomes=None):
        count = len(ids)
        zeros = np.zeros(count, dtype=np.int64)
        return EntityStates(
            ids=np.array(ids, dtype=object),
            vectors=np.zeros((count, 4), np.float32) if vectors is None else vectors,
            known=np.ones(count, bool) if known is None else np.array(known),
            attributes=attributes or {},
            exposures=zeros if exposures is None else np.array(exposures, dtype=np.int64),
            outcomes=zeros if outcomes is None else np.array(outcomes, dtype=np.int64),
        )

    return make


@pytest.fixture
def retrained():
    """Another bundle of a world: the same entities in other coordinates."""

    def make(world):
        return seal_vectors(world.store, world.snapshot, users=30, films=20, seed=1)

    return make


@pytest.fixture
def world(store):
    """A snapshot of given events and a bundle that holds the first entities of each type."""

    def make(events, *, users, films, known_users, known_films, attributes=(), triples=()):
        snapshot = seal_world(
            store, events, users=users, films=films, attributes=attributes, triples=triples
        )
        bundle = seal_vectors(store, snapshot, users=known_users, films=known_films)
        return World(store, snapshot, bundle)

    return make


@pytest.fixture
def leaning(store):
    """A world in which attributes say who leans where, and a bundle knows it too.

    Users 0-29 of 40 are in the bundle; the others have to be folded in.
    """
    users, films = 40, 20
    attributes = [
        (films + user, "lean", '"left"' if user % 2 == 0 else '"right"') for user in range(users)
    ]
    attributes += [
        (film, "lean", '"left"' if film % 2 == 0 else '"right"') for film in range(films)
    ]
    attributes += [(film, "year", str(1990 + film)) for film in range(0, films, 2)]
    attributes += [(film, "tags", '["a", "b"]' if film < 10 else "[]") for film in range(films)]
    events = leaning_events(users, films, 600)
    snapshot = seal_world(store, events, users=users, films=films, attributes=attributes)
    bundle = seal_vectors(store, snapshot, users=30, films=films)
    return World(store, snapshot, bundle)


@pytest.fixture
def examples(leaning):
    """What a ranker learns from in `leaning`."""
    return build_examples(leaning.snapshot, leaning.bundle)


@pytest.fixture
def clicked(leaning):
    """The examples of `leaning`: clicks on early films convert, and places are by chance."""
    rng = np.random.default_rng(3)
    examples = build_examples(leaning.snapshot, leaning.bundle)
    rows = {}
    for span, part in examples.rows.items():
        early = np.array([int(film[1:]) < 10 for film in part.tails.ids])
        rows[span] = part._replace(
            conversions=np.where(part.labels == 1, early, -1).astype(np.int8),
            exposures=ExposureStates(rng.integers(4, size=len(early)), part.exposures.time),
        )
    return examples._replace(rows=rows)


@pytest.fixture
def seal(leaning):
    """Seal what was trained on `leaning`, and what may lie beside it."""

    def make(trained, **beside):
        return seal_ranker(
            leaning.store,
            trained,
            snapshot_digest=leaning.snapshot.digest,
            bundle_digest=leaning.bundle.digest,
            frame=leaning.bundle.frame,
            metrics={"auc": 0.5},
            **beside,
        )

    return make
