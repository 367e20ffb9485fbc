"""The verbs that train and promote: one step of a retrain each, or a whole one.

Takes digests and dials, prints the digest of what was sealed, or the job that will seal it.
"""

import json
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from pydantic import TypeAdapter, ValidationError

from api.audit_rows import by_command
from api.errors import Invalid
from api.opening import open_database, open_store
from api.printing import AsJson, Output, Ticker, moment, out
from api.settings import read_settings
from graphsvc.ids import DIGEST
from graphsvc.joblog import Line
from graphsvc.snapshot import open_snapshot

if TYPE_CHECKING:
    from api.jobs.steps import Workshop

jobs_app = typer.Typer()

Seed = Annotated[int, typer.Option(help="Seed of every random choice.", min=0)]
AsOf = Annotated[
    str | None,
    typer.Option(help="The log as it was: seconds since 1970, or the digest of a snapshot."),
]
RankerOption = Annotated[
    str | None,
    typer.Option(help='Dials of the rankers as JSON: {"heads": "ctr_cvr", "epochs": 4}'),
]
PretrainingOption = Annotated[
    str | None,
    typer.Option(help='ID tables to pretrain, as JSON: {"facets": ["contrastive", "kge"]}'),
]
TrainingOption = Annotated[
    str | None,
    typer.Option(help='How rankers are trained, as JSON: {"federated": {"clients": "head"}}'),
]
ArmsOption = Annotated[
    str | None,
    typer.Option(
        help="Rankers to train; by default none,frozen,attention (in rounds attention_blank)."
    ),
]
SharesOption = Annotated[
    str | None,
    typer.Option(
        help="Of the exposures, in graph, train, valid, calibrate, test: 0.45,0.15,0.1,0.1,0.2"
    ),
]
ConversionsOption = Annotated[
    str | None, typer.Option(help="Events that count as conversions: add_to_cart,checkout")
]
UndecidedOption = Annotated[
    str | None, typer.Option(help="Why it is promoted also where the gate decides nothing.")
]
CarryOption = Annotated[
    bool, typer.Option("--carry", help="Begin ID rows where those of the live ranker ended.")
]
LeaksOption = Annotated[
    bool, typer.Option("--allow-leaks", help="Go on where edges give labels away.")
]
DaysOption = Annotated[
    float | None, typer.Option(help="Days after a click that a conversion still belongs to it.")
]
Digest = Annotated[str, typer.Argument(help="64 hexadecimal digits.")]
#: What the audit log has in place of a word that may be somebody's name.
_NOT_KEPT = "(not kept)"


