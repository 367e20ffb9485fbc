"""Triples from tab-separated files of any graph: `head<TAB>relation<TAB>tail`, and maybe a weight.

Takes three paths, gives a training graph and the triples to rank as dense rows; never trains.

Every entity of the three files gets a row, in the order of its name. One that only validation or
test names has no edge: it keeps its untrained vector and stays in the denominator. A relation that
training does not name gets a number from R on: nothing speaks for any answer, so `kge.evaluate`
ranks all of them equal, and it stays in the denominator too.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.snapshot import RelationInfo, TypeRange
from kge.errors import BadTriples
from kge.triples import Graph

#: The one entity type of such a graph.
ENTITY = "entity"
#: How much of a wrong line an error shows.
_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class TripleFiles:
    """A graph to train on, and what to rank."""

    graph: Graph
    #: int64 [n, 3] (head, relation, tail) rows
    valid: NDArray[np.int64]
    test: NDArray[np.int64]
    #: by number: the R that were trained, then those that training does not name
    relation_names: tuple[str, ...]

    @property
    def train(self) -> NDArray[np.int64]:
        """int64 [E, 3], in the order of the file."""
        return np.stack([self.graph.head, self.graph.relation, self.graph.tail], axis=1)

    @property
    def unseen_relations(self) -> tuple[str, ...]:
        """Relations that validation or test names and training does not."""
        return self.relation_names[len(self.graph.relations) :]

    @property
    def unseen_entities(self) -> int:
        """Entities without an edge in training."""
        return int((self.graph.degree == 0).sum())


class _Line(NamedTuple):
    head: str
    relation: str
    tail: str
    weight: float


class _Codes(dict[str, int]):
    """A number for each name, in the order in which names come; each is held once."""

    def __missing__(self, name: str) -> int:
        code = self[name] = len(self)
        return code

    def by_name(self, first: int = 0) -> tuple[list[str], NDArray[np.int64]]:
        """The names from a number on in their order, and the place of every number in it."""
        names = sorted(name for name, code in self.items() if code >= first)
        place = np.arange(len(self))
        place[[self[name] for name in names]] = np.arange(first, len(self))
        return names, place


class _Columns(NamedTuple):
    """The lines of some files as numbers: no line is kept as an object of its own."""

    head: NDArray[np.int64]
    relation: NDArray[np.int64]
    tail: NDArray[np.int64]
    weight: NDArray[np.float32]


def _columns(paths: Sequence[Path], entities: _Codes, relations: _Codes) -> _Columns:
    """Read files one after the other, giving numbers to names that are new."""
    heads, codes, tails, weights = array("q"), array("q"), array("q"), array("f")
    for path in paths:
        for head, relation, tail, weight in _lines(path):
            heads.append(entities[head])
            codes.append(relations[relation])
            tails.append(entities[tail])
            weights.append(weight)
    return _Columns(
        head=np.frombuffer(heads, np.int64),
        relation=np.frombuffer(codes, np.int64),
        tail=np.frombuffer(tails, np.int64),
        weight=np.frombuffer(weights, np.float32),
    )


def read_triples(train: Path, valid: Path, test: Path) -> TripleFiles:
    """Read three files. Raises `BadTriples`, which names the file and the line."""
    entities, relations = _Codes(), _Codes()
    parts = [_columns([train], entities, relations)]
    count = len(relations)
    parts += [_columns([path], entities, relations) for path in (valid, test)]
    ids, row = entities.by_name()
    others, code = relations.by_name(count)
    trained, within = _Codes(list(relations.items())[:count]).by_name()
    code[:count] = within
    places = (row, code, row)
    head, relation, tail = (place[own] for place, own in zip(places, parts[0][:3], strict=True))
    graph = Graph(
        head=head,
        relation=relation,
        tail=tail,
        weight=parts[0].weight.copy(),
        types=[TypeRange(ENTITY, 0, len(ids))],
        relations=[
            RelationInfo(name=name, head=ENTITY, tail=ENTITY, source="structure")
            for name in trained
        ],
        ids=np.array(ids, dtype=object),
        snapshot_rows=np.arange(len(ids), dtype=np.int32),
    )
    valid_rows, test_rows = (
        np.stack([place[own] for place, own in zip(places, part[:3], strict=True)], axis=1)
        for part in parts[1:]
    )
    return TripleFiles(
        graph=graph, valid=valid_rows, test=test_rows, relation_names=(*trained, *others)
    )


def read_names(paths: Sequence[Path]) -> NDArray[np.object_]:
    """[E, 3] names of head, relation, tail of several files, each triple once, weights left out.

    Raises `BadTriples`, which names the file and the line.
    """
    entities, relations = _Codes(), _Codes()
    columns = _columns(paths, entities, relations)[:3]
    order = np.lexsort(columns)
    new = np.ones(len(order), dtype=bool)
    new[1:] = False
    for column in columns:
        new[1:] |= column[order[1:]] != column[order[:-1]]
    kept = np.sort(order[new])  # of equal ones the first comes first
    ends, between = (np.array(list(codes), dtype=object) for codes in (entities, relations))
    names = zip((ends, between, ends), columns, strict=True)
    return np.stack([known[column[kept]] for known, column in names], axis=1)


def _lines(path: Path) -> Iterator[_Line]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadTriples(f"{path} could not be opened: {error.strerror}") from error
    empty = True
    with file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901  some editors' mark
            if not raw.strip():
                continue
            empty = False
            yield _line(path, number, raw)
    if empty:
        raise BadTriples(f"{path} holds no triple; a line is head<TAB>relation<TAB>tail")


def _line(path: Path, number: int, raw: bytes) -> _Line:
    where = f"{path}, line {number}"
    try:
        text = raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BadTriples(
            f"{where} is not UTF-8 (byte {error.start + 1}); convert the file, "
            f"e.g. with iconv --to-code utf-8"
        ) from error
    fields = [field.strip() for field in text.split("\t")]
    shown = f"received {text[:_SHOWN]!r}"
    if len(fields) not in (3, 4):
        raise BadTriples(
            f"{where} should be head<TAB>relation<TAB>tail, maybe with <TAB>weight, but has "
            f"{len(fields)} column{'s' * (len(fields) > 1)} between tabs; {shown}"
        )
    if not all(fields[:3]):
        raise BadTriples(f"{where} should name head, relation and tail; {shown}")
    weight = _weight(where, fields[3]) if len(fields) == 4 else 1.0
    return _Line(fields[0], fields[1], fields[2], weight)


def _weight(where: str, field: str) -> float:
    try:
        weight = float(field)
    except ValueError:
        weight = math.nan
    if not 0.0 < weight < math.inf:
        raise BadTriples(f"{where} should have a weight above 0 in column 4, received {field!r}")
    return weight
