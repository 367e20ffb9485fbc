"""The check of a snapshot before anything is trained on it: does the graph give labels away?

Takes a snapshot's digest, gives the leaks by relation; holds no rule of its own.
"""

from dataclasses import asdict
from typing import Any

from api.jobs.steps import Tick, Workshop
from graphsvc.leaks import find_leaks, refuse_leaks
from graphsvc.snapshot import open_snapshot


def check(shop: Workshop, snapshot: str, *, allowed: bool, tick: Tick) -> list[dict[str, Any]]:
    """Relation, leaked edges, edges and share of each relation that could leak.

    Raises `LeakFound` where one does, unless that is `allowed`.
    """
    leaks = find_leaks(open_snapshot(shop.store, snapshot))
    total = sum(leak.leaked for leak in leaks)
    tick(1, 1, f"{total} leaked edges")
    if not allowed:
        refuse_leaks(leaks)
    return [{**asdict(leak), "share": leak.share} for leak in leaks]
