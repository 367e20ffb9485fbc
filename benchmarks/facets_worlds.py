"""What facets are measured on: a graph of a first span of time, and the rows behind it.

Takes a simulated world or MovieLens-100k, gives a `FacetGraph` and labelled rows as columns; never
pretrains and never ranks. Markets come as columns, straight from the simulator: a log of millions
of ids would spend its time in a database.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.export import Split
from graphsvc.schema import load_schema, to_document
from graphsvc.simulate import KINDS, NULLS, Market, World
from graphsvc.simulate.goods import FORMATS
from graphsvc.simulate.people import COUNTRIES, GENDERS, ages, countries, genders
from graphsvc.snapshot import RelationInfo, Span, TypeRange
from ranking.examples import counts_before
from ranking.pretraining.graph import FacetGraph

#: A click is known so long after its impression: none takes longer.
_KNOWN_AFTER = 60
#: Pseudo exposures at the base rate in a smoothed rate.
_SMOOTHING = 10.0
_LIKED = 4.0
_YEARS = 10

Numbers = NDArray[np.int64]


class Rows(NamedTuple):
    """n labelled exposures by time; heads and tails by number within their type."""

    head: Numbers
    tail: Numbers
    label: NDArray[np.int8]
    span: NDArray[np.int8]
    #: [n, C] codes of what is known of both and of the exposure, each from 0
    codes: Numbers
    #: [n, 2] logits of smoothed rates before the row, less that of the base rate
    rates: NDArray[np.float32]
    #: [n, F] counters before the row
    dense: NDArray[np.float32]
    #: [n, 2] how often head and tail were exposed in GRAPH and TRAIN
    seen: Numbers


@dataclass(frozen=True)
class Made:
    """A world as it is measured."""

    graph: FacetGraph
    rows: Rows
    #: codes of each column of `codes`
    sizes: tuple[int, ...]
    #: what there is of it, for the page
    told: Mapping[str, float]

    def of(self, span: Span) -> Numbers:
        """The rows of a span, in their order."""
        return np.flatnonzero(self.rows.span == span)


def market_of(kind: str, seed: int, *, people: int, ads: int, pages: int, days: float) -> World:
    """A market in which most ids are seldom seen. `kind`: default, or a null."""
    world = World(
        seed=seed,
        people=people,
        ads=ads,
        products=max(ads // 4, 8),
        advertisers=max(ads // 40, 2),
        campaigns=max(ads // 10, 4),
        categories=max(min(400, ads // 100), 4),
        pages_per_day=pages / days,
        # Less of a power law: the many who come once or twice are what this is about.
        popularity=1.3,
        # All are there from the beginning, and their needs stay what they are.
        turnover_days=3650.0,
        drift=0.0,
    )
    return world if kind == "default" else replace(world, **{NULLS[kind]: False})


def simulated(world: World, days: float) -> Made:
    """A market from its beginning, its first impressions the graph's."""
    events, truth = _run(world, days)
    time, shown = truth["time"], (truth["user"], truth["ad"])
    span, end = _spans(time)
    edges = events[events["time"] <= end]
    relations, types = _relations(), _types()
    numbers = {name: [np.empty(0, np.int64)] for name in types}
    for name, column in zip(("user", "ad"), shown, strict=True):
        numbers[name].append(column)
    for code, relation in enumerate(relations):
        own = edges[edges["kind"] == _CODES[code]]
        numbers[relation.head].append(own["head"])
        numbers[relation.tail].append(own["tail"])
    ids = {name: np.unique(np.concatenate(parts)) for name, parts in numbers.items()}
    graph = _graph(ids, relations, edges, ("user", "ad"))
    head, tail = (
        np.searchsorted(ids[name], column)
        for name, column in zip(("user", "ad"), shown, strict=True)
    )
    user, ad = ids["user"][head], ids["ad"][tail]
    codes = [
        countries(world, user),
        genders(world, user),
        ages(world, user) // _YEARS,
        Market(world).goods.format[ad],
        truth["position"].astype(np.int64),
    ]
    sizes = (len(COUNTRIES), len(GENDERS), 10, len(FORMATS), world.slots)
    label = truth["was_clicked"].astype(np.int8)
    rows = _rows((head, tail), label, time, span, codes, _KNOWN_AFTER)
    return _made(graph, rows, sizes, float((truth["looked_at"] * truth["click"]).mean()))


