"""Any knowledge graph in lines of `head<TAB>relation<TAB>tail`.

Takes files, gives a schema of structure relations and the events of the training file; never puts a
triple of another file into the graph.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphsvc.errors import DatasetMissing

Triple = tuple[str, str, str]

_NOT_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 64
_ENTITY = "entity"


@dataclass(kw_only=True)
class Triples:
    """What the files hold, and how it is named in the schema."""

    train: Path
    #: Cuts `user:42` into type `user` and id `42`; None: everything is of the type `entity`.
    prefix: str | None = None
    #: (relation, head type, tail type) -> the name of its events.
    names: dict[tuple[str, str, str], str] = field(default_factory=dict)
    #: Name of a file -> triples in it.
    counts: Counter[str] = field(default_factory=Counter)
    #: Entities that only the other files name.
    unseen: int = 0

    def schema(self) -> dict[str, Any]:
        """The document of a schema in which every triple is an edge without decay.

        A schema has a label, so one is named; there is nothing to learn from it.
        """
        types = {type_ for _, *ends in self.names for type_ in ends}
        first = min(self.names.values())
        return {
            "name": self.train.stem,
            "entities": {type_: {"person": False} for type_ in sorted(types)},
            "relations": {
                name: {"head": head, "tail": tail, "source": "structure", "parallel": False}
                for (_, head, tail), name in sorted(self.names.items(), key=lambda item: item[1])
            },
            "observations": {},
            "label": {"exposure": first, "outcome": first},
        }

    def events(self) -> Iterator[dict[str, Any]]:
        """The triples of the training file; a triple that comes again is a duplicate."""
        for head, relation, tail in _lines(self.train):
            (head_type, head_id), (tail_type, tail_id) = (
                _typed(head, self.prefix),
                _typed(tail, self.prefix),
            )
            key = f"{head}\t{relation}\t{tail}".encode()
            yield {
                "event_id": hashlib.blake2b(key, digest_size=16).hexdigest(),
                "event_name": self.names[relation, head_type, tail_type],
                "event_time": 0,
                "action_source": "structure",
                "actor": {"type": head_type, "id": head_id},
                "object": {"type": tail_type, "id": tail_id},
            }


def read_triples(train: Path, held_out: Sequence[Path], *, prefix: str | None = None) -> Triples:
    """Look through the files once. Raises `DatasetMissing` naming a line that is no triple."""
    found = Triples(train=train, prefix=prefix)
    kinds: dict[tuple[str, str, str], None] = {}
    known: set[str] = set()
    unseen: set[str] = set()
    for file in (train, *held_out):
        for head, relation, tail in _lines(file):
            found.counts[file.name] += 1
            kinds[relation, _typed(head, prefix)[0], _typed(tail, prefix)[0]] = None
            if file == train:
                known |= {head, tail}
            else:
                unseen |= {head, tail} - known
    if not found.counts[train.name]:
        raise DatasetMissing(f"{train.name} should hold lines of head<TAB>relation<TAB>tail")
    found.unseen = len(unseen)
    found.names = _named(list(kinds))
    return found


def as_toml(document: Mapping[str, Any], above: str = "") -> str:
    """A schema document as TOML: tables of texts, numbers and flags."""
    plain = {key: value for key, value in document.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in document.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    if above and (plain or not tables):
        lines.insert(0, f"[{above}]")
    text = "\n".join(lines) + "\n" if lines else ""
    for key, value in tables.items():
        text += "\n" * bool(text) + as_toml(value, f"{above}.{key}" if above else key)
    return text


def _named(kinds: list[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """A name per kind of triple: its relation's letters, and what tells it from another one."""
    pairs = Counter(relation for relation, *_ in kinds)
    names: dict[tuple[str, str, str], str] = {}
    taken: set[str] = set()
    for relation, head, tail in kinds:
        whole = relation if pairs[relation] == 1 else f"{relation} {head} {tail}"
        name = _NOT_NAME.sub("_", whole.lower()).strip("_") or "relation"
        if not name[0].isalpha():
            name = f"r_{name}"
        if len(name) > _LONGEST_NAME or name in taken:
            mark = hashlib.blake2b(whole.encode(), digest_size=4).hexdigest()
            name = f"{name[: _LONGEST_NAME - len(mark) - 1]}_{mark}"
        taken.add(name)
        names[relation, head, tail] = name
    return names


def _typed(entity: str, prefix: str | None) -> tuple[str, str]:
    if prefix is None or prefix not in entity:
        return _ENTITY, entity
    kind, _, own = entity.partition(prefix)
    name = _NOT_NAME.sub("_", kind.lower()).strip("_")
    return (name, own) if own and name and name[0].isalpha() else (_ENTITY, entity)


def _lines(file: Path) -> Iterator[Triple]:
    if not file.is_file():
        raise DatasetMissing(f"{file} is not there")
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) != 3 or not all(cells):
                raise DatasetMissing(
                    f"{file.name}, line {number} should be head<TAB>relation<TAB>tail, received "
                    f"{len(cells)} cells"
                )
            yield cells[0], cells[1], cells[2]
