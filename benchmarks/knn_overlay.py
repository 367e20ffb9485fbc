"""What has happened since a bundle was trained, for a server that has no log of it.

Takes an overlay and a bundle, puts changed and new entities of the type that is searched into it;
never asks a database. Changed ones stand in for their row of the index, so every search has to pass
over that.
"""

import numpy as np
from numpy.typing import NDArray

from api.overlay import Folded, Overlay, Place
from graphsvc.ids import EntityId
from kge.bundle import Bundle

#: Edges that each vector counts as solved from.
_EDGES = 5
#: How far a changed vector moves towards another one.
_STEP = 0.3


def changed_places(bundle: Bundle, count: int) -> NDArray[np.int64]:
    """Places of half of `count`, among those searched: the ones that have changed."""
    kind = bundle.types["ad"]
    return np.random.default_rng(13).permutation(kind.stop - kind.start)[: count // 2]


def fill(overlay: Overlay, bundle: Bundle, count: int) -> None:
    """Put `count` entities into an overlay: half are changed, and as many are new beside them."""
    kind = bundle.types["ad"]
    total = kind.stop - kind.start
    places = changed_places(bundle, count)
    others = np.random.default_rng(14).integers(total, size=len(places))
    own, other = (bundle.vectors[kind.start + some] for some in (places, others))
    between = ((1 - _STEP) * own + _STEP * other).astype(np.float32)
    for n, place in enumerate(places.tolist()):
        folded = Folded(between[n], _EDGES)
        changed = EntityId("ad", str(bundle.ids[kind.start + place]))
        overlay.put(changed, folded, replaces=Place(place, total))
        overlay.put(EntityId("ad", f"new{n:05d}"), folded)
