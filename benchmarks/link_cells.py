"""What link prediction has measured so far, read back: cells of the same files, however long.

Takes a folder of cells, gives runs by model and minutes; never measures anything. Beside the JSON
of a cell lie the reciprocal ranks of its test triples: two models are compared triple by triple.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ablation import is_arm
from numpy.typing import NDArray
from pages import processor_of

METRICS = ("mrr", "hits@1", "hits@3", "hits@10")
_NAME = re.compile(
    r"(?P<model>.+)-seed(?P<seed>\d+)-(?P<minutes>[^-]+)m(-(?P<memory>\d+[KMGi]*B))?"
    r"-(?P<digest>[0-9a-f]{8})"
)
#: float32 holds a reciprocal rank to 6e-8.
_EQUAL = 1e-6


def cell_name(
    model: str,
    seed: int,
    minutes: float,
    digest: str,
    *,
    memory: int | None = None,
    split: str = "test",
) -> str:
    """A cell's name, from which `read` has all of this back.

    `memory`: what somebody said; None: the machine's. Rivals keep to none, so theirs are the same.
    `split`: what is ranked at the end; one of validation alone is none that `read` finds.
    """
    room = f"-{_room(memory)}" if memory is not None and is_arm(model) else ""
    alone = "" if split == "test" else f"-{split}"
    return f"{model}-seed{seed}-{minutes:g}m{room}{alone}-{digest}"


def _room(memory: int) -> str:
    """Bytes in the largest unit that divides them."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if memory and memory % (1 << power) == 0:
            return f"{memory >> power}{unit}"
    return f"{memory}B"


@dataclass(frozen=True)
class Runs:
    """All runs of one model that trained for the same time, and in the same memory."""

    model: str
    minutes: float
    #: such as 8GiB; empty: the machine's
    memory: str
    #: seed -> what its cell says
    cells: Mapping[int, Mapping[str, Any]]
    #: seed -> (2, n) reciprocal ranks of heads and of tails; without those that kept none
    ranks: Mapping[int, NDArray[np.float32]]

    @property
    def label(self) -> str:
        return f"{self.name}, {self.minutes:g} min"

    @property
    def name(self) -> str:
        """The model, and the memory that was set for it."""
        return f"{self.model} in {self.memory}" if self.memory else self.model

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
    cells: dict[tuple[str, float, str], dict[int, Mapping[str, Any]]] = {}
    ranks: dict[tuple[str, float, str], dict[int, NDArray[np.float32]]] = {}
    for file in sorted(folder.glob("*.json")):
        told = _NAME.fullmatch(file.stem)
        if told is None or told["digest"] != digest:
            continue
        key, seed = (told["model"], float(told["minutes"]), told["memory"] or ""), int(told["seed"])
        cells.setdefault(key, {})[seed] = cell = json.loads(file.read_text())
        # Not with_suffix: half a minute has a point in its name.
        beside = file.with_name(f"{file.stem}.npy")
        if beside.exists():
            ranks.setdefault(key, {})[seed] = _ranks_of(cell, beside)
    runs = [
        Runs(*key, dict(sorted(found.items())), ranks.get(key, {})) for key, found in cells.items()
    ]
    return sorted(runs, key=lambda run: (-run.minutes, -run.mrr, run.name))


def _ranks_of(cell: Mapping[str, Any], file: Path) -> NDArray[np.float32]:
    ranks: NDArray[np.float32] = np.load(file, allow_pickle=False)
    mrr = float(ranks.mean(dtype=np.float64))
    if abs(mrr - cell["mrr"]) > _EQUAL:
        raise SystemExit(
            f"error: {file.name} should have the MRR of its cell, {cell['mrr']:.6f}, "
            f"received {mrr:.6f}; delete both to measure them anew"
        )
    return ranks


def comparable(runs: Sequence[Runs]) -> Iterator[list[Runs]]:
    """Runs of the same time, the longest first; TransRA's of the same memory, rivals beside all."""
    for minutes in dict.fromkeys(run.minutes for run in runs):
        group = [run for run in runs if run.minutes == minutes]
        rooms = dict.fromkeys(run.memory for run in group if is_arm(run.model))
        for room in rooms or ("",):
            yield [run for run in group if run.memory == room or not is_arm(run.model)]


def mixed(cells: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """In what the seeds of one interval differ beside their seed: code, processor, and dials.

    A cell that was measured once is not measured again by other code, so this may be.
    """
    commits = {"commit": {seed: cell["commit"] for seed, cell in cells.items()}}
    return [
        f"{name} {', '.join(f'{value} (seed {seed})' for seed, value in told.items())}"
        for name, told in (commits | _kind(cells)).items()
        if len(set(told.values())) > 1
    ]


def unlike(cells: Mapping[int, Mapping[str, Any]]) -> bool:
    """Whether seeds differ in processor or dials: an interval over them would be of nothing."""
    return any(len(set(told.values())) > 1 for told in _kind(cells).values())


def _kind(cells: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[int, Any]]:
    """What was trained and where, name -> seed -> value."""
    parts: dict[str, dict[int, Any]] = {
        "processor": {seed: processor_of(cell) for seed, cell in cells.items()},
    }
    dials = {seed: cell["dials"] for seed, cell in cells.items() if cell.get("dials")}
    for name in sorted(set().union(*dials.values()) - {"seed"}):
        parts[name] = {seed: own.get(name) for seed, own in dials.items()}
    return parts
