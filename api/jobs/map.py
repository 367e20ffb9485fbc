"""The step that makes the map of a bundle, which the page shows.

Takes a digest, gives the digest of what was sealed; holds nothing of how points are laid out.
"""

from collections.abc import Callable

from api.jobs.steps import Tick, Workshop
from kge.bundle import open_bundle
from kge.map import build_map


def draw_map(shop: Workshop, bundle: str, tick: Tick, job_id: str | None = None) -> str:
    """Make and seal the map of a bundle."""
    opened = open_bundle(shop.store, bundle)
    made = build_map(
        shop.store, opened, shop.settings.map, lambda done, of: tick(done, of, "rounds")
    )
    return shop.record(made.artifact, job_id)


def mapping(shop: Workshop, bundle: str, job_id: str) -> Callable[[Tick], str | None]:
    """The step of a job; its result is None where settings say that there is to be no map."""
    wanted = shop.settings.map.enabled
    return lambda tick: draw_map(shop, bundle, tick, job_id) if wanted else None