#: Codes of the events that are relations of the graph.
_CODES = [
    code
    for code, kind in enumerate(KINDS)
    if kind.tail is not None and kind.name not in ("impression", "hide")
]


def _run(world: World, days: float) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """The events that make edges, and the truth about impressions of people."""
    events, truths = [], []
    for chunk in Market(world).stream(days=days, chunk=500_000):
        events.append(chunk.events[np.isin(chunk.events["kind"], _CODES)])
        truths.append(chunk.truth[~chunk.truth["bot"]])
    return np.concatenate(events), np.concatenate(truths)


def _relations() -> list[RelationInfo]:
    return [
        RelationInfo(name=kind.name, head=kind.head, tail=str(kind.tail), source=kind.source)
        for kind in (KINDS[code] for code in _CODES)
    ]


def _types() -> list[str]:
    return sorted({name for kind in _relations() for name in (kind.head, kind.tail)})


def _graph(
    ids: Mapping[str, Numbers],
    relations: Sequence[RelationInfo],
    edges: NDArray[np.void],
    sides: tuple[str, str],
) -> FacetGraph:
    """Each pair once per relation, with the schema's weight times log2(1 + how often)."""
    declared = to_document(load_schema("ads"))["relations"]
    start = dict(
        zip(ids, np.cumsum([0, *(len(one) for one in ids.values())]).tolist(), strict=False)
    )
    width = sum(len(one) for one in ids.values())
    columns: list[tuple[NDArray[Any], ...]] = []
    for code, relation in enumerate(relations):
        own = edges[edges["kind"] == _CODES[code]]
        head = start[relation.head] + np.searchsorted(ids[relation.head], own["head"])
        tail = start[relation.tail] + np.searchsorted(ids[relation.tail], own["tail"])
        pairs, count = np.unique(head * width + tail, return_counts=True)
        base = float(declared.get(relation.name, {}).get("weight", 1.0))
        weight = (base * np.log2(1.0 + count)).astype(np.float32)
        columns.append((pairs // width, np.full(len(pairs), code), pairs % width, weight))
    return _joined(ids, relations, columns, sides)


def _joined(
    ids: Mapping[str, NDArray[Any]],
    relations: Sequence[RelationInfo],
    columns: Sequence[tuple[NDArray[Any], ...]],
    sides: tuple[str, str],
) -> FacetGraph:
    head, relation, tail, weight = (np.concatenate(part) for part in zip(*columns, strict=True))
    ends = np.cumsum([len(one) for one in ids.values()]).tolist()
    starts = [0, *ends[:-1]]
    named = [np.array([str(key) for key in one.tolist()], dtype=object) for one in ids.values()]
    return FacetGraph(
        head=head.astype(np.int64),
        relation=relation.astype(np.int64),
        tail=tail.astype(np.int64),
        weight=weight.astype(np.float32),
        types=[TypeRange(*one) for one in zip(ids, starts, ends, strict=True)],
        relations=list(relations),
        ids=np.concatenate(named),
        head_type=sides[0],
        tail_type=sides[1],
    )


def movielens(folder: Path) -> Made:
    """MovieLens-100k, each user's ratings cut by their own time; 4 and 5 are clicks."""
    inter, users, items = (_read(folder, part) for part in ("inter", "user", "item"))
    inter.sort(key=lambda row: float(row[3]))
    who, what = (np.array([row[place] for row in inter], dtype=object) for place in (0, 1))
    time = np.array([int(float(row[3])) for row in inter], dtype=np.int64)
    label = np.array([float(row[2]) >= _LIKED for row in inter], dtype=np.int8)
    people, head = np.unique(who, return_inverse=True)
    films, tail = np.unique(what, return_inverse=True)
    span = _spans_of_each(head.astype(np.int64), time)
    genres_of = {row[0]: row[3].split(" ") for row in items}
    genres = sorted({genre for found in genres_of.values() for genre in found})
    ids = {"film": films, "genre": np.array(genres, dtype=object), "user": people}
    first = {"film": 0, "genre": len(films), "user": len(films) + len(genres)}
    liked = (span == Span.GRAPH) & (label == 1)
    clicks = (first["user"] + head[liked], np.zeros(int(liked.sum())), tail[liked])
    of_genre = [
        (film, first["genre"] + genres.index(genre))
        for film, name in enumerate(films.tolist())
        for genre in genres_of[name]
    ]
    film, genre = np.array(of_genre, dtype=np.int64).T
    ties = (film, np.ones(len(film)), genre)
    relations = [
        RelationInfo(name="click", head="user", tail="film", source="onsite"),
        RelationInfo(name="film_of_genre", head="film", tail="genre", source="structure"),
    ]
    columns = [(*part, np.ones(len(part[0]))) for part in (clicks, ties)]
    graph = _joined(ids, relations, columns, ("user", "film"))
    about = {row[0]: (int(row[1]) // _YEARS, row[2], row[3]) for row in users}
    known = [_coded([about[name][place] for name in who.tolist()]) for place in range(3)]
    years = {row[0]: row[2][:3] for row in items}
    known.append(_coded([years[name] for name in what.tolist()]))
    sides = (head.astype(np.int64), tail.astype(np.int64))
    rows = _rows(sides, label, time, span, [codes for codes, _ in known], 1)
    return _made(graph, rows, tuple(size for _, size in known), float(label.mean()))


def _coded(values: Sequence[Any]) -> tuple[Numbers, int]:
    """Each value's number in rising order of their texts, and how many there are."""
    names, codes = np.unique(np.array([str(one) for one in values]), return_inverse=True)
    return codes.astype(np.int64), len(names)


def _read(folder: Path, part: str) -> list[list[str]]:
    with (folder / f"ml-100k.{part}").open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)  # the names of the columns
        return list(rows)


def _spans(time: Numbers) -> tuple[NDArray[np.int8], int]:
    """The span of each time under the service's shares, and the last second of GRAPH."""
    ordered, count = np.sort(time), len(time)
    cuts = [ordered[-(-count * share // 10**9) - 1] for share in Split().cumulated]
    return (time[:, None] > np.array(cuts)).sum(axis=1).astype(np.int8), int(cuts[0])


def _spans_of_each(user: Numbers, time: Numbers) -> NDArray[np.int8]:
    """The same of each user's own rows."""
    span = np.zeros(len(time), dtype=np.int8)
    order = np.argsort(user, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(user[order])) + 1):
        span[own] = _spans(time[own])[0]
    return span


def _rows(
    sides: tuple[Numbers, Numbers],
    label: NDArray[np.int8],
    time: Numbers,
    span: NDArray[np.int8],
    codes: Sequence[Numbers],
    known_after: int,
) -> Rows:
    """Counters of both sides as of each row: what happened, and was known, strictly before it."""
    past = span <= Span.TRAIN
    base = float(label[span == Span.TRAIN].mean())
    ended_well = label == 1
    rates, dense, seen = [], [], []
    for key in sides:
        shown = counts_before((key, time), (key, time))
        good = counts_before((key[ended_well], time[ended_well] + known_after), (key, time))
        odds = (good + _SMOOTHING * base) / (np.maximum(shown - good, 0) + _SMOOTHING * (1 - base))
        rates.append(np.log(odds) - np.log(base / (1 - base)))
        dense += [np.log1p(shown), np.log1p(good)]
        seen.append(np.bincount(key[past], minlength=int(key.max()) + 1)[key])
    counted = np.stack(dense, axis=1)
    train = span == Span.TRAIN
    scaled = (counted - counted[train].mean(axis=0)) / counted[train].std(axis=0).clip(min=1e-6)
    return Rows(
        head=sides[0],
        tail=sides[1],
        label=label,
        span=span,
        codes=np.stack(codes, axis=1).astype(np.int64),
        rates=np.stack(rates, axis=1).astype(np.float32),
        dense=scaled.clip(-5, 5).astype(np.float32),
        seen=np.stack(seen, axis=1).astype(np.int64),
    )


def _made(graph: FacetGraph, rows: Rows, sizes: tuple[int, ...], rate: float) -> Made:
    told: dict[str, float] = {"rows": len(rows.label), "rate": rate, "edges": len(graph.head)}
    for name, side in (("heads", rows.head), ("tails", rows.tail)):
        number = len(np.unique(side))
        told |= {name: number, f"exposures_of_{name}": len(side) / number}
    told["ids"] = told["heads"] + told["tails"]
    told["events_per_id"] = 2 * told["rows"] / told["ids"]
    return Made(graph, rows, sizes, told)