@jobs_app.command()
def snapshot(
    *,
    split: Annotated[str, typer.Option(help="global_time or per_user_time")] = "global_time",
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Seal the graph as it is now, or as it was.

    With the digest of a snapshot as `--as-of`, that one is rebuilt: with its split, its
    shares and what counted as a conversion.
    """
    from api.jobs import requests, steps
    from api.jobs.moments import refuse_unusable
    from api.jobs.requests import RetrainRequest

    moment = _moment(as_of)
    shop = _workshop()
    refuse_unusable(shop.store, moment, name="--as-of")
    asked: dict[str, Any] = {"split": split, "as_of": moment}
    if isinstance(moment, str):
        then = open_snapshot(shop.store, moment)
        asked |= {"split": then.split["protocol"], "shares": then.split["shares"]}
        asked |= requests.conversions_of(then.interaction)
    request = RetrainRequest.model_validate(asked)
    about = request.model_dump(mode="json", include=set(asked))
    with by_command(shop.database, "snapshot", about), Ticker("snapshot", quiet=as_json) as ticker:
        digest = steps.snapshot(shop, request, ticker.tick)
    out(Output({"snapshot": digest}), as_json=as_json)


@jobs_app.command()
def embed(
    snapshot: Digest,
    *,
    seed: Seed = 0,
    item_only: Annotated[
        bool, typer.Option("--item-only", help="Learn from no edge of those who see exposures.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train TransRA on a snapshot."""
    from api.jobs import embedding

    shop = _workshop()
    about = {"snapshot": _plain(snapshot), "seed": seed, "item_only": item_only}
    with by_command(shop.database, "embed", about), Ticker("embed", quiet=as_json) as ticker:
        digest = embedding.embed(shop, snapshot, seed=seed, tick=ticker.tick, item_only=item_only)
    out(Output({"bundle": digest}), as_json=as_json)


@jobs_app.command()
def index(bundle: Digest, *, as_json: AsJson = False) -> None:
    """Build the FAISS index of a bundle."""
    from api.jobs import steps

    shop = _workshop()
    written = by_command(shop.database, "index", {"bundle": _plain(bundle)})
    with written, Ticker("index", quiet=as_json) as ticker:
        digest = steps.index(shop, bundle, ticker.tick)
    out(Output({"index": digest}), as_json=as_json)


@jobs_app.command(name="map")
def draw_map(bundle: Digest, *, as_json: AsJson = False) -> None:
    """Make the map of a bundle, which the page shows when the bundle is live."""
    from api.jobs import map as step

    shop = _workshop()
    written = by_command(shop.database, "map", {"bundle": _plain(bundle)})
    with written, Ticker("map", quiet=as_json) as ticker:
        digest = step.draw_map(shop, bundle, ticker.tick)
    out(Output({"map": digest}), as_json=as_json)


@jobs_app.command()
def rank(
    snapshot: Digest,
    bundle: Digest,
    *,
    arm: Annotated[str, typer.Option(help="none, frozen, attention, ...")] = "attention",
    ranker: RankerOption = None,
    training: TrainingOption = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train a ranker on a snapshot and a bundle."""
    from api.jobs import steps
    from api.jobs.choices import RankerChoice
    from api.jobs.moments import refuse_idle
    from api.jobs.requests import ArmName
    from api.jobs.training import TrainingChoice

    asked = None if training is None else _json("--training", training)
    choice = RankerChoice.model_validate({} if ranker is None else _json("--ranker", ranker))
    refuse_idle(choice, read_settings().ranker)
    how = steps.How(
        arm,
        seed,
        choice,
        None if asked is None else TrainingChoice.model_validate(asked),
    )
    shop = _workshop()
    about: dict[str, Any] = {"snapshot": _plain(snapshot), "bundle": _plain(bundle), "seed": seed}
    about |= {"arm": arm if arm in get_args(ArmName) else _NOT_KEPT}
    about |= {"ranker": choice.model_dump(mode="json", exclude_none=True)}
    if how.training is not None:
        about |= {"training": how.training.model_dump(mode="json", exclude_none=True)}
    written = by_command(shop.database, "rank", about)
    with written, Ticker(f"rank {arm}", quiet=as_json) as ticker:
        digest = steps.rank_as(shop, (snapshot, bundle), how, tick=ticker.tick)
    out(Output({"ranker": digest}), as_json=as_json)


@jobs_app.command()
def promote(
    ranker: Digest,
    *,
    reason: Annotated[
        str | None,
        typer.Option(help="Why; needed unless the gate let it pass. Kept with the promotion."),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Another bundle of its frame than it was trained on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a ranker and its bundle and index live; an earlier one rolls back."""
    from api.jobs.promotion import promote_by_hand

    database = open_database()
    about = {"ranker": ranker, "bundle": bundle, "reason": reason}
    with by_command(database, "promote", about):
        live = promote_by_hand(
            database,
            ranker,
            reason=reason,
            by="command line",
            bundle=bundle,
            field="--reason",
        )
    out(Output(asdict(live)), as_json=as_json)


@jobs_app.command()
def retrain(  # noqa: PLR0913  (an option for each field of the request)
    *,
    split: Annotated[str, typer.Option(help="global_time or per_user_time")] = "global_time",
    shares: SharesOption = None,
    arms: ArmsOption = None,
    ranker: RankerOption = None,
    pretraining: PretrainingOption = None,
    training: TrainingOption = None,
    conversions: ConversionsOption = None,
    conversion_days: DaysOption = None,
    seed: Seed = 0,
    promote: Annotated[
        bool, typer.Option(help="Make the best ranker's trio live if the gate lets it pass.")
    ] = True,
    promote_undecided: UndecidedOption = None,
    as_of: AsOf = None,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh", help="Begin with the live bundle, keep its frame, keep its ranker."
        ),
    ] = False,
    carry: CarryOption = False,
    allow_leaks: LeaksOption = False,
    as_json: AsJson = False,
) -> None:
    """Ask the worker for a whole retrain: snapshot to promotion."""
    from api.jobs import moments
    from api.jobs.queue import JobQueue
    from api.jobs.requests import JobName, RetrainRequest

    asked: dict[str, Any] = {
        "split": split,
        "seed": seed,
        "promote": promote,
        "promote_undecided": promote_undecided,
        "as_of": _moment(as_of),
        "refresh": refresh,
        "carry": carry,
        "allow_leaks": allow_leaks,
    }
    lists = {"shares": shares, "arms": arms, "conversions": conversions}
    asked |= {name: text.split(",") for name, text in lists.items() if text is not None}
    asked |= {} if conversion_days is None else {"conversion_days": conversion_days}
    objects = {"ranker": ranker, "pretraining": pretraining, "training": training}
    asked |= {name: _json(f"--{name}", text) for name, text in objects.items() if text is not None}
    request = RetrainRequest.model_validate(asked)
    database, settings = open_database(), read_settings()
    store = open_store(settings, database)
    moments.refuse_unusable(store, request.as_of, name="--as-of")
    moments.refuse_without_live(database, store, request)
    moments.refuse_facets(database, settings.facets)
    moments.refuse_idle(request.ranker, settings.ranker)
    moments.refuse_conversions(database, request, settings.ranker)
    moments.refuse_training(database, request)
    written = by_command(database, "retrain", request.model_dump(mode="json"))
    with written, closing(JobQueue(settings.jobs_url, database)) as queue:
        asked_for = asdict(queue.enqueue(JobName.RETRAIN, request))
    note = f"a worker does it (`graphsvc up` runs one); how far: `graphsvc jobs {asked_for['job']}`"
    out(Output(asked_for, note=note), as_json=as_json)


