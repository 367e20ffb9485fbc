"""Small graphs for facets, whose pairs a reader sees; and tables that know everybody.

User n is of camp n mod 2, and so is film n; a user clicks films of the own camp alone. Structure
ties films of a camp to its genre.
"""

import numpy as np

from graphsvc.snapshot import RelationInfo, TypeRange
from ranking.pretraining.graph import FacetGraph
from ranking.pretraining.tables import FacetTable, SideTable

RELATIONS = (
    RelationInfo(name="click", head="user", tail="film", source="onsite"),
    RelationInfo(name="save", head="user", tail="film", source="onsite"),
    RelationInfo(name="film_of_genre", head="film", tail="genre", source="structure"),
)


def graph_of(triples, *, films, genres, users, weights=None) -> FacetGraph:
    """Triples (head, relation, tail) are rows: films first, then genres, then users."""
    ordered = sorted(range(len(triples)), key=lambda n: (triples[n][1], triples[n][0]))
    columns = np.array([triples[n] for n in ordered], dtype=np.int64).reshape(-1, 3)
    weight = np.ones(len(triples)) if weights is None else np.array(weights, dtype=np.float64)
    first = films + genres
    names = [f"f{n}" for n in range(films)] + [f"g{n}" for n in range(genres)]
    return FacetGraph(
        head=columns[:, 0].copy(),
        relation=columns[:, 1].copy(),
        tail=columns[:, 2].copy(),
        weight=weight[ordered].astype(np.float32),
        types=[
            TypeRange("film", 0, films),
            TypeRange("genre", films, first),
            TypeRange("user", first, first + users),
        ],
        relations=RELATIONS,
        ids=np.array(names + [f"u{n}" for n in range(users)], dtype=object),
        head_type="user",
        tail_type="film",
    )


def camps(*, users=40, films=20, clicks=6, seed=0) -> FacetGraph:
    """Each user clicks a few films of the own camp; the last user and the last film are alone."""
    random = np.random.default_rng(seed)
    first = films + 2
    triples = []
    for user in range(users - 1):
        own = np.arange(user % 2, films - 1, 2)
        chosen = random.choice(own, clicks, replace=False).tolist()
        triples += [(first + user, 0, film) for film in chosen]
    triples += [(film, 2, films + film % 2) for film in range(films - 1)]
    return graph_of(triples, films=films, genres=2, users=users)


def agreement(table) -> float:
    """Of heads and tails of a `FacetTable`, how often the nearest film is of the own camp."""
    users, films = (side.vectors for side in (table.heads, table.tails))
    users = users / np.linalg.norm(users, axis=1, keepdims=True)
    films = films / np.linalg.norm(films, axis=1, keepdims=True)
    nearest = (users @ films.T).argmax(axis=1)
    camp_of = [
        np.array([int(id_[1:]) % 2 for id_ in side.ids]) for side in (table.heads, table.tails)
    ]
    return float((camp_of[1][nearest] == camp_of[0]).mean())


def table_over(rows, *, dim=3) -> FacetTable:
    """A table of every user and film of some rows, with numbers of their own; sealed nowhere."""
    random = np.random.default_rng(0)
    sides = []
    for states in (rows.heads, rows.tails):
        ids = np.array(sorted(set(states.ids.tolist())), dtype=object)
        sides.append(SideTable(ids, random.normal(size=(len(ids), dim)).astype(np.float32)))
    return FacetTable(
        name="gnn", head_type="user", tail_type="film", heads=sides[0], tails=sides[1]
    )
