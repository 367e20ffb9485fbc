"""A service with a live ranker, as a retrain would leave it, but for its moment and its dials.

Takes a world of events, gives the digests of what is live in it; made at the first call, which
takes long, and found again at later ones. Never measures anything.
"""

from typing import Any

import orjson
from ladder_worlds import World

from api.jobs import steps
from api.jobs.forward import export_candidate
from api.jobs.promotion import promote
from api.jobs.steps import Workshop
from kge.bundle import open_bundle
from ranking.bundle import Ranker, open_ranker

#: What computes a ranker that is measured; pages say so.
COMPUTED = "ONNX Runtime"


def live_service(found: World, shop: Workshop, arm: str, *, judged: bool = True) -> dict[str, Any]:
    """Snapshot, bundle, index, ranker, its exported network, and report: their digests.

    The report if `judged`.
    """
    kept = found.file.parent / "live-exported.json"
    if not kept.exists():
        half = kept.with_suffix(".half")
        half.write_bytes(orjson.dumps(_made(found, shop, arm, judged=judged)))
        half.rename(kept)
    digests: dict[str, Any] = orjson.loads(kept.read_bytes())
    return digests


def opened(shop: Workshop, digests: dict[str, Any]) -> Ranker:
    """The ranker as servers have it. Raises `SystemExit` where its network was not exported."""
    bundle = open_bundle(shop.store, digests["bundle"])
    ranker = open_ranker(shop.store, digests["ranker"], bundle, forward=digests["forward"])
    if ranker.computed_by != COMPUTED:
        raise SystemExit(
            f"the ranker should be computed by {COMPUTED}, and is by {ranker.computed_by}; "
            "make the service without GRAPHSVC_FORWARD"
        )
    return ranker


def _made(found: World, shop: Workshop, arm: str, *, judged: bool) -> dict[str, Any]:
    sealed, bundle = found.snapshot(), found.bundle(0).digest
    index = steps.index(shop, bundle, _silent)
    ranker = steps.rank(shop, (sealed, bundle), arm=arm, seed=0, tick=_silent)
    decided = {"ranker": ranker, "bundle": bundle}
    forward = export_candidate(shop, decided, "benchmark")(_silent)
    made: dict[str, Any] = {"snapshot": sealed, "bundle": bundle, "index": index, "ranker": ranker}
    made["forward"] = forward
    if judged:
        made["report"] = steps.judge(shop, (sealed, bundle), {arm: ranker}, seed=0, tick=_silent)
    promote(shop.database, ranker, reason="measured")
    return made


def _silent(_done: int, _total: int, _note: str) -> None:
    return None
