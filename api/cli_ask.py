"""The verbs that ask: neighbors, scores, what was sealed.

Takes ids, prints what a server would answer; never changes anything.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from api.errors import Invalid
from api.opening import open_database, open_store
from api.printing import AsJson, Output, Ticker, out
from api.settings import read_settings
from graphsvc import ledger
from graphsvc.artifact import KINDS
from graphsvc.ids import EntityId

if TYPE_CHECKING:
    from api.questions import Explanation
    from api.reasons import Reason

ask_app = typer.Typer()


@ask_app.command()
def neighbors(  # noqa: PLR0913  (an option for each parameter of the route)
    type_: Annotated[str, typer.Argument(metavar="TYPE")],
    id_: Annotated[str, typer.Argument(metavar="ID")],
    *,
    k: Annotated[int, typer.Option("-k", min=1, max=1000)] = 10,
    wanted: Annotated[
        list[str] | None, typer.Option("--type", help="by default TYPE; may be repeated")
    ] = None,
    facet: Annotated[
        str, typer.Option(help="a group of relations of GRAPHSVC_FACETS; all holds every relation")
    ] = "all",
    relation: Annotated[
        str | None, typer.Option(help="instead of the nearest, those who complete this relation")
    ] = None,
    direction: Annotated[
        Literal["out", "in"] | None,
        typer.Option(help="out: ID is the head of the relation; in: its tail"),
    ] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="JSON; see docs/neighbors.md")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why each is near: shared anchors, and paths.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The nearest entities of an entity, by the live bundle."""
    from api.answers import open_answerer
    from api.asking import ask_one
    from api.explaining import check_explained
    from api.filters import parse_filter
    from api.questions import Question

    question = Question(
        entity=EntityId(type_, id_),
        k=k,
        types=tuple(wanted or ()),
        facet=facet,
        relation=relation,
        direction=direction,
        filter=parse_filter(filter_) if filter_ else None,
        explain=explain,
    )
    check_explained(question)
    answerer, trio = open_answerer(read_settings())
    found = ask_one(answerer, trio, question)
    items: list[dict[str, Any]] = [
        {"type": n.type, "id": n.id, "distance": round(n.distance, 4)}
        | ({} if n.score is None else {"score": round(n.score, 4)})
        for n in found.items
    ]
    for item, why in zip(items, found.explanations, strict=False):
        item["why"] = _why(why)
    state = found.of.state if found.of else None
    more = [*(["score"] if relation else []), *(["why"] if explain else [])]
    table = ("neighbors", ("type", "id", "distance", *more))
    out(Output({"neighbors": items, "state": state, **trio.versions}, table=table), as_json=as_json)


def _why(explanation: "Explanation") -> list[str]:
    """An explanation in words: the anchors that both lean on, then the paths between the two."""
    anchors = [
        f"both lean on {one.anchor.type} {one.anchor.id} ({one.share:.0%})"
        for one in explanation.anchors
    ]
    arrows = {"out": "-{}->", "in": "<-{}-"}
    paths = [
        " ".join(
            f"{arrows[step.direction].format(step.relation)} {step.to.type} {step.to.id}"
            for step in path
        )
        for path in explanation.paths
    ]
    return [*anchors, *paths]


