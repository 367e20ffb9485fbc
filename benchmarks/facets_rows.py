"""What the cells of the facets say: AUC of each arm, who adds what, and what a second epoch does.

Takes the cells of `benchmarks/facets.py` and the draws that lie beside them, gives rows and a
table of claims; never measures anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from facets_arms import ARMS, BY_FREQUENCY, name_of
from ladder_rows import Gap, Run, Runs, gap, gap_rows, runs_of, spread
from pages import figure, table

from graphsvc.report import Row
from ranking.pretraining.config import FACET_NAMES

FIRST, SECOND = "epoch=1", "epoch=2"
BASE, SCRATCH = "none", "scratch"
#: A difference in AUC of less is neutral.
NEUTRAL = 0.002
SHOWN, REFUTED, OPEN = "shown", "refuted", "not decided"

_WORDS = f"""
## The papers' claims

Differences in AUC, mean over seeds. `shown`: both intervals, t over seeds and bootstrap over users,
lie where the claim puts them; `refuted`: neither of them reaches there; else `not decided`. A table
is neutral if it changes AUC by less than {NEUTRAL:g}. Several claims are judged, each at 95 %: of
twenty true ones, one may be missed.
"""

__all__ = ["BASE", "FIRST", "SCRATCH", "SECOND", "Claim", "claims", "rows_of", "runs_of", "section"]


class Claim(NamedTuple):
    """What is claimed of a difference: that it is above 0, below 0, or nearly 0."""

    text: str
    pair: str
    wanted: str
    found: Gap

    @property
    def verdict(self) -> str:
        whole = self.found.whole
        if whole is None:
            return OPEN
        low, high = whole
        least, most = {
            "above": (0.0, float("inf")),
            "below": (float("-inf"), 0.0),
            "neutral": (-NEUTRAL, NEUTRAL),
        }[self.wanted]
        if low >= least and high <= most:
            return SHOWN
        return REFUTED if high <= least or low >= most else OPEN


def claims(runs: Runs) -> Iterator[tuple[str, Claim]]:
    """What can be said of each world, with its name."""
    for (world, _), arms in runs.items():
        for text, wanted, first, second in _pairs():
            if first in arms and second in arms:
                found = gap(arms[first], arms[second], FIRST)
                if found is not None:
                    yield world, Claim(text, f"{first} - {second}", wanted, found)
        for arm in (SCRATCH, *(name_of((one,), "tuned") for one in FACET_NAMES)):
            found = gap(arms[arm], arms[arm], SECOND, FIRST) if arm in arms else None
            if found is not None:
                pair = f"{arm}, 2 epochs - 1"
                yield world, Claim("the second epoch overfits", pair, "below", found)


def _pairs() -> Iterator[tuple[str, str, str, str]]:
    yield "an ID table from scratch is neutral", "neutral", SCRATCH, BASE
    for one in FACET_NAMES:
        yield "a facet helps", "above", name_of((one,)), BASE
        yield "a facet beats scratch", "above", name_of((one,)), SCRATCH
    for pair in combinations(FACET_NAMES, 2):
        for one in pair:
            yield "facets add up", "above", name_of(pair), name_of((one,))
        yield "facets add up", "above", name_of(FACET_NAMES), name_of(pair)
    yield "it is not the size", "above", name_of(FACET_NAMES), name_of(FACET_NAMES, "fresh")
    yield "it is not the bytes", "above", name_of(FACET_NAMES), "hashed"


def rows_of(runs: Runs) -> list[Row]:
    """Rows of every world, arm, epoch and bucket of frequency."""
    rows: list[Row] = []
    for (world, _), arms in runs.items():
        for arm in (one for one in ARMS if one in arms):
            by_seed = arms[arm]
            first = next(iter(by_seed.values()))
            rows += spread(("bytes", "bytes", world, arm), _told(by_seed, "bytes"))
            for name in first.draws:
                if "/" in name and not (arm in BY_FREQUENCY and name.startswith(FIRST)):
                    continue
                where = f"{world}/{name}"
                values = {
                    seed: float(run.draws[name][0])
                    for seed, run in by_seed.items()
                    if name in run.draws
                }
                rows += spread(("auc", "share", where, arm), values)
                if arm != BASE and BASE in arms:
                    found = gap(by_seed, arms[BASE], name)
                    rows += gap_rows("auc_lift", where, f"{arm} - {BASE}", found)
            found = gap(by_seed, by_seed, SECOND, FIRST)
            rows += gap_rows("auc_second_epoch", world, f"{arm}, 2 epochs - 1", found)
    return rows


def _told(by_seed: Mapping[int, Run], metric: str) -> dict[int, float]:
    return {seed: float(run.told[metric]) for seed, run in by_seed.items()}


def section(runs: Runs) -> str:
    """What a page says of the claims; nothing where there are none."""
    lines: list[Sequence[str]] = []
    for world, claim in claims(runs):
        by_seed = "" if claim.found.by_seed is None else _ends(claim.found.by_seed)
        value, by_user = f"{claim.found.value:+.4f}", _ends(claim.found.by_user)
        seeds = str(claim.found.seeds)
        told = (claim.text, world, claim.pair, value, seeds, by_seed, by_user, claim.verdict)
        lines.append(told)
    if not lines:
        return ""
    names = ("claim", "where", "of", "AUC", "seeds", "t over seeds", "by user", "it is")
    return f"{_WORDS.strip()}\n\n{table(names, lines, left=3)}"


def sizes(found: Mapping[str, Mapping[str, object]]) -> str:
    """What a page says of the worlds: their sizes, as the first cell of each has them."""
    seen: dict[str, Mapping[str, float]] = {}
    for told in found.values():
        seen.setdefault(str(told["world"]), told["sizes"])  # type: ignore[arg-type]
    names = ("rows", "ids", "events_per_id", "heads", "tails", "edges", "rate")
    lines = [(world, *(figure(size[name]) for name in names)) for world, size in seen.items()]
    return table(("world", *(name.replace("_", " ") for name in names)), lines, left=1)


def of_folder(found: Mapping[str, Mapping[str, object]], out: Path) -> Runs:
    """The runs of the cells in a folder."""
    return runs_of(found, out / "cells")


def _ends(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"
