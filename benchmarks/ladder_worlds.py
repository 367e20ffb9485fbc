"""What the ladder of rankers is measured on: logs, each read for a task.

Takes a data set or a folder, gives a schema and events per task; then snapshots, bundles and
examples, made by the steps of the service's own jobs. Never measures anything.

A folder is one world. It holds `events.jsonl`, an event a line as `graphsvc ingest` takes them and
as `graphsvc simulate` writes them, in order of time. A schema per task may lie beside it,
`ctr.toml` and `cvr.toml`, whose `label` is the task: which event shows something, and which one
afterwards is a 1. Without any, the schema is `ads`, ctr is its label, and cvr is what the service
says of clicks: whether somebody bought what the ad leads to.
"""

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import grid

from api.demo.data import FILES, fetch
from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop, open_workshop
from api.settings import Settings
from api.setup import prepare
from graphsvc.datasets import movielens
from graphsvc.evolution import change
from graphsvc.export import Split
from graphsvc.ingest import Rules, ingest
from graphsvc.leaks import find_leaks, refuse_leaks
from graphsvc.schema import Schema, load_schema, parse_schema, to_document
from graphsvc.snapshot import open_snapshot
from kge.bundle import Bundle, open_bundle
from ranking.examples import Examples, build_examples

TASKS = ("ctr", "cvr")
#: Of the spans, as the service cuts them: GRAPH ends at T0, TRAIN at T1, the one before TEST at T2.
SHARES = Split().shares
#: A graph up to T2, for the refreshed bundle; rankers have no use for what remains. Its last span
#: is the longest: labels of the newest exposures are open, and every span has to have some.
_EACH = SHARES[-1] / 20
LATER = (sum(SHARES[:-1]), *(_EACH for _ in SHARES[2:]), SHARES[-1] - _EACH * len(SHARES[2:]))
_BATCH = 2000
_RULES = Rules(backfill=True)
#: Why an offsite event of somebody who has not agreed is not taken.
_WITHHELD = ("consent_required", "opted_out")
#: A click is converted by a checkout up to so many days after it: of the latest click on an ad of
#: that product.
BOUGHT, DAYS = "checkout", 7.0
#: A rating of this is a conversion where ratings of 4 and 5 are what was shown; it comes in the
#: second of its click, so no more than a click's window and a minute at the log's end is not known.
_LOVED, _AT_ONCE = 5.0, 1 / 1440

Event = Mapping[str, Any]


class Source(Protocol):
    """A log that can be written: all that the ladder knows of a data set or a simulated world."""

    @property
    def name(self) -> str:
        """How pages call it; part of the names of cells."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those of `TASKS` that it has labels for."""

    def key(self, task: str) -> Any:
        """What its cells depend on, as plain JSON."""

    def schema(self, task: str) -> Schema:
        """The schema whose label is the task."""

    def counted(self, task: str) -> tuple[str, ...]:
        """Events that count as conversions of clicks; none where the schema's label is the task."""

    @property
    def ends_early(self) -> bool:
        """Whether the log ends while clicks are still to be converted: they have no label then."""

    @property
    def days(self) -> float:
        """So many days after a click a conversion still belongs to it."""

    def events(self, task: str) -> Iterator[Event]:
        """The events, in the order in which they are to be posted."""


@dataclass(frozen=True)
class MovieLens:
    """MovieLens-100k with its Freebase graph.

    ctr: of what was rated, what got 4 or 5. cvr: of what got 4 or 5, what got 5.
    """

    folder: Path | None
    cache: Path
    name: str = "movielens"
    tasks: tuple[str, ...] = TASKS
    ends_early: bool = False
    days: float = _AT_ONCE

    def key(self, task: str) -> Any:
        window = [self.days] if task == "cvr" else []
        if self.folder is None:  # what would be fetched, which a listing does not do
            return [self.name, task, *window]
        return [grid.digest_of([self.folder / name for name in FILES]), task, *window]

    def schema(self, task: str) -> Schema:
        film = load_schema("film")
        if task == "ctr":
            return film
        document = to_document(film)
        document["relations"]["love"] = document["relations"]["click"]
        return parse_schema(document)

    def counted(self, task: str) -> tuple[str, ...]:
        return ("love",) if task == "cvr" else ()

    def events(self, task: str) -> Iterator[Event]:
        folder = fetch(self.folder, self.cache)
        loved = _loved(folder) if task == "cvr" else frozenset()
        for event in movielens(folder):
            yield event
            if event["event_name"] != "click":
                continue
            if (event["actor"]["id"], event["object"]["id"]) in loved:
                yield {**event, "event_name": "love", "event_id": f"love-{event['event_id']}"}


def _loved(folder: Path) -> frozenset[tuple[str, str]]:
    with (folder / "ml-100k.inter").open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)
        return frozenset((user, film) for user, film, rating, _ in rows if float(rating) >= _LOVED)


