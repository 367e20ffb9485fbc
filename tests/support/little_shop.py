"""A small shop of ads that was trained without a server: what is live, and who answers.

Even users click even ads and buy what these lead to.
"""

from collections.abc import Sequence
from pathlib import Path
from time import time
from typing import Any

import pytest
from loops import silent
from running import SMALL

from api.answers import Answerer
from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.promotion import promote
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop, open_workshop
from api.live import Live, Trio
from api.scoring import Scored
from api.settings import Settings
from api.setup import prepare
from graphsvc.ids import EntityId
from graphsvc.ingest import Rules, ingest
from graphsvc.schema import load_schema

ADS = load_schema("ads")
#: By the real clock, since edges have windows.
NOW = int(time())
START = NOW - 20 * 86_400
USERS, ITEMS, STEPS = 24, 12, 30
CANDIDATES = [f"a{n}" for n in range(ITEMS)]


def event(name: str, number: int, time_: int, actor: str, target: str) -> dict[str, Any]:
    declared = ADS.events[name]
    return {
        "event_id": f"{name}-{number}",
        "event_name": name,
        "event_time": time_,
        "action_source": declared.source,
        "actor": {"type": declared.head, "id": actor},
        "object": {"type": declared.tail, "id": target},
        "consent": True,
    }


def log() -> list[dict[str, Any]]:
    """Even users click even ads and buy what these lead to; an ad leads to one product."""
    made = [event("ad_of_product", n, START, f"a{n}", f"p{n}") for n in range(ITEMS)]
    made += [event("ad_of_advertiser", n, START, f"a{n}", f"x{n % 2}") for n in range(ITEMS)]
    for step in range(STEPS):
        for user in range(USERS):
            number, at = step * USERS + user, START + 7200 * (1 + step) + user
            ad = (step * 5 + user * 3 + step // 2) % ITEMS
            made.append(event("impression", number, at, f"u{user}", f"a{ad}"))
            if ad % 2 == user % 2:
                made.append(event("click", number, at + 5, f"u{user}", f"a{ad}"))
            if step % 3 == 0:
                product = f"p{(2 * step + user) % ITEMS}"
                made.append(event("add_to_cart", number, at + 60, f"u{user}", product))
    return made


class Shop:
    """A trained service without a server: what is live, and who answers."""

    def __init__(
        self,
        folder: Path,
        events: Sequence[dict[str, Any]] | None = None,
        arms: Sequence[str] = ("attention", "both"),
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            dials = {
                **SMALL,
                "GRAPHSVC_SCHEMA": "ads",
                "GRAPHSVC_RANKER__IDS__MIN_ROWS": "1",
                "GRAPHSVC_RANKER__TRAINING__TABLE_SHARE": "1.0",
                "GRAPHSVC_RANKER__TRAINING__LEARNING_RATE": "0.01",
            }
            for name, value in dials.items():
                patch.setenv(name, value)
            settings = Settings(data_dir=folder, database_url="")
        prepare(settings)
        self.work: Workshop = open_workshop(settings)
        self.schema = self.work.schema
        self.post(list(events or log()))
        self.bundle, self.rankers = self.retrain(*arms)
        self.answerer = Answerer(self.work.database, self.schema, 200)

    def post(self, events: list[dict[str, Any]]) -> None:
        with self.work.database.transaction() as connection:
            verdicts = ingest(connection, self.schema, events, now=NOW, rules=Rules(backfill=True))
        assert {verdict.status for verdict in verdicts} == {"accepted"}

    def retrain(self, *arms: str, previous: str | None = None) -> tuple[str, dict[str, str]]:
        snapshot = steps.snapshot(self.work, RetrainRequest(), silent)
        bundle = embed(self.work, snapshot, seed=1, tick=silent, previous=previous)
        steps.index(self.work, bundle, silent)
        return bundle, {
            arm: steps.rank(self.work, (snapshot, bundle), arm=arm, seed=1, tick=silent)
            for arm in arms
        }

    def live(self, arm: str, bundle: str | None = None) -> Trio:
        promote(self.work.database, self.rankers[arm], bundle=bundle, reason="test")
        live = Live(database=self.work.database, store=self.work.store, schema=lambda: self.schema)
        live.refresh()
        return live.trio()

    def scores(self, trio: Trio, user: str, *, explain: bool = False) -> dict[str, Scored]:
        found = self.answerer.score(trio, EntityId("user", user), CANDIDATES, explain=explain)
        return {one.id: one for one in found.items}