@ask_app.command()
def score(
    type_: Annotated[str, typer.Argument(metavar="TYPE")],
    id_: Annotated[str, typer.Argument(metavar="ID")],
    candidates: Annotated[list[str], typer.Argument(help="Ids of candidates.")],
    *,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say why each got its score; see docs/explanations.md."),
    ] = False,
    order: Annotated[
        str | None, typer.Option(help="ctr, cvr or ctcvr; by default the ranker's first.")
    ] = None,
    position: Annotated[
        int | None,
        typer.Option(
            min=0, max=999, help="The place in what is shown, from 0; by default the ranker's."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score candidates for an entity, by the live ranker."""
    from api.answers import open_answerer

    answerer, trio = open_answerer(read_settings())
    found = answerer.score(
        trio, EntityId(type_, id_), candidates, order=order, position=position, explain=explain
    )
    items = [item._asdict() for item in found.items]
    for item, scored in zip(items, found.items, strict=True):
        del item["why"]
        if scored.why:
            item["why"] = _because(scored.why)
    # A ranker of one head says all in the score.
    heads = tuple(found.items[0].probabilities) if found.items else ()
    more = (*(heads if len(heads) > 1 else ()), "known", *(["why"] if explain else []))
    if not as_json:  # which has them under their own name
        items = [item | item["probabilities"] for item in items]
    table = ("scores", ("id", "score", *more))
    out(
        Output(
            {
                "scores": items,
                "order": found.order,
                "position": found.position,
                "state": found.head.state,
                **trio.versions,
            },
            table=table,
        ),
        as_json=as_json,
    )


@ask_app.command()
def score_file(
    file: Annotated[Path, typer.Argument(help="A Parquet file with two columns of ids.")],
    *,
    to: Annotated[
        Path, typer.Option(help="A folder: not there yet, empty, or of a run that ended early.")
    ],
    head: Annotated[str, typer.Option(help="The column of those who are asked about.")] = "head",
    candidate: Annotated[str, typer.Option(help="The column of candidates.")] = "candidate",
    position: Annotated[
        int | None,
        typer.Option(min=0, max=999, help="The place that probabilities are for."),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option("--threads", min=1, max=256, help="By default one for each core."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score pairs in a Parquet file, by the live ranker; what ended early goes on."""
    from api import threads
    from api.answers import open_answerer
    from api.pairs import Lookup, Pairs
    from api.scorefile import Columns, run_of
    from api.scorefile import score_file as score_all

    threads.cap(1)  # in each worker
    answerer, trio = open_answerer(read_settings())
    # What computes is part of it: the last digits of scores depend on that.
    versions = {**trio.versions, "computed_by": trio.ranker.computed_by}
    run = run_of(file, Columns(head, candidate), position=position, versions=versions)
    lookup = Lookup(answerer.database, answerer.schema, answerer.foldin_edges)
    began = monotonic()
    with (
        ThreadPoolExecutor(cores or threads.available()) as workers,
        Ticker("score", quiet=as_json) as ticker,
    ):
        pairs = Pairs(lookup, trio, workers, position=position)
        done = score_all(file, to, run, pairs.score, ticker.tick)
    seconds = monotonic() - began
    told = {"folder": str(to), **asdict(done), "seconds": round(seconds, 3)}
    rate = round((done.rows - done.resumed) / max(seconds, 1e-9), 1)
    out(Output({**told, "rows_per_second": rate, **trio.versions}), as_json=as_json)


def _because(why: "Reason") -> list[str]:
    """A reason in words: the strongest fields, the heaviest tokens, and the score without."""
    return [
        *(f"{one.field} {one.change:+.3f}" for one in why.fields),
        *(f"looks at {one.token} ({one.head:.0%}, {one.tail:.0%})" for one in why.tokens),
        f"without offsite {why.without_offsite:.4f}",
        f"without KGE {why.without_kge:.4f}",
    ]


@ask_app.command()
def artifacts(
    *,
    kind: Annotated[
        str | None, typer.Option(help="snapshot, bundle, index, ranker, report")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was sealed, newest first, and what is live."""
    if kind not in (None, *KINDS):
        raise Invalid(f"kind should be one of {', '.join(KINDS)}, received {kind!r}")
    with open_database().reading() as connection:
        page = ledger.artifacts(connection, kind=kind, limit=limit, after=None)
    columns = ("digest", "kind", "state", "about", "created_at")
    rows = [{**asdict(row), "about": _about(row)} for row in page.items]
    out(Output({"artifacts": rows}, table=("artifacts", columns)), as_json=as_json)


def _about(row: ledger.ArtifactRow) -> str:
    """What tells an artifact from its siblings: its arm, and how good it is."""
    arm = row.summary.get("arm")
    figures = [f"{name} {value:.4g}" for name, value in row.metrics.items()]
    return ", ".join([f"arm {arm}", *figures] if arm else figures)


@ask_app.command()
def certificate(
    ranker: Annotated[str, typer.Argument(help="64 hexadecimal digits.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a ranker certifies about groups of people."""
    from ranking.bundle import certificate_of  # torch takes a second to import

    database = open_database()
    with database.reading() as connection:
        kind = ledger.artifact(connection, ranker).kind
    sealed = open_store(read_settings(), database).open(kind, ranker, verify=False)
    told = certificate_of(sealed)
    groups = [{"group": name, **one} for name, one in told["groups"].items()]
    columns = ("group", "r", "tau", "rows", "base_rate", "times_base_rate", "same_decision")
    shown = Output({**told, "groups": groups}, table=("groups", columns))
    out(Output(told) if as_json else shown, as_json=as_json)
