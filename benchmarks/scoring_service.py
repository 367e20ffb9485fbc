"""The service that benchmarks of scoring ask: MovieLens-100k, a live ranker of large ID tables.

Takes a folder, gives a service in it, trained at the first call and found again at later ones.
Never measures anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import live_service
from ladder_worlds import MovieLens, open_world

from api.jobs.steps import Workshop
from api.settings import read_settings
from graphsvc.snapshot import open_snapshot
from ranking.bundle import Ranker
from ranking.config import RankerConfig

#: The arm that the demo's page tells of.
ARM = "attention"
#: Hashed rows of each side: with them a table has a million rows, of which none is in a cache.
BUCKETS = 1 << 20


@dataclass(frozen=True)
class Made:
    """A service in a folder, with a live ranker."""

    folder: Path
    shop: Workshop
    digests: Mapping[str, str]

    def opened(self) -> Ranker:
        return live_service.opened(self.shop, dict(self.digests))

    def ids(self, type_: str) -> list[str]:
        """All of a type that the snapshot holds."""
        snapshot = open_snapshot(self.shop.store, self.digests["snapshot"], verify=False)
        place = snapshot.types[type_]
        found: list[str] = snapshot.ids[place.start : place.stop].tolist()
        return found


def ranker_dials(precision: str) -> RankerConfig:
    """The default ranker with large tables."""
    ids = replace(RankerConfig().ids, buckets=BUCKETS, served=precision)
    return replace(RankerConfig(), ids=ids)


def service_of(data: Path | None, work: Path, precision: str) -> Made:
    """The service whose ID rows are held in a precision."""
    source = MovieLens(data, read_settings().cache_dir)
    world = open_world(source, "ctr", work / precision, split="global_time", threads=2, dials={})
    settings = world.shop.settings.model_copy(update={"ranker": ranker_dials(precision)})
    shop = replace(world.shop, settings=settings)
    return Made(world.file.parent, shop, live_service.live_service(world, shop, ARM))
