"""The tables of a database and those of an oracle, in one form that can be compared."""

import json
from typing import Any

import pytest
from oracle import Oracle
from semantics import tables

from graphsvc.db import Database


def of_oracle(oracle: Oracle) -> dict[str, Any]:
    """The oracle's tables in the form of `of_database`."""
    one, lives = oracle.canonical(), oracle.lives()
    edges = oracle.edges()
    return {
        "edges": {pair: (edge.count, edge.first, edge.last) for pair, edge in edges.items()},
        "decayed": pytest.approx({pair: edge.decayed for pair, edge in edges.items()}, rel=1e-7),
        "counters": oracle.counters(),
        "attributes": oracle.attributes(),
        "consents": oracle.consents(),
        "entities": {end: (*lives.get(end, (False, None)), one.get(end)) for end in oracle.named},
    }


def of_database(database: Database) -> dict[str, dict[Any, Any]]:
    """The projections by natural names."""
    found = tables(database)
    edges = found["edges"]
    return {
        "edges": {pair: (n, first, last) for pair, (n, first, last, _) in edges.items()},
        "decayed": {pair: decayed for pair, (*_, decayed) in edges.items()},
        "counters": found["counters"],
        "attributes": {
            place: (time, event_id, json.loads(value))
            for place, (value, time, event_id) in found["attributes"].items()
        },
        "consents": found["consents"],
        "entities": found["entities"],
    }