@jobs_app.command()
def jobs(
    job: Annotated[str | None, typer.Argument(help="A job's id, for its details.")] = None,
    *,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop it.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Let it go on behind its last finished step.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Do it again from the start, as a new job.")
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="What became of it, a line each.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first; or show, cancel, resume or retry one, or show its log."""
    from api.jobs.queue import JobQueue
    from api.routes.jobs import out_of

    if cancel + resume + retry + log > (job is not None):
        raise typer.BadParameter(
            "--cancel, --resume, --retry and --log want a job's id, one at a time"
        )
    database = open_database()
    with closing(JobQueue(read_settings().jobs_url, database)) as queue:
        if job and log:
            out(_lines(queue.log(job), as_json=as_json), as_json=as_json)
            return
        if job:
            asked = {"cancel": cancel, "resume": resume, "retry": retry, "get": True}
            verb = next(name for name, wanted in asked.items() if wanted)
            written = by_command(database, f"jobs --{verb}", {"job": job})
            with nullcontext() if verb == "get" else written:
                told = out_of(getattr(queue, verb)(job)).model_dump()
            steps = ("progress", ("step", "state", "done", "total", "note"))
            out(Output(told, table=steps), as_json=as_json)
            return
        found = [out_of(item).model_dump() for item in queue.page(limit=limit).items]
        columns = ("id", "name", "state", "step", "error", "updated_at")
        out(Output({"jobs": found}, table=("jobs", columns)), as_json=as_json)


def _lines(log: Sequence[Line], *, as_json: bool) -> Output:
    rows = [asdict(line) for line in log]
    if not as_json:
        rows = [row | {"at": moment(row["at"]), "step": row["step"] or ""} for row in rows]
    return Output({"log": rows}, table=("log", ("at", "level", "step", "message")))


def _moment(as_of: str | None) -> int | str | None:
    """What `--as-of` says: a second, or a digest. Raises `Invalid`."""
    from api.jobs import requests

    if as_of is None:
        return None
    # A digest may be all digits.
    value = int(as_of) if as_of.isdecimal() and len(as_of) < 64 else as_of
    try:
        moment: int | str = TypeAdapter(requests.AsOf).validate_python(value)
    except ValidationError as error:
        says = error.errors()[0]["msg"]
        raise Invalid(f"--as-of {says}, received {as_of[:80]!r}") from error
    return moment


def _json(name: str, text: str) -> Any:
    """What an option holds. Raises `Invalid`."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise Invalid(f"{name} should be a JSON object, received {text[:80]!r}: {error}") from error


def _plain(digest: str) -> str:
    """What the audit log says of an argument: a digest, which is nobody's name."""
    return digest if DIGEST.fullmatch(digest) else _NOT_KEPT


def _workshop() -> "Workshop":
    from api.jobs.steps import open_workshop  # torch takes a second to import

    open_database().dispose()  # refuses in one sentence what cannot be opened
    return open_workshop(read_settings())
