"""A simulated market in a database of its own, as the service knows it, and what is true of it.

Takes a world, gives snapshots, bundles, examples and, for their rows, the truth; never compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from graphs import only
from numpy.typing import NDArray

from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop, open_workshop
from api.settings import Settings
from api.setup import prepare
from graphsvc.export import Split
from graphsvc.ingest import Rules, ingest
from graphsvc.leaks import find_leaks, refuse_leaks
from graphsvc.simulate import NULLS, Market, World, as_events
from graphsvc.snapshot import Snapshot, open_snapshot
from kge.bundle import Bundle, open_bundle
from ranking.examples import Examples, LabelledRows, build_examples

DAY = 86_400
#: People by size. Each sees a page a day: 240 ads in 60 days.
SIZES = {"small": 500, "medium": 2_000, "large": 8_000}
#: How long after a click a purchase belongs to it: most do within two days, and what happened
#: in a longer window before the end of the log would be of no use.
WINDOW = 2 * DAY
_BATCH = 20_000
_RULES = Rules(backfill=True)


def world_of(kind: str, size: str, seed: int) -> World:
    """`kind`: default, or a null."""
    people = SIZES[size]
    world = World(
        seed=seed,
        people=people,
        ads=people // 2,
        products=people // 4,
        advertisers=people // 40,
        campaigns=people // 20,
        categories=20,
        pages_per_day=float(people),
    )
    return world if kind == "default" else replace(world, **{NULLS[kind]: False})


class Best(NamedTuple):
    """Of some rows: the best scores, and how likely a 1 is, by the chances of the market."""

    score: NDArray[np.float64]
    chance: NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """A market that was run, ingested and sealed."""

    shop: Workshop
    world: World
    snapshot: Snapshot
    #: a row per impression
    truth: NDArray[np.void]
    #: the last second of the log
    end: int
    events: int

    def bundle(self, graph: str, seed: int) -> Bundle:
        """An embedding of the span GRAPH, of all relations or of some, as the service trains it."""
        sealed = self.snapshot
        if graph != "both":
            sealed = only(self.shop.store, sealed, graph)
            self.shop.record(sealed.artifact, None)
        return open_bundle(
            self.shop.store, embed(self.shop, sealed.digest, seed=seed, tick=_silent)
        )

    def examples(self, bundle: Bundle) -> Examples:
        """All rows, with the labels of the service."""
        return build_examples(self.snapshot, bundle)

    def best(self, task: str, rows: LabelledRows) -> Best:
        """What the best ranker would say of them."""
        told = self.told(rows)
        if task == "cvr":
            mean = self.world.delay_hours * 3600
            # The truth is about a week; within it, delays are exponential.
            in_time = float(np.expm1(-WINDOW / mean) / np.expm1(-7 * DAY / mean))
            return Best(told["purchase"], told["purchase"] * in_time)
        clicked = told["looked_at"] * told["click"]
        return Best(clicked, clicked)

    def told(self, rows: LabelledRows) -> NDArray[np.void]:
        """The row of the truth about each: nobody sees an ad twice in a second."""
        user, ad = (
            np.array([int(id_[1:]) for id_ in side.ids.tolist()], dtype=np.int64)
            for side in (rows.heads, rows.tails)
        )
        people, mine = np.unique(self.truth["user"], return_inverse=True)
        width = int(self.truth["time"].max()) - self.world.start + 1
        theirs = np.searchsorted(people, user)

        def code(person: NDArray[Any], shown: NDArray[Any], when: NDArray[Any]) -> NDArray[Any]:
            pair = person.astype(np.int64) * self.world.ads + shown
            return pair * width + (when - self.world.start)

        known = code(mine, self.truth["ad"], self.truth["time"])
        order = np.argsort(known)
        asked = code(theirs, ad, rows.time)
        place = order[np.searchsorted(known[order], asked).clip(max=len(order) - 1)]
        if not np.array_equal(known[place], asked):
            raise SystemExit("every row should be an impression of the market, some are not")
        return self.truth[place]


def run(world: World, days: float, folder: Path, dials: Mapping[str, Any], threads: int) -> Known:
    """Run a market for some days into an empty folder, and seal what the service knows of it.

    Raises `LeakFound`.
    """
    settings = Settings(
        data_dir=folder / "data",
        database_url="",
        GRAPHSVC_SCHEMA="ads",
        threads=threads,
        cache_dir=folder / "cache",
    )
    settings = settings.model_copy(update={"transra": replace(settings.transra, **dials)})
    prepare(settings)
    shop, market = open_workshop(settings), Market(world)
    schema, truths, events, end = shop.schema, [], 0, world.start
    for chunk in market.stream(days=days, chunk=_BATCH):
        # It arrives as it happens, so windows that are open at its end are open for the service.
        end = int(chunk.events["time"][-1])
        with shop.database.transaction() as connection:
            log = list(as_events(market, chunk.events))
            verdicts = ingest(connection, schema, log, now=end, rules=_RULES)
        refused = [verdict for verdict in verdicts if verdict.status != "accepted"]
        if refused:
            raise SystemExit(f"an event was {refused[0].status}: {refused[0].message}")
        truths.append(chunk.truth)
        events += len(log)
    counted = {"conversions": ["checkout"], "conversion_days": WINDOW / DAY}
    request = RetrainRequest.model_validate({"shares": _shares(), **counted})
    sealed = open_snapshot(shop.store, steps.snapshot(shop, request, _silent))
    refuse_leaks(find_leaks(sealed))
    return Known(
        shop=shop,
        world=world,
        snapshot=sealed,
        truth=np.concatenate(truths),
        end=end,
        events=events,
    )


def _shares() -> list[float]:
    """The service's shares, but a tenth of all goes from the spans in the middle to TRAIN.

    Conversions are few; so a ranker of them has more to learn from.
    """
    graph, train, *middle, test = Split().shares
    return [graph, train + 0.1, *(share - 0.1 / len(middle) for share in middle), test]


def _silent(_done: int, _total: int, _note: str) -> None:
    return None
