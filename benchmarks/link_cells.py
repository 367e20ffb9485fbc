"""What link prediction has measured so far, read back: cells of the same files, however long.

Takes a folder of cells, gives runs by model and minutes; never measures anything. Beside the JSON
of a cell lie the reciprocal ranks of its test triples: two models are compared triple by triple.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

METRICS = ("mrr", "hits@1", "hits@3", "hits@10")
_NAME = re.compile(r"(?P<model>.+)-seed(?P<seed>\d+)-(?P<minutes>[^-]+)m-(?P<digest>[0-9a-f]{8})")
#: float32 holds a reciprocal rank to 6e-8.
_EQUAL = 1e-6


def cell_name(model: str, seed: int, minutes: float, digest: str) -> str:
    """A cell's name, from which `read` has all of this back."""
    return f"{model}-seed{seed}-{minutes:g}m-{digest}"


@dataclass(frozen=True)
class Runs:
    """All runs of one model that trained for the same time."""

    model: str
    minutes: float
    #: seed -> what its cell says
    cells: Mapping[int, Mapping[str, Any]]
    #: seed -> (2, n) reciprocal ranks of heads and of tails; without those that kept none
    ranks: Mapping[int, NDArray[np.float32]]

    @property
    def label(self) -> str:
        return f"{self.model}, {self.minutes:g} min"

    def values(self, split: str, metric: str = "mrr") -> list[float]:
        """A metric on a split, one value per seed that has it."""
        parts = (cell["splits"].get(split) for cell in self.cells.values())
        return [part[metric] for part in parts if part]

    @cached_property
    def mrr(self) -> float:
        return float(np.mean(self.values("test")))


def write_ranks(file: Path, head_rank: NDArray[np.float64], tail_rank: NDArray[np.float64]) -> None:
    """Keep the reciprocal ranks of a cell's test triples."""
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, (1.0 / np.stack([head_rank, tail_rank])).astype(np.float32), allow_pickle=False)


def read(folder: Path, digest: str) -> list[Runs]:
    """Every run on files of this digest: the longest trainings first, and of these the best.

    Raises `SystemExit` where ranks are not those of the cell that they lie beside.
    """
    cells: dict[tuple[str, float], dict[int, Mapping[str, Any]]] = {}
    ranks: dict[tuple[str, float], dict[int, NDArray[np.float32]]] = {}
    for file in sorted(folder.glob("*.json")):
        told = _NAME.fullmatch(file.stem)
        if told is None or told["digest"] != digest:
            continue
        key, seed = (told["model"], float(told["minutes"])), int(told["seed"])
        cells.setdefault(key, {})[seed] = cell = json.loads(file.read_text())
        # Not with_suffix: half a minute has a point in its name.
        beside = file.with_name(f"{file.stem}.npy")
        if beside.exists():
            ranks.setdefault(key, {})[seed] = _ranks_of(cell, beside)
    runs = [
        Runs(model, minutes, dict(sorted(found.items())), ranks.get((model, minutes), {}))
        for (model, minutes), found in cells.items()
    ]
    return sorted(runs, key=lambda run: (-run.minutes, -run.mrr, run.model))


def _ranks_of(cell: Mapping[str, Any], file: Path) -> NDArray[np.float32]:
    ranks: NDArray[np.float32] = np.load(file, allow_pickle=False)
    mrr = float(ranks.mean(dtype=np.float64))
    if abs(mrr - cell["mrr"]) > _EQUAL:
        raise SystemExit(
            f"error: {file.name} should have the MRR of its cell, {cell['mrr']:.6f}, "
            f"received {mrr:.6f}; delete both to measure them anew"
        )
    return ranks


def same_time(runs: Sequence[Runs]) -> dict[float, list[Runs]]:
    """The runs by their minutes, the longest first."""
    found: dict[float, list[Runs]] = {}
    for run in runs:
        found.setdefault(run.minutes, []).append(run)
    return found
