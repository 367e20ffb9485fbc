"""The verbs of API keys: make, list, revoke.

Takes names and public ids, shows a key once; never prints a stored one, since only hashes are.
"""

from dataclasses import asdict
from time import time
from typing import Annotated

import typer

from api.opening import open_database
from api.printing import AsJson, Output, out
from graphsvc import keys

key_app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@key_app.command("create")
def key_create(
    *,
    name: Annotated[str, typer.Option(help="What it is for.")] = "unnamed",
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown once and stored as a hash."""
    with open_database().transaction() as connection:
        key = keys.create(connection, name=name, now=int(time()))
    out(Output({"name": name, "key": key}), as_json=as_json)


@key_app.command("list")
def key_list(*, as_json: AsJson = False) -> None:
    """List keys by their public id."""
    with open_database().reading() as connection:
        rows = [asdict(key) for key in keys.list_keys(connection)]
    out(Output({"keys": rows}, table=("keys", ("id", "name", "created_at"))), as_json=as_json)


@key_app.command("revoke")
def key_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: AsJson = False
) -> None:
    """Make a key worthless, in running servers within a second."""
    with open_database().transaction() as connection:
        keys.revoke(connection, key_id)
    out(Output({"revoked": key_id}), as_json=as_json)
