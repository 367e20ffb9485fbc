"""The verbs of the right to be forgotten: ask, list, verify, replay.

Takes a person or a number, prints what became of them; shows no id that it was not given.
"""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from api import erasure_list
from api.audit_rows import by_command
from api.certified import words
from api.errors import Invalid, UnknownName
from api.opening import open_database, open_store
from api.printing import AsJson, Output, Ticker, out
from api.settings import read_settings
from graphsvc import audit, erasures, versions
from graphsvc.db import Connection
from graphsvc.erasures import Erasure
from graphsvc.ids import EntityId

erase_app = typer.Typer()


@erase_app.command()
def erase(
    type_: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="E.g. user.")] = None,
    id_: Annotated[str | None, typer.Argument(metavar="[ID]", help="The application's id.")] = None,
    *,
    verify: Annotated[
        int | None, typer.Option(help="Look again at what the certificate of this erasure says.")
    ] = None,
    certificate: Annotated[
        int | None, typer.Option(help="Show the certificate of this erasure.")
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Erase again who is on a list, e.g. behind a restore.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Erase a person from everything that is kept; there is no way back.

    With --verify, --certificate or --replay: of people who were erased before.
    """
    others = [one is not None for one in (verify, certificate, replay)]
    if sum([type_ is not None or id_ is not None, *others]) != 1 or (type_ and id_ is None):
        raise Invalid(
            "say one of: TYPE and ID of a person, --verify NUMBER, --certificate NUMBER, "
            "--replay FILE"
        )
    if certificate is not None:
        _certificate(certificate, as_json)
    elif verify is not None:
        _verify(verify, as_json)
    elif replay is not None:
        _replay(replay, as_json)
    else:
        _erase(EntityId(str(type_), str(id_)), as_json)


@erase_app.command(name="erasures")
def list_erasures(
    type_: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="Of one person.")] = None,
    id_: Annotated[str | None, typer.Argument(metavar="[ID]", help="Their id.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Who was erased, by digest, newest first; with TYPE and ID, the erasures of one person."""
    if type_ is not None and id_ is None:
        raise Invalid("say TYPE and ID of a person, or neither")
    from api.jobs.queue import JobQueue
    from api.routes.erasures import newest, shown

    database = open_database()
    with database.reading() as connection:
        if type_ is not None and id_ is not None:
            found = erasures.find(connection, EntityId(type_, id_))
        else:
            found = list(reversed(erasures.every(connection)))
    job = None
    if not all(one.certificate for one in found):
        with closing(JobQueue(read_settings().jobs_url, database)) as queue:
            job = newest(queue, found)
    note = None if found or type_ is None else "nobody of this type and id was erased"
    items = [
        shown(one, job).model_dump() | {"rows": sum((one.removed or {}).values())} for one in found
    ]
    columns = ("erasure", "type", "state", "asked_at", "rows", "certificate")
    out(Output({"items": items}, table=("items", columns), note=note), as_json=as_json)


@erase_app.command()
def compact(*, as_json: AsJson = False) -> None:
    """Write the database's file anew, so that no copy of a deleted row is left in it.

    Nobody else writes meanwhile: a quiet hour is the time for a large one.
    """
    database = open_database()
    start = monotonic()
    with by_command(database, "compact", {}), Ticker("compact", quiet=as_json):
        done = database.rewrite()
    told = {"done": done, "seconds": round(monotonic() - start, 1)}
    out(Output(told, note=None if done else "somebody reads; do it again"), as_json=as_json)
    if not done:
        raise typer.Exit(1)


def _erase(entity: EntityId, as_json: bool) -> None:
    from api.jobs.asking import ask
    from api.jobs.queue import JobQueue

    database, settings = open_database(), read_settings()
    with database.reading() as connection:
        known = versions.current(connection).entities
    persons = [name for name, kind in known.items() if kind.person]
    if entity.type not in persons:
        raise UnknownName(
            f"type should be one of persons ({', '.join(persons)}), received {entity.type!r}: "
            "things are retired, by DELETE /v1/entities/{type}/{id}"
        )
    with database.transaction() as connection:
        about = {"type": entity.type, "subject": audit.subject(connection, entity)}
    written = by_command(database, "erase", about)
    with written, closing(JobQueue(settings.jobs_url, database)) as queue:
        asked = ask(database, queue, entity, erasure_list.path_of(settings))
    note = f"done before: `graphsvc erase --certificate {asked.erasure}`"
    if asked.job is not None:
        note = f"a worker does it (`graphsvc up` runs one); how far: `graphsvc jobs {asked.job}`"
    out(Output(asked._asdict(), note=note), as_json=as_json)


def _verify(number: int, as_json: bool) -> None:
    from api.jobs.certifying import verify
    from api.jobs.steps import open_workshop

    with open_database().reading() as connection:
        one = _done(connection, number)
    with Ticker("verify", quiet=as_json) as ticker:
        checks = verify(open_workshop(read_settings()), str(one.certificate), ticker.tick)
    failed = sum(not check.ok for check in checks)
    told = {
        "certificate": one.certificate,
        "ok": not failed,
        "checks": [asdict(check) for check in checks],
    }
    note = f"{len(checks)} checks, of which {failed} failed"
    table = ("checks", ("check", "ok", "looked_at"))
    out(Output(told, table=table, note=note), as_json=as_json)
    if failed:
        raise typer.Exit(1)


def _replay(file: Path, as_json: bool) -> None:
    from api.jobs.asking import see_to_it
    from api.jobs.queue import JobQueue

    database, settings = open_database(), read_settings()
    with by_command(database, "erase --replay", {}):
        again = erasure_list.replay(database, file)
    with closing(JobQueue(settings.jobs_url, database)) as queue:
        see_to_it(database, queue)
    out(Output({"erased_again": again}), as_json=as_json)


def _certificate(number: int, as_json: bool) -> None:
    """What a certificate says, for people who are not engineers."""
    with open_database().reading() as connection:
        one = _done(connection, number)
    sealed = open_store(read_settings(), open_database()).open("erasure", str(one.certificate))
    told = sealed.payload
    if as_json:
        out(Output(dict(told)), as_json=True)
    else:
        typer.echo("\n".join(words(one, sealed)))
        remains = {"remains": told["remains"]}
        out(Output(remains, table=("remains", ("what", "where", "until"))), as_json=False)


def _done(connection: Connection, number: int) -> Erasure:
    one = erasures.erasure(connection, number)
    if one.certificate is None:
        raise Invalid(f"erasure {number} should be done, and is under way: it has no certificate")
    return one
