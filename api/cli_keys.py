"""The verbs of API keys: make, list, rotate, revoke.

Takes names, scopes and public ids, shows a key once; never prints a stored one, since only hashes
are.
"""

from dataclasses import asdict
from time import time
from typing import Annotated

import typer

from api.opening import open_database
from api.printing import AsJson, Output, moment, out
from graphsvc import audit, keys

key_app = typer.Typer(help="Make, list, rotate and revoke API keys.", no_args_is_help=True)

_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3600
_COLUMNS = ("id", "name", "scopes", "created", "expires", "last_used")


@key_app.command("create")
def key_create(
    *,
    name: Annotated[str, typer.Option(help="What it is for.")] = "unnamed",
    scope: Annotated[
        list[str],
        typer.Option(help=f"What it is good for, once for each of {', '.join(keys.SCOPES)}."),
    ] = list(keys.DEFAULT_SCOPES),  # noqa: B006  typer reads it, nobody writes to it
    expires_days: Annotated[
        float | None, typer.Option(min=0.001, max=3650, help="It ends so many days from now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown once and stored as a hash."""
    now = int(time())
    ends = None if expires_days is None else now + round(expires_days * _DAY_SECONDS)
    with open_database().transaction() as connection:
        key = keys.create(connection, name=name, now=now, scopes=scope, expires_at=ends)
        told = {"name": name, "scopes": list(keys.checked_scopes(scope)), "expires_at": ends}
        audit.done_by_command(connection, "key create", told | {"key": key.split("_")[1]}, now=now)
    out(Output({**told, "key": key}), as_json=as_json)


@key_app.command("list")
def key_list(*, as_json: AsJson = False) -> None:
    """List keys by their public id, with what they are good for and when they were last used."""
    with open_database().reading() as connection:
        rows = [asdict(key) for key in keys.list_keys(connection)]
    if not as_json:
        rows = [
            {
                **row,
                "scopes": " ".join(row["scopes"]),
                "created": moment(row["created_at"]),
                "expires": moment(row["expires_at"]) or "never",
                "last_used": moment(row["last_used_at"]) or "never",
            }
            for row in rows
        ]
    out(Output({"keys": rows}, table=("keys", _COLUMNS)), as_json=as_json)


@key_app.command("rotate")
def key_rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    grace_hours: Annotated[
        float, typer.Option(min=0, max=24 * 31, help="So long the former one still opens.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Make another key for the same in the place of one, which ends a while later."""
    now, grace = int(time()), round(grace_hours * _HOUR_SECONDS)
    with open_database().transaction() as connection:
        key = keys.rotate(connection, key_id, now=now, grace=grace)
        about = {"rotated": key_id, "key": key.split("_")[1]}
        audit.done_by_command(connection, "key rotate", about, now=now)
    out(Output({"rotated": key_id, "ends_at": now + grace, "key": key}), as_json=as_json)


@key_app.command("revoke")
def key_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: AsJson = False
) -> None:
    """Make a key worthless, in running servers within a second."""
    with open_database().transaction() as connection:
        keys.revoke(connection, key_id)
        audit.done_by_command(connection, "key revoke", {"key": key_id}, now=int(time()))
    out(Output({"revoked": key_id}), as_json=as_json)
