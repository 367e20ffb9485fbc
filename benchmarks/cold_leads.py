"""Whether fold-in is ahead of a rival, or behind: by seeds, and by the triples that both ranked.

Takes the reciprocal ranks that cells of `benchmarks/cold.py` left, gives rows and a table; never
measures anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from differences import Ahead, ahead
from numpy.typing import NDArray
from pages import table

from graphsvc.report import Row

#: (2, n) reciprocal ranks, of heads and of tails; by `arm/edges`, or by arm where all are new.
Ranks = Mapping[str, NDArray[np.float32]]
OURS = "fold-in"
RIVALS = ("prior alone", "nodepiece", "retrained")

_WORDS = """
## Ahead or behind

MRR of `fold-in` less that of the other: a t interval over the seeds that both have, and a paired
bootstrap over the triples that both ranked. It is ahead or behind where neither interval holds 0;
with one seed nothing is decided. Of the withheld every seed draws its own triples.
"""


class Measured(NamedTuple):
    """What a cell says, and the reciprocal ranks that lie beside it."""

    told: Mapping[str, Any]
    ranks: Ranks


class Lead(NamedTuple):
    """Of fold-in over one rival."""

    rival: str
    where: str
    ahead: Ahead


def keep(file: Path, ranks: Ranks) -> None:
    """Write the ranks of a cell."""
    file.parent.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = dict(ranks)
    np.savez_compressed(file, **named)


def leads(found: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Lead]:
    """Every comparison whose ranks lie in the folder of the cells.

    Raises `SystemExit` where ranks are not those of the cell that they lie beside.
    """
    told: dict[tuple[str, str], dict[int, NDArray[np.float32]]] = {}
    for cell, result in found.items():
        file = folder / f"{cell}.npz"
        if not file.exists():
            continue
        with np.load(file, allow_pickle=False) as kept:
            for name in kept.files:
                arm, _, edges = name.partition("/")
                where = f"edges={edges}" if edges else "others"
                told.setdefault((where, arm), {})[result["seed"]] = kept[name]
                _check(file, kept[name], result[name]["mrr"])
    made = []
    for where in dict.fromkeys(where for where, _ in told):
        for rival in RIVALS:
            ours, theirs = (told.get((where, arm), {}) for arm in (OURS, rival))
            if seeds := sorted(set(ours) & set(theirs)):
                runs = ([arm[seed] for seed in seeds] for arm in (ours, theirs))
                made.append(Lead(rival, where, ahead(*runs, same_triples=where == "others")))
    return made


def _check(file: Path, ranks: NDArray[np.float32], mrr: float) -> None:
    if abs(float(ranks.mean(dtype=np.float64)) - mrr) > 1e-6:
        raise SystemExit(
            f"error: {file.name} should have the MRR of its cell, {mrr:.6f}, received "
            f"{ranks.mean():.6f}; delete both to measure them anew"
        )


def rows_of(found: Sequence[Lead]) -> Iterator[Row]:
    """Each lead with its intervals."""
    for rival, where, lead in found:
        same = {"unit": "share", "split": where, "model": f"{OURS} - {rival}", "seed": "all"}
        if lead.by_seed:
            low, high = lead.by_seed
            name = "mrr_difference_over_seeds"
            yield Row(metric=name, value=lead.value, lo=low, hi=high, **same)
        low, high = lead.by_triple
        yield Row(metric="mrr_difference_over_triples", value=lead.value, lo=low, hi=high, **same)


def section(found: Sequence[Lead]) -> str:
    """What a page says of them; nothing where there are none."""
    if not found:
        return ""
    lines = [
        (
            f"{OURS} - {rival}",
            where,
            str(lead.seeds),
            f"{lead.value:+.4f}",
            _range(lead.by_seed) if lead.by_seed else "",
            _range(lead.by_triple),
            lead.decided,
        )
        for rival, where, lead in found
    ]
    names = ("seeds", "MRR", "95 % over seeds (t)", "95 % over triples (bootstrap)", "it is")
    return f"{_WORDS.strip()}\n\n{table(('difference', 'where', *names), lines, left=2)}"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"
