"""A graph that grows: MovieLens-100k as the service's log, read at moments that lie apart.

Takes the folder with the five files, gives snapshots, bundles and rankers, all made by the steps of
the service's own jobs; never measures anything.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop, open_workshop
from api.settings import Settings
from api.setup import prepare
from graphsvc import versions
from graphsvc.datasets import movielens
from graphsvc.ingest import Rules, ingest
from graphsvc.moment import moment_of_seq
from kge.bundle import Bundle, open_bundle

REFRESHES = 5
#: Share of the ratings that the first bundle may see; the rest comes in equal parts.
FIRST = 0.6
#: How rankers get the bundle's vectors, beside `none`.
ARMS = ("frozen", "attention")
_BATCH = 2000
_RULES = Rules(backfill=True)


@dataclass(frozen=True)
class World:
    """The log in a folder of its own, and what was made of it so far in this process."""

    shop: Workshop
    split: str
    #: rows of the log: the last one of each moment
    moments: Sequence[int]
    _made: dict[Any, Any] = field(default_factory=dict)

    def snapshot(self, moment: int) -> str:
        """The digest of the snapshot of a moment, 0 to `REFRESHES`."""
        if moment not in self._made:
            request = RetrainRequest.model_validate({"split": self.split})
            with self.shop.database.reading() as connection:
                found = moment_of_seq(connection, self.moments[moment])._asdict()
                found |= {"schema": versions.version(connection)}
            self._made[moment] = steps.snapshot(self.shop, request, _silent, at=found)
        return self._made[moment]

    def embed(
        self,
        moment: int,
        dials: Mapping[str, float],
        seed: int,
        previous: str | None = None,
    ) -> Bundle:
        """A bundle as the service trains it."""
        snapshot, shop = self.snapshot(moment), self.with_dials(dials)
        digest = embed(shop, snapshot, seed=seed, tick=_silent, previous=previous)
        return open_bundle(shop.store, digest)

    def first(self, dials: Mapping[str, float], seed: int) -> tuple[Bundle, Mapping[str, str]]:
        """The bundle of the first moment, and a ranker per arm that was trained on it."""
        key = (tuple(sorted(dials.items())), seed)
        if key not in self._made:
            bundle = self.embed(0, dials, seed)
            parents = (self.snapshot(0), bundle.digest)
            rankers = {
                arm: steps.rank(self.shop, parents, arm=arm, seed=seed, tick=_silent)
                for arm in ("none", *ARMS)
            }
            self._made[key] = bundle, rankers
        return self._made[key]

    def with_dials(self, dials: Mapping[str, float]) -> Workshop:
        transra = replace(self.shop.settings.transra, **dials)
        return replace(
            self.shop, settings=self.shop.settings.model_copy(update={"transra": transra})
        )


def open_world(data: Path, folder: Path, split: str, threads: int) -> World:
    """Write the log into an empty folder: attributes and triples, then the ratings by time."""
    settings = Settings(
        data_dir=folder / "data",
        database_url="",
        GRAPHSVC_SCHEMA="film",
        threads=threads,
        cache_dir=folder / "cache",
    )
    prepare(settings)
    shop = open_workshop(settings)
    events, clock = movielens(data), int(time.time())
    ratings: list[int] = []
    seq = 0
    while batch := list(islice(events, _BATCH)):
        with shop.database.transaction() as connection:
            verdicts = ingest(connection, shop.schema, batch, now=clock, rules=_RULES)
        for event, verdict in zip(batch, verdicts, strict=True):
            if verdict.status != "accepted":
                raise SystemExit(f"an event of the data was {verdict.status}: {verdict.message}")
            seq += 1
            if event["event_name"] == "impression":
                ratings.append(seq)
    last = [FIRST + (1 - FIRST) * step / REFRESHES for step in range(REFRESHES + 1)]
    # A click follows its impression, and belongs to the same moment.
    moments = [(ratings[round(share * len(ratings))] - 1) if share < 1 else seq for share in last]
    return World(shop, split, moments)


def _silent(_done: int, _total: int, _note: str) -> None:
    return None