@dataclass(frozen=True)
class Folder:
    """A world in a folder, e.g. a simulated one."""

    path: Path
    ends_early: bool = True
    days: float = DAYS

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def tasks(self) -> tuple[str, ...]:
        said = tuple(task for task in TASKS if self._file(task).is_file())
        return said or TASKS

    def key(self, task: str) -> Any:
        files = [self.path / "events.jsonl", self._file(task)]
        there = [file for file in files if file.is_file()]
        return [self.name, task, len(there), grid.digest_of(there), self.days]

    def schema(self, task: str) -> Schema:
        if self._file(task).is_file():
            return load_schema(str(self._file(task)))
        return load_schema("ads")

    def counted(self, task: str) -> tuple[str, ...]:
        return (BOUGHT,) if task == "cvr" and not self._file(task).is_file() else ()

    def events(self, task: str) -> Iterator[Event]:
        return self._known(task)

    def _file(self, task: str) -> Path:
        return self.path / f"{task}.toml"

    def _known(self, task: str) -> Iterator[Event]:
        declared = self.schema(task).named
        with (self.path / "events.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                event = json.loads(line)
                # Of two tasks' labels, either schema may know one alone.
                if event["event_name"] in declared:
                    yield event


@dataclass(frozen=True)
class World:
    """One log for one task, in a folder of its own, and what was made of it so far."""

    shop: Workshop
    split: str
    dials: Mapping[str, float]
    #: Events that count as conversions, and for how many days after a click; without any the
    #: schema's label is the task.
    counted: tuple[str, ...]
    days: float
    #: name -> digest of what is sealed already; also in a file, for the next time.
    made: dict[str, str]
    file: Path

    @property
    def head(self) -> str:
        """What rankers of the task answer."""
        return "cvr" if self.counted else "ctr"

    def snapshot(self, *, later: bool = False) -> str:
        """The snapshot at T0, or the one whose graph goes up to T2. Raises `LeakFound`."""
        shares = LATER if later else SHARES

        def take() -> str:
            asked: dict[str, Any] = {"split": self.split, "shares": shares}
            if self.counted:
                asked |= {"conversions": self.counted, "conversion_days": self.days}
            request = RetrainRequest.model_validate(asked)
            digest = steps.snapshot(self.shop, request, _silent)
            refuse_leaks(find_leaks(open_snapshot(self.shop.store, digest)))
            return digest

        return self._once(f"snapshot-{later}", take)

    def bundle(self, seed: int) -> Bundle:
        """What was trained on the graph up to T0."""
        return self._open(f"bundle-{seed}", lambda: self._embed(seed))

    def refreshed(self, seed: int) -> Bundle:
        """The same bundle, refreshed on the graph up to T2."""
        name, previous = f"refreshed-{seed}", self.bundle(seed).digest
        return self._open(name, lambda: self._embed(seed, later=True, previous=previous))

    def examples(self, bundle: Bundle) -> Examples:
        """The rows of the snapshot at T0, with the vectors of any bundle."""
        snapshot = open_snapshot(self.shop.store, self.snapshot(), verify=False)
        return build_examples(snapshot, bundle)

    def _embed(self, seed: int, *, later: bool = False, previous: str | None = None) -> str:
        snapshot = self.snapshot(later=later)
        transra = replace(self.shop.settings.transra, **self.dials)
        settings = self.shop.settings.model_copy(update={"transra": transra})
        shop = replace(self.shop, settings=settings)
        return embed(shop, snapshot, seed=seed, tick=_silent, previous=previous)

    def _open(self, name: str, make: Callable[[], str]) -> Bundle:
        return open_bundle(self.shop.store, self._once(name, make))

    def _once(self, name: str, make: Callable[[], str]) -> str:
        if name not in self.made:
            self.made[name] = make()
            self.file.write_text(json.dumps(self.made, indent=1) + "\n")
        return self.made[name]


def open_world(
    source: Source, task: str, folder: Path, *, split: str, threads: int, dials: Mapping[str, float]
) -> World:
    """The log of a source for a task; it is written once, and found again in the same folder."""
    told = grid.named(f"{source.name}-{task}", source.key(task))
    settings = Settings(
        data_dir=folder / told / "data",
        database_url="",
        GRAPHSVC_SCHEMA="ads",
        threads=threads,
        cache_dir=folder / "cache",
    )
    whole = folder / told / "written"
    fresh = not whole.exists()
    if fresh:
        prepare(settings)
    shop = open_workshop(settings)
    if fresh:
        _write(shop, source, task)
        whole.touch()
    named = grid.named("made", split, dict(dials))
    file = folder / told / f"{named}.json"
    made = json.loads(file.read_text()) if file.exists() else {}
    return World(shop, split, dials, source.counted(task), source.days, made, file)


def _write(shop: Workshop, source: Source, task: str) -> None:
    now, events = int(time.time()), source.events(task)
    with shop.database.transaction() as connection:
        change(connection, source.schema(task), reason=task, now=now)
    # It arrives as it happened, so a window that is open at its end is open for the service.
    arrived = 0 if source.ends_early else now
    while batch := list(islice(events, _BATCH)):
        arrived = max(arrived, *(event["event_time"] for event in batch))
        with shop.database.transaction() as connection:
            verdicts = ingest(connection, shop.schema, batch, now=arrived, rules=_RULES)
        for verdict in verdicts:
            # Offsite events of those who have not agreed are part of a world.
            if verdict.status == "conflict" or (
                verdict.status == "rejected" and verdict.code not in _WITHHELD
            ):
                said = f"{verdict.status}: {verdict.message}"
                raise SystemExit(f"an event of {source.name} was {said}")


def _silent(_done: int, _total: int, _note: str) -> None:
    return None
