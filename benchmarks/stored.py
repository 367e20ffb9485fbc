"""A graph that processes of a benchmark share: a file of its triples, made when it is first needed.

Takes a folder and a way to make triples, gives what a process has to be told; never keeps triples
in memory, so that this process stays small.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from popular import popular_triples


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A graph by its name; triples are int64 [E, 3] (head, relation, tail) rows."""

    #: what reports call it
    name: str
    #: what tells it from every other graph, in names of files
    key: str
    entities: int
    relations: int
    folder: Path
    make: Callable[[], NDArray[np.int64]]

    def asked(self) -> dict[str, Any]:
        """File and sizes, for `training_tasks.opened`; the file is there afterwards."""
        file = self.folder / f"{self.key}.npy"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            half = file.with_suffix(".half.npy")
            np.save(half, self.make())
            half.rename(file)
        return {"file": str(file), "entities": self.entities, "relations": self.relations}


def popular(name: str, folder: Path, *, entities: int, triples: int, relations: int) -> Stored:
    """A graph drawn from a seed, see `popular.py`."""
    sizes = {"entities": entities, "triples": triples, "relations": relations}
    return Stored(
        name=name,
        key=f"popular-{entities}-{triples}-{relations}",
        entities=entities,
        relations=relations,
        folder=folder,
        make=partial(popular_triples, **sizes),
    )
