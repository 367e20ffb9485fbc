import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crowds import crowd

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
from kge.arrays import BundleArrays, FacetArrays
from kge.bundle import Bundle, seal_bundle

with warnings.catch_warnings():
    # PyKEEN imports PyTorch Geometric, which calls what torch 2.13 has deprecated.
    warnings.simplefilter("ignore")
    import pykeen.models  # noqa: F401

FILMS, USERS = 7, 5


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def arrays() -> BundleArrays:
    """Seven films and five users, `click` from user to film and `sequel` from film to film."""
    draw = np.random.default_rng(7)
    count, dim, width = FILMS + USERS, 4, 3
    normal = lambda *shape: draw.normal(size=shape).astype(np.float32)  # noqa: E731
    return BundleArrays(
        types=[TypeRange("film", 0, FILMS), TypeRange("user", FILMS, count)],
        ids=np.array([f"f{n}" for n in range(FILMS)] + [f"u{n}" for n in range(USERS)], object),
        vectors=normal(count, dim),
        bias=normal(count),
        degree=np.array([1, 1, 4, 3, 3, 2, 2, 3, 3, 4, 3, 3], np.int32),
        relations=[
            RelationInfo(name="click", head="user", tail="film", source="onsite"),
            RelationInfo(name="sequel", head="film", tail="film", source="structure"),
        ],
        translations=normal(4, width),
        projections=normal(4, width, dim),
        priors=normal(2, dim) * np.float32(0.1),
        frame_rows=np.array([2, 9], np.int32),
    )


@pytest.fixture
def bundle(store: ArtifactStore, arrays: BundleArrays) -> Bundle:
    return seal_bundle(store, "0" * 64, arrays, dials={"dim": 4}, metrics={"loss": 1.5})


@pytest.fixture
def many(store: ArtifactStore, arrays: BundleArrays) -> Bundle:
    """Three thousand films in clusters, and forty users."""
    return seal_bundle(store, "0" * 64, crowd(arrays, 3000), dials={}, metrics={})


@pytest.fixture
def split_bundle(store: ArtifactStore, arrays: BundleArrays) -> Bundle:
    """The same, tails going through matrices of their own; and a facet of clicks alone."""
    draw = np.random.default_rng(8)
    own = draw.normal(size=arrays.projections.shape).astype(np.float32)
    clicks = FacetArrays(
        vectors=arrays.vectors[:, :2].copy(),
        bias=-arrays.bias,
        degree=arrays.degree - 1,
        relations=arrays.relations[:1],
        translations=arrays.translations[[0, 2]],
        projections=arrays.projections[[0, 2], :, :2].copy(),
        priors=arrays.priors[:, :2].copy(),
    )
    both = replace(arrays, tail_projections=own, facets={"clicks": clicks})
    return seal_bundle(store, "0" * 64, both, dials={}, metrics={})


Edge = tuple[str, str, str]
Act = tuple[str, str, int, int]


@pytest.fixture
def make_snapshot(store: ArtifactStore) -> Callable[..., Snapshot]:
    """A film snapshot from (head, relation, tail) edges and (user, film, time, span) outcomes.

    Names start with u (user), f (film) or t (thing).
    """

    def make(edges: list[Edge], acts: list[Act] = (), *, protocol: str = "global_time") -> Snapshot:  # type: ignore[assignment]
        kinds = {"f": "film", "t": "thing", "u": "user"}
        names = {end for head, _, tail in edges for end in (head, tail)}
        names |= {end for user, film, _, _ in acts for end in (user, film)}
        ordered = sorted((kinds[name[0]], name) for name in names)
        row = {name: n for n, (_, name) in enumerate(ordered)}
        types = []
        for kind in ("film", "thing", "user"):
            rows = [n for n, (k, _) in enumerate(ordered) if k == kind]
            if rows:
                types.append(TypeRange(kind, rows[0], rows[-1] + 1))
        relations = [
            RelationInfo(name="click", head="user", tail="film", source="onsite"),
            RelationInfo(name="genre", head="film", tail="thing", source="structure"),
        ]
        code = {relation.name: n for n, relation in enumerate(relations)}
        triples = sorted((code[r], row[h], row[t]) for h, r, t in edges)
        with draft_snapshot(store) as draft:
            draft.write(
                "entities", {"type": [k for k, _ in ordered], "id": [name for _, name in ordered]}
            )
            draft.write(
                "triples",
                {
                    "head": [h for _, h, _ in triples],
                    "relation": [r for r, _, _ in triples],
                    "tail": [t for _, _, t in triples],
                    "weight": [1.0] * len(triples),
                    "time": [0] * len(triples),
                },
            )
            draft.write(
                "interactions",
                {
                    "head": [row[user] for user, *_ in acts],
                    "tail": [row[film] for _, film, *_ in acts],
                    "event": [1] * len(acts),
                    "time": [time for *_, time, _ in acts],
                    "label": [-1] * len(acts),
                    "span": [span for *_, span in acts],
                    "position": [-1] * len(acts),
                    "sampling_rate": [1.0] * len(acts),
                    "conversion": [-1] * len(acts),
                },
            )
            layout = Layout(
                types=types,
                relations=relations,
                interaction=InteractionInfo(
                    head="user", tail="film", exposure="impression", outcome="click"
                ),
                attributes={},
                watermark={"seq": len(acts), "as_of": 0},
                split={"protocol": protocol, "shares": [0.4, 0.2, 0.1, 0.1, 0.2]},
            )
            return seal_snapshot(store, draft, layout, {})

    return make
