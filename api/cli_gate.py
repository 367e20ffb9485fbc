"""The verbs that look back: what the gate decided, what was promoted by whom, who wrote what.

Takes ids, prints rows and the numbers behind them; never decides, and never promotes.
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from api.audited import COLUMNS, line
from api.opening import open_database
from api.printing import AsJson, Output, out
from graphsvc import audit, ledger

gate_app = typer.Typer()

Limit = Annotated[int, typer.Option(min=1, max=100)]
_METRICS = ("head", "metric", "candidate", "champion", "gain", "lo", "hi", "margin", "finding")


@gate_app.command()
def decisions(
    decision: Annotated[
        str | None, typer.Argument(metavar="ID", help="A decision's id, for its numbers.")
    ] = None,
    *,
    only: Annotated[
        Literal["passed", "refused", "not decided"] | None,
        typer.Option(help="Those that say so."),
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List what the gate decided, newest first; or show one with its numbers."""
    from api.routes.decisions import columns
    from graphsvc import decisions as kept

    with open_database().reading() as connection:
        if decision is None:
            page = kept.page(connection, decision=only, limit=limit)
            rows = [dict(columns(row)) for row in page.items]
            table = ("decisions", ("id", "decision", "reason", "created_at"))
            out(Output({"decisions": rows}, table=table), as_json=as_json)
            return
        row = kept.decision(connection, decision)
    told = {**columns(row), "numbers": dict(row.numbers)}
    if as_json:
        out(Output(told), as_json=True)
        return
    out(_for_people(told), as_json=False)


def _for_people(told: dict[str, Any]) -> Output:
    """The metrics of each head as a table; of slices those that veto, and how many there are."""
    verdicts = told.pop("numbers").get("verdicts")
    if verdicts is None:
        return Output(told)
    told["metrics"] = [
        {"head": head, **metric} for head, one in verdicts.items() for metric in one["metrics"]
    ]
    slices = [(head, each) for head, one in verdicts.items() for each in one["slices"]]
    for name in ("rows", "users", "outcomes"):
        told[name] = ", ".join(f"{head} {one[name]}" for head, one in verdicts.items())
    told["slices"] = len({(head, each["slice"]) for head, each in slices})
    told["vetoes"] = [
        f"{head} {each['slice']} {each['metric']}"
        for head, each in slices
        if each["finding"] == "loss"
    ]
    return Output(told, table=("metrics", _METRICS))


@gate_app.command()
def promotions(*, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List what was promoted, newest first: when, by whom and why."""
    with open_database().reading() as connection:
        page = ledger.promotion_page(connection, limit=limit)
    rows = [asdict(row) for row in page.items]
    table = ("promotions", ("generation", "ranker", "reason", "promoted_by", "created_at"))
    out(Output({"promotions": rows}, table=table), as_json=as_json)


@gate_app.command("audit")
def audit_log(*, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List who asked for which write beyond ingestion, newest first, and what became of it.

    A line is a write; with `--json` both of its rows are given as they are kept.
    """
    with open_database().reading() as connection:
        if as_json:
            rows = [asdict(row) for row in audit.page(connection, limit=limit).items]
        else:
            rows = [line(write) for write in audit.writes(connection, limit=limit).items]
    out(Output({"audit": rows}, table=("audit", COLUMNS)), as_json=as_json)
