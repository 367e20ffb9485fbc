"""The versions of the schema: the database has them all, and the last one holds.

Takes a checked schema, gives the one that holds, with its version; never asks whether a change is
allowed (see `evolution.py`). Versions count from 1.
"""

import json
from dataclasses import replace

from sqlalchemy import Connection, func, insert, inspect, select

from graphsvc.db import wait_for_writers
from graphsvc.errors import SchemaMismatch, SchemaMissing, SchemaOutdated
from graphsvc.schema import Schema, parse_schema, to_document
from graphsvc.tables import entities, events, schemas

__all__ = [
    "current",
    "kept",
    "numbered",
    "require_current",
    "seed",
    "store",
    "text_of",
    "version",
]


def kept(connection: Connection) -> bool:
    """Whether the database has a place for schemas: it has not before its first migration."""
    return inspect(connection).has_table(schemas.name)


def version(connection: Connection) -> int:
    """The number of the version that holds; 0 before the first."""
    return int(connection.scalar(select(func.max(schemas.c.version))) or 0)


def current(connection: Connection) -> Schema:
    """The schema that holds. Raises `SchemaMissing` before the first."""
    row = connection.execute(
        select(schemas.c.version, schemas.c.document).order_by(schemas.c.version.desc()).limit(1)
    ).one_or_none()
    if row is None:
        raise SchemaMissing
    return replace(parse_schema(json.loads(row.document)), version=row.version)


def numbered(connection: Connection, number: int) -> Schema:
    """A version by its number. Raises `SchemaMissing` where there is none."""
    document = connection.scalar(select(schemas.c.document).where(schemas.c.version == number))
    if document is None:
        raise SchemaMissing(f"the schema has no version {number}")
    return replace(parse_schema(json.loads(document)), version=number)


def require_current(connection: Connection, schema: Schema) -> None:
    """Raise `SchemaOutdated` unless `schema` is the version that holds.

    Whoever writes under a schema calls it after `wait_for_writers`: a change waits for the same
    lock, so the version stays the last one until the writer's transaction ends.
    """
    held = version(connection)
    if schema.version != held:
        raise SchemaOutdated(
            f"version {schema.version} of the schema was used, and version {held} holds by now"
        )


def seed(connection: Connection, schema: Schema, *, now: int) -> Schema:
    """Make `schema` version 1 where there is none yet; gives the schema that holds.

    Raises `SchemaMismatch` where the graph was filled under another one before schemas were kept.
    """
    wait_for_writers(connection)
    if version(connection):
        return current(connection)
    held = set(connection.scalars(select(entities.c.type).distinct()))
    held_events = set(connection.scalars(select(events.c.event_name).distinct()))
    if lacking := sorted(held - set(schema.entities)):
        raise SchemaMismatch(
            f"the graph holds entities of type {', '.join(lacking)}, and schema {schema.name!r} "
            f"declares {', '.join(schema.entities)}; set GRAPHSVC_SCHEMA to the schema it was "
            "filled under"
        )
    if lacking := sorted(held_events - schema.named):
        raise SchemaMismatch(
            f"the graph holds events named {', '.join(lacking)}, which schema {schema.name!r} does "
            "not declare; set GRAPHSVC_SCHEMA to the schema it was filled under"
        )
    return store(connection, schema, 1, reason="first", now=now)


def store(connection: Connection, schema: Schema, number: int, *, reason: str, now: int) -> Schema:
    """Write version `number`, which holds from now on."""
    row = {"version": number, "document": text_of(schema), "reason": reason, "created_at": now}
    connection.execute(insert(schemas).values(row))
    return replace(schema, version=number)


def text_of(schema: Schema) -> str:
    """A schema as it is stored; equal texts are equal schemas with their relations in order."""
    # Not the canonical form: relations have an order, and snapshots number them by it.
    return json.dumps(to_document(schema), separators=(",", ":"), ensure_ascii=False)
