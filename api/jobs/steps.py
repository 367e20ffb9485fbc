"""The steps of a job as plain functions: open the parents, call one room, seal the child.

Takes digests and dials, gives the digest of what was sealed; holds no logic of a room. Jobs and
the command line call the same functions. Each step may be run twice: from the same parents it
seals the same artifact and writes the same ledger row. A snapshot has the log for a parent, so a
job chooses the moment first, in a step of its own.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from api import threads
from api.jobs import erasing
from api.jobs.choices import RankerChoice
from api.jobs.moments import digests_of
from api.jobs.requests import RetrainRequest
from api.jobs.training import TrainingChoice
from api.opening import open_store
from api.provenance import header
from api.settings import Settings
from graphsvc import ledger, versions
from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from graphsvc.db import Database
from graphsvc.errors import ArtifactMissing
from graphsvc.export import Moment, Split, export_snapshot, moment_at_time, present_moment
from graphsvc.leaks import find_leaks, leak_rows
from graphsvc.report import as_report
from graphsvc.schema import Schema
from graphsvc.snapshot import open_snapshot
from kge import heldout
from kge.bundle import Bundle, open_bundle
from kge.index import build_index
from ranking.bundle import open_ranker, seal_ranker
from ranking.evaluate import Answers, answers_of, judge_heads
from ranking.examples import Examples, build_examples

#: Told how far a step is: done, total, note.
Tick = Callable[[int, int, str], None]

Progress = TypeVar("Progress")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Workshop:
    """All that steps need: the database, the artifacts and the dials."""

    settings: Settings
    database: Database
    store: ArtifactStore
    #: The last examples built: three arms and the judge use the same ones.
    _examples: dict[tuple[str, str], Examples] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        """The schema that holds at this moment."""
        with self.database.reading() as connection:
            return versions.current(connection)

    def record(self, artifact: Artifact, job_id: str | None) -> str:
        """Write an artifact's row in the ledger and give its digest.

        Who was erased since its parents were read is not in what is recorded: its successor is.
        """
        return erasing.recorded(self.database, self.store, artifact, job_id)

    def forget_examples(self) -> None:
        """Let go of the last examples: what comes next is of another bundle and needs the room."""
        self._examples.clear()

    def examples(self, snapshot: str, bundle: str) -> Examples:
        """The labelled rows of a snapshot under a bundle."""
        key = (snapshot, bundle)
        found = self._examples.get(key)
        if found is None:
            self._examples.clear()
            found = self._examples[key] = build_examples(
                open_snapshot(self.store, snapshot),
                open_bundle(self.store, bundle),
            )
        return found


def open_workshop(settings: Settings) -> Workshop:
    """Everything that steps need, for a worker or the command line."""
    threads.cap(settings.threads)
    database = Database(settings.graph_url)
    return Workshop(settings, database, open_store(settings, database))


def moment(shop: Workshop, request: RetrainRequest) -> dict[str, Any]:
    """What a snapshot is taken at, now or when it is taken again: by default the log's end.

    And under which version of the schema: one that is changed meanwhile is for the next job; so is
    a trio that is promoted while a refresh of the one before is under way. Raises `NotLiveYet`.
    """
    as_of = request.as_of
    with shop.database.reading() as connection:
        if as_of is None:
            found = present_moment(connection)
        elif isinstance(as_of, int):
            found = moment_at_time(connection, as_of)
        else:
            watermark = open_snapshot(shop.store, as_of).watermark
            found = Moment(watermark["seq"], watermark["observed"])
        chosen: dict[str, Any] = {**found._asdict(), "schema": versions.version(connection)}
        if request.begins_with_live:
            chosen["live"] = digests_of(ledger.live(connection), field=request.begins_with_live)
        return chosen


def snapshot(
    shop: Workshop,
    request: RetrainRequest,
    tick: Tick,
    job_id: str | None = None,
    *,
    at: Mapping[str, Any] | None = None,
) -> str:
    """Seal the graph and its interactions at a moment, by default the one that is asked for."""
    chosen = at or moment(shop, request)
    with shop.database.reading() as connection:
        sealed = export_snapshot(
            connection,
            shop.store,
            versions.numbered(connection, chosen["schema"]),
            Split(protocol=request.split, shares=request.shares),
            at=Moment(chosen["seq"], chosen["as_of"]),
            conversions=request.counted,
            progress=lambda done, total: tick(done, total, "events"),
        )
    return shop.record(sealed.artifact, job_id)


def index(shop: Workshop, bundle: str, tick: Tick, job_id: str | None = None) -> str:
    """Build the index of a bundle, each part of the kind that its vectors need.

    Without those that were out of answers at the moment of the bundle's snapshot, or are erased.
    """
    opened = open_bundle(shop.store, bundle)
    out = np.union1d(_retired(shop.store, opened), opened.erased).astype(np.int32)
    built = build_index(shop.store, opened, shop.settings.index, tick, left_out=out)
    return shop.record(built.artifact, job_id)


def _retired(store: ArtifactStore, bundle: Bundle) -> NDArray[np.int32]:
    """Bundle rows of what was retired at its snapshot; none where that is gone by now."""
    try:
        source = open_snapshot(store, bundle.snapshot_digest)
    except ArtifactMissing:
        return np.empty(0, np.int32)
    gone = source.retired()
    found = [
        bundle.rows(kind.name, source.ids[gone[(gone >= kind.start) & (gone < kind.stop)]])
        for kind in source.types.values()
    ]
    rows = np.sort(np.concatenate([np.empty(0, np.int32), *found]))
    return rows[rows >= 0]


class How(NamedTuple):
    """How one ranker is trained: its arm, and what the request says of its dials."""

    arm: str
    seed: int
    #: What is left out is as the settings say.
    ranker: RankerChoice | None = None
    #: By plain epochs in one place where nothing is chosen.
    training: TrainingChoice | None = None
    #: The ranker whose ID rows its own begin with; None: they begin anew.
    carried: str | None = None


def rank(
    shop: Workshop,
    parents: tuple[str, ...],
    *,
    arm: str,
    seed: int,
    tick: Tick,
    job_id: str | None = None,
    choice: RankerChoice | None = None,
) -> str:
    """Train one arm of the ranker by plain epochs: `rank_as`."""
    return rank_as(shop, parents, How(arm, seed, choice), tick=tick, job_id=job_id)


def rank_as(
    shop: Workshop, parents: tuple[str, ...], how: How, *, tick: Tick, job_id: str | None = None
) -> str:
    """Train one arm of the ranker on (snapshot, bundle, tables ...), seal it with its pictures."""
    from api.jobs.carrying import carried
    from api.jobs.embedding import check_item_only
    from api.jobs.teaching import teach
    from ranking.carrying import going_on
    from ranking.pretraining.tables import open_table

    if how.training is not None and how.training.item_only:
        check_item_only(shop, parents[1])
    config = replace(shop.settings.ranker, arm=how.arm, seed=how.seed)
    config = config if how.ranker is None else how.ranker.over(config)
    examples = shop.examples(*parents[:2])._replace(
        facets=tuple(open_table(shop.store, digest) for digest in parents[2:])
    )
    known = None if how.carried is None else carried(shop, parents[0], how.carried, examples)
    made = teach(examples, config, how.training, tick, known=known)
    trained = made.trained
    if how.carried is not None:
        trained = going_on(shop.store, trained, how.carried)
    ranker = seal_ranker(
        shop.store,
        trained,
        snapshot_digest=parents[0],
        bundle_digest=parents[1],
        frame=examples.frame,
        metrics=made.metrics,
        beside=made.beside,
    )
    return shop.record(ranker.artifact, job_id)


def judge(
    shop: Workshop,
    parents: tuple[str, str],
    rankers: Mapping[str, str],
    *,
    seed: int,
    tick: Tick,
    job_id: str | None = None,
    refreshed: bool = False,
) -> str:
    """Measure bundle and rankers on the test span, beside their rivals; seal the report.

    `refreshed`: rankers were trained on other bundles of the frame; each is judged on the same rows
    with that one too, as `ranker_<arm>_original`.
    """
    tick(0, 2, "link prediction on held-out edges")
    source, bundle = open_snapshot(shop.store, parents[0]), open_bundle(shop.store, parents[1])
    rows = heldout.evaluate(bundle, source, seed=seed)
    tick(1, 2, "rankers and rivals")
    originals = _originals(shop, parents[0], rankers) if refreshed else []
    examples = shop.examples(*parents)
    told = [
        answers_of(examples, open_ranker(shop.store, digest, bundle), f"ranker_{arm}")
        for arm, digest in rankers.items()
    ]
    answers: dict[str, dict[str, NDArray[np.float64]]] = {}
    for one in [*told, *originals]:
        for head, models in one.items():
            answers.setdefault(head, {}).update(models)
    pairs = [(f"ranker_{arm}", f"ranker_{arm}_original") for arm in rankers]
    rows += judge_heads(examples, answers, seed=seed, pairs=pairs)
    rows += leak_rows(source, find_leaks(source))
    tick(2, 2, "")
    dials: dict[str, Any] = {"seed": seed, "split": dict(source.split)}
    recipe = Recipe(
        kind="report",
        parents={
            "snapshot": parents[0],
            "bundle": parents[1],
            **{f"ranker_{arm}": digest for arm, digest in rankers.items()},
        },
        dials=dials,
        payload=as_report([replace(row, seed=seed) for row in rows], header(dials)),
    )
    with shop.store.draft() as draft:
        return shop.record(shop.store.seal(draft, recipe), job_id)


def _originals(shop: Workshop, snapshot: str, rankers: Mapping[str, str]) -> list[Answers]:
    """What rankers say of the test rows with the bundles that they were trained on."""
    told = []
    for arm, digest in rankers.items():
        own = shop.store.open("ranker", digest, verify=False).parents["bundle"]
        ranker = open_ranker(shop.store, digest, open_bundle(shop.store, own))
        told.append(answers_of(shop.examples(snapshot, own), ranker, f"ranker_{arm}_original"))
    return told


def best_on_valid(shop: Workshop, rankers: Sequence[str]) -> str:
    """The ranker with the least log loss (of all its heads) on valid; the first of equals."""
    opened = [shop.store.open("ranker", digest, verify=False) for digest in rankers]
    return min(opened, key=lambda ranker: float(ranker.metrics["valid_loss"])).digest


def drain(training: Generator[Progress, None, Result], tell: Callable[[Progress], None]) -> Result:
    """Run a training loop to its end, telling how far it is."""
    while True:
        try:
            progress = next(training)
        except StopIteration as finished:
            return finished.value
        tell(progress)
