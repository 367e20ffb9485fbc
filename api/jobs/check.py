"""The check of a snapshot before anything is trained on it.

Does the graph give labels away, and do the spans hold what rankers of conversions learn from? Takes
a snapshot's digest, gives the leaks by relation; holds no rule of its own.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from api.jobs.steps import Tick, Workshop
from graphsvc.errors import NotEnoughData
from graphsvc.leaks import find_leaks, refuse_leaks
from graphsvc.snapshot import Snapshot, Span, open_snapshot


def check(
    shop: Workshop, snapshot: str, *, allowed: bool, tick: Tick, heads: Sequence[str] = ("ctr",)
) -> list[dict[str, Any]]:
    """Relation, leaked edges, edges and share of each relation that could leak.

    `heads`: of the rankers that will be trained. Raises `LeakFound` where there is a leak, unless
    that is `allowed`, and `NotEnoughData` where a head would find nothing to learn from.
    """
    opened = open_snapshot(shop.store, snapshot)
    leaks = find_leaks(opened)
    total = sum(leak.leaked for leak in leaks)
    missing = opened.interaction.unseen if "cvr" in heads else 0
    left_out = f", {missing} clicks without consent left out of cvr" if missing else ""
    tick(1, 1, f"{total} leaked edges{left_out}")
    if not allowed:
        refuse_leaks(leaks)
    if "cvr" in heads:
        _refuse_without_conversions(opened)
    return [{**asdict(leak), "share": leak.share} for leak in leaks]


def unseen(shop: Workshop, snapshot: str) -> int:
    """Clicks that rankers of conversions leave out: nobody could have seen a conversion."""
    return open_snapshot(shop.store, snapshot, verify=False).interaction.unseen


def _refuse_without_conversions(snapshot: Snapshot) -> None:
    """Now, and not after hours of embedding."""
    found = snapshot.conversions_by_span()
    if not found[Span.TRAIN :].all():
        told = ", ".join(
            f"{span.name} {found[span, 1]} of {found[span].sum()}" for span in list(Span)[1:]
        )
        missing = snapshot.interaction.unseen
        left_out = (
            f" ({missing} clicks more are of people who had not agreed to offsite events, as far "
            "as the log says; where they had, post consent: true with onsite events, too)"
        )
        raise NotEnoughData(
            "rankers of conversions need clicks that led to one, and clicks that did not, in each "
            f"span behind graph; of the clicks whose windows are over, those that did are {told}"
            f"{left_out if missing else ''}; a window is over where both clicks and conversions "
            "have come from behind it: post more events, or choose shorter conversion_days, other "
            "shares, or the head ctr"
        )
