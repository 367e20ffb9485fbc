"""A world of as many films as are wanted, for what draws or lists all of them.

The planted world is trained; the bundle is then made wider by films whose vectors are planted, too:
each lies near the middle of its series, and that near the middle of its genre.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from planted import START, planted_events

from api.jobs import steps
from api.jobs.map import draw_map
from api.jobs.promotion import promote
from api.jobs.steps import Workshop
from graphsvc.snapshot import TypeRange
from kge.arrays import BundleArrays
from kge.bundle import Bundle, open_bundle, seal_bundle

GENRES, SERIES = 24, 15
_FIRST_YEAR = 1930


def wide_events(films: int) -> list[dict[str, Any]]:
    """The planted world, and what there is to say of so many more films."""
    return [*planted_events(), *_films(films)]


def widen(shop: Workshop, bundle: str, ranker: str, films: int) -> str:
    """Make the wider bundle, its index and its map, and promote it; the digest of the map."""
    held = open_bundle(shop.store, bundle)
    wider = seal_bundle(shop.store, held.snapshot_digest, _wider(held, films), dials={}, metrics={})
    shop.record(wider.artifact, None)
    steps.index(shop, wider.digest, _quietly)
    drawn = draw_map(shop, wider.digest, _quietly)
    promote(shop.database, ranker, bundle=wider.digest, reason="wider")
    return drawn


def _wider(held: Bundle, count: int) -> BundleArrays:
    films = held.types["film"]
    genre, series = _groups(count)
    draw = np.random.default_rng(12)
    normal = lambda *shape: draw.normal(size=shape).astype(np.float32)  # noqa: E731
    middles = normal(GENRES, held.dim)
    parts = middles[:, None] + 0.4 * normal(GENRES, SERIES, held.dim)
    vectors = parts[genre, series] + 0.25 * normal(count, held.dim)

    def joined(own: np.ndarray, added: np.ndarray) -> np.ndarray:
        return np.concatenate([own[: films.stop], added.astype(own.dtype), own[films.stop :]])

    types = [
        TypeRange(
            t.name,
            t.start + count * (t.start >= films.stop),
            t.stop + count * (t.stop >= films.stop),
        )
        for t in held.types.values()
    ]
    rows = held.frame_rows
    return replace(
        held.alone("all"),
        vectors=joined(held.vectors, vectors),
        bias=joined(held.bias, np.zeros(count)),
        degree=joined(held.degree, np.ones(count)),
        ids=joined(held.ids, np.array([_id(n) for n in range(count)], object)),
        types=types,
        frame_rows=np.where(rows >= films.stop, rows + count, rows).astype(rows.dtype),
        frame=held.frame,
        previous=held.digest,
    )


def _films(count: int) -> Iterator[dict[str, Any]]:
    genre, series = _groups(count)
    for film in range(count):
        yield {
            "event_id": f"wide-{film}",
            "event_name": "set_attributes",
            "event_time": START,
            "action_source": "structure",
            "actor": {"type": "film", "id": _id(film)},
            "properties": {
                "title": f"series {genre[film]}.{series[film]}, part {film}",
                "year": int(_FIRST_YEAR + series[film] * 6 + film % 6),
                "genres": [f"genre {genre[film]}"],
            },
        }


def _groups(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each film its genre, some of which are large, and its series."""
    draw = np.random.default_rng(11)
    share = 1 / np.arange(2, GENRES + 2)
    return draw.choice(GENRES, count, p=share / share.sum()), draw.integers(SERIES, size=count)


def _id(film: int) -> str:
    # Behind those of the planted world, as ids are sorted within a type.
    return f"w{film:06d}"


def _quietly(_done: int, _total: int, _note: str) -> None:
    """Nobody is told."""
