"""The verbs that ask: neighbors, scores, what was sealed.

Takes ids, prints what a server would answer; never changes anything.
"""

from dataclasses import asdict
from typing import Annotated

import typer

from api.errors import Invalid
from api.opening import open_database
from api.printing import AsJson, Output, out
from api.settings import read_settings
from graphsvc import ledger
from graphsvc.artifact import KINDS
from graphsvc.ids import EntityId

ask_app = typer.Typer()


@ask_app.command()
def neighbors(
    type_: Annotated[str, typer.Argument(metavar="TYPE")],
    id_: Annotated[str, typer.Argument(metavar="ID")],
    *,
    k: Annotated[int, typer.Option("-k", min=1, max=1000)] = 10,
    wanted: Annotated[str | None, typer.Option("--type", help="by default TYPE")] = None,
    relation: Annotated[
        str | None, typer.Option(help="instead of the nearest, those who complete this relation")
    ] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help="JSON; see docs/neighbors.md")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The nearest entities of an entity, by the live bundle."""
    from api.answers import open_answerer
    from api.asking import ask_one
    from api.filters import parse_filter
    from api.questions import Question

    answerer, trio = open_answerer(read_settings())
    question = Question(
        entity=EntityId(type_, id_),
        k=k,
        type=wanted,
        relation=relation,
        filter=parse_filter(filter_) if filter_ else None,
    )
    found = ask_one(answerer, trio, question)
    items = [
        {"type": n.type, "id": n.id, "distance": round(n.distance, 4)}
        | ({} if n.score is None else {"score": round(n.score, 4)})
        for n in found.items
    ]
    state = found.of.state if found.of else None
    table = ("neighbors", ("type", "id", "distance", *(["score"] if relation else [])))
    out(Output({"neighbors": items, "state": state, **trio.versions}, table=table), as_json=as_json)


@ask_app.command()
def score(
    type_: Annotated[str, typer.Argument(metavar="TYPE")],
    id_: Annotated[str, typer.Argument(metavar="ID")],
    candidates: Annotated[list[str], typer.Argument(help="Ids of candidates.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Score candidates for an entity, by the live ranker."""
    from api.answers import open_answerer

    answerer, trio = open_answerer(read_settings())
    found = answerer.score(trio, EntityId(type_, id_), candidates)
    items = [asdict(item) for item in found.items]
    table = ("scores", ("id", "score", "known"))
    out(
        Output({"scores": items, "state": found.head.state, **trio.versions}, table=table),
        as_json=as_json,
    )


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
