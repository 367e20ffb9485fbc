"""A service with a million ads, a real index and a trained ranker, and what it is asked.

Takes a folder and an inventory, gives a folder that a server can serve, bodies of requests by
their kind, and what each may be answered with; never measures anything. All of it is made by the
steps of the service's own jobs, at the first call.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import live_service
import numpy as np
import recommend_world as world
from ladder_worlds import open_world
from numpy.typing import NDArray
from recommend_world import Inventory

from api.answers import Answerer, answerer_of
from api.jobs.steps import Workshop
from api.live import Trio
from kge.bundle import open_bundle
from kge.index import open_index
from ranking.config import RankerConfig

#: The ranker's arm. All its dials, and those of the index, are by default.
ARM = RankerConfig().arm
#: Of TransRA: the default, said here because what is made goes by it. After fewer, vectors of this
#: inventory tell next to nothing, and no index but an exact one finds what is nearest among them.
EPOCHS = 6.0
#: Of what makes the service, so that other work may run beside it; it is not timed.
THREADS = 1
#: An advertiser's ads among those that are shown, where they are capped.
MOST = 2
CAP = {"relation": "ad_of_advertiser", "most": MOST}
#: What is asked, by name: whether what was clicked is out, whether a filter and a cap are given.
KINDS: Mapping[str, tuple[bool, bool, bool]] = {
    "plain": (False, False, False),
    "seen out": (True, False, False),
    "filtered": (False, True, False),
    "capped": (False, False, True),
    "all together": (True, True, True),
}


@dataclass(frozen=True)
class Made:
    """A service in a folder, with a live trio."""

    folder: Path
    shop: Workshop
    digests: Mapping[str, str]

    def told(self) -> dict[str, Any]:
        """What its artifacts say of themselves."""
        store = self.shop.store
        bundle = open_bundle(store, self.digests["bundle"])
        recipe = open_index(store, self.digests["index"], bundle).recipes["all", "ad"]
        ranker = store.open("ranker", self.digests["ranker"], verify=False)
        return {
            "index_kind": recipe.kind,
            "index_effort": recipe.effort,
            "index_reason": recipe.reason,
            "index_bytes_per_vector": recipe.bytes_per_vector,
            "valid_auc": ranker.metrics["valid_auc"],
            "entities": len(bundle.ids),
            **self.digests,
        }

    def opened(self) -> tuple[Answerer, Trio]:
        """The same in this process, as a server is when it has nothing left to catch up with."""
        answerer, trio = answerer_of(self.shop.settings, self.shop.database)
        while trio.tail.step():
            pass
        return answerer, trio


def made(work: Path, inventory: Inventory) -> Made:
    """The service of an inventory; the first call makes it, which takes long."""
    found = open_world(
        inventory, "ctr", work, split="global_time", threads=THREADS, dials={"epochs": EPOCHS}
    )
    digests = live_service.live_service(found, found.shop, ARM, judged=False)
    return Made(found.file.parent, found.shop, digests)


def body(
    inventory: Inventory, kind: str, who: int, *, retrieve: int, **more: Any
) -> dict[str, Any]:
    """What is asked for somebody: the route's defaults, but for what the kind is about.

    The filter takes videos, and images of one advertiser that they have clicked, and nothing of
    another one whom they have clicked, too.
    """
    seen_out, filtered, capped = KINDS[kind]
    asked: dict[str, Any] = {"head": {"type": "user", "id": world.person(who)}, **more}
    asked |= {"retrieve": retrieve, "seen": "out" if seen_out else "in"}
    if filtered:
        liked, blocked = (_of_advertiser(number) for number in _named(inventory, who))
        asked["filter"] = {
            "must": [{"type": "ad"}, {"attribute": "format", "in": ["image", "video"]}],
            "should": [{"attribute": "format", "equals": "video"}, liked],
            "must_not": [blocked],
        }
    if capped:
        asked["cap"] = CAP
    return asked


def allowed(inventory: Inventory, kind: str, who: int) -> NDArray[np.bool_]:
    """Which ads may be shown by a kind: from the inventory, and not from the service."""
    seen_out, filtered, _ = KINDS[kind]
    may = np.ones(inventory.items, np.bool_)
    if filtered:
        liked, blocked = _named(inventory, who)
        image, video = (world.FORMATS.index(name) for name in ("image", "video"))
        may &= (inventory.format == video) | (
            (inventory.format == image) & (inventory.advertiser == liked)
        )
        may &= inventory.advertiser != blocked
    if seen_out:
        may[inventory.clicked_by(who)] = False
    return may


def obeyed(inventory: Inventory, kind: str, who: int, shown: list[str]) -> bool:
    """Whether all that was shown may be: who passes, each once, and no more than the cap lets."""
    places = np.array([world.number_of(id_) for id_ in shown], np.int64)
    once = len(set(shown)) == len(shown)
    passes = bool(allowed(inventory, kind, who)[places].all())
    counts = np.bincount(inventory.advertiser[places])
    return once and passes and (not KINDS[kind][2] or int(counts.max(initial=0)) <= MOST)


def _named(inventory: Inventory, who: int) -> tuple[int, int]:
    """The advertiser whom somebody's filter asks for, and the one whom it leaves out."""
    liked = int(inventory.advertiser[inventory.history[who, 0]])
    others = inventory.advertiser[inventory.history[who]]
    blocked = [int(other) for other in others if other != liked]
    return liked, blocked[0] if blocked else (liked + 1) % inventory.advertisers


def _of_advertiser(number: int) -> dict[str, Any]:
    of = {"type": "advertiser", "id": world.advertiser(number)}
    return {"relation": "ad_of_advertiser", "of": of}
