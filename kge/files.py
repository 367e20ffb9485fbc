"""Triples from tab-separated files of any graph: `head<TAB>relation<TAB>tail`, and maybe a weight.

Takes three paths, gives a training graph and the triples to rank as dense rows; never trains.

Every entity of the three files gets a row, in the order of its name. One that only validation or
test names has no edge: it keeps its untrained vector and stays in the denominator. A relation that
training does not name gets a number from R on: nothing speaks for any answer, so `kge.evaluate`
ranks all of them equal, and it stays in the denominator too.
"""

import math
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


def read_triples(train: Path, valid: Path, test: Path) -> TripleFiles:
    """Read three files. Raises `BadTriples`, which names the file and the line."""
    parts = [list(_lines(path)) for path in (train, valid, test)]
    entities = sorted({end for part in parts for line in part for end in (line.head, line.tail)})
    trained = sorted({line.relation for line in parts[0]})
    others = {line.relation for part in parts[1:] for line in part} - set(trained)
    names = (*trained, *sorted(others))
    row = {name: n for n, name in enumerate(entities)}
    code = {name: n for n, name in enumerate(names)}
    columns = [
        np.array([(row[h], code[r], row[t]) for h, r, t, _ in part], dtype=np.int64)
        for part in parts
    ]
    graph = Graph(
        head=columns[0][:, 0].copy(),
        relation=columns[0][:, 1].copy(),
        tail=columns[0][:, 2].copy(),
        weight=np.array([line.weight for line in parts[0]], dtype=np.float32),
        types=[TypeRange(ENTITY, 0, len(entities))],
        relations=[
            RelationInfo(name=name, head=ENTITY, tail=ENTITY, source="structure")
            for name in trained
        ],
        ids=np.array(entities, dtype=object),
        snapshot_rows=np.arange(len(entities), dtype=np.int32),
    )
    return TripleFiles(graph=graph, valid=columns[1], test=columns[2], relation_names=names)


def read_names(paths: Sequence[Path]) -> NDArray[np.object_]:
    """[E, 3] names of head, relation, tail of several files, each triple once, weights left out.

    Raises `BadTriples`, which names the file and the line.
    """
    rows = dict.fromkeys(line[:3] for path in paths for line in _lines(path))
    return np.array(list(rows), dtype=object)


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
