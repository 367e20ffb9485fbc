"""Tuning one part of an index: a FAISS searcher that finds what an exact search finds.

Takes the unit vectors of one type and facet and a sample of queries, gives what to search with and
the recall that was measured; never reads or writes a file, never imports torch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from kge.config import IndexConfig
from kge.kinds import (
    TRIAL_FROM,
    TRIAL_ROWS,
    Choice,
    KindName,
    cells,
    comparisons,
    foretold,
    is_quick,
)
from kge.searchers import (
    DEPTHS,
    build,
    comes_short,
    effort_for,
    exact_places,
    found_by,
    one_thread,
)

# Dimensions: n vectors, q queries, d vector.

#: How hard to search, from quick to thorough: HNSW's candidates, or cells that are opened.
_EFFORTS: dict[KindName, tuple[int, ...]] = {
    "hnsw": (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536),
    "ivf_sq8": (4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048),
    "ivf_pq": (4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048),
}
#: Shares of the rows that a filter lets pass for which recall is stored.
SHARES = (1.0, 0.9, 0.3, 0.1)
#: What is foretold may be too much by this factor; more often it is too little.
_DOUBT = 1.25
#: Of the rows of trials and of filters.
_SEED = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """A searcher with the effort that reaches the recall, and what was measured."""

    kind: KindName
    #: None for exact and scan: they read the bundle.
    faiss: Any
    effort: int
    reason: str
    #: share of rows -> recall at each of `DEPTHS`
    recall: dict[float, tuple[float, ...]]
    #: Other kinds that were built, and the recall@10 that each reached.
    tried: tuple[tuple[str, float], ...]


class Sample(NamedTuple):
    """Queries to measure by, and the place of the vector that each of them is; -1 for none."""

    queries: Float[np.ndarray, "q d"]
    own: Int[np.ndarray, "q"]


def tune(
    choices: Sequence[Choice],
    units: Float[np.ndarray, "n d"],
    sample: Sample,
    config: IndexConfig,
) -> Tuned:
    """Build kinds in their order, and take the one that reaches `least_recall` in the least time.

    Each searches no harder than it has to. It aims at half the misses that are allowed, since a
    sample is no more than that; where its bytes keep it below, halfway to what it can reach. A kind
    that is quick ends it: others take longer to build. Each is built once, and what takes longest
    not at all where parts of the rows say that it is in vain.
    """
    best: Tuned | None = None
    least = inf
    tried: list[tuple[str, float]] = []
    unbuilt: list[str] = []
    for number, choice in enumerate(choices):
        if choice.kind in ("exact", "scan"):
            break
        with one_thread():
            if why := _in_vain(choice.kind, units, sample, config, least):
                unbuilt.append(why)
                continue
            measure = _Measure(choice.kind, build(choice.kind, units, config), units, sample)
            effort, reached = _least_effort(measure, config.least_recall)
            compared = comparisons(choice.kind, effort, len(units), config)
            if reached >= config.least_recall and compared < least:
                if best is not None:
                    tried.append((best.kind, best.recall[SHARES[0]][0]))
                best, least = _tuned(measure, effort, choice), compared
            else:
                tried.append((choice.kind, round(reached, 4)))
        if best is not None and is_quick(least, len(units)):
            unbuilt += _spared(choices[number + 1 :], least)
            break
    if best is None:
        perfect = {SHARES[0]: (1.0,) * len(DEPTHS)}
        best = Tuned(
            kind=choice.kind, faiss=None, effort=0, reason=choice.reason, recall=perfect, tried=()
        )
    reason = "; ".join([_because(best.reason, tried, config), *unbuilt])
    return replace(best, reason=reason, tried=tuple(tried))


def _tuned(measure: "_Measure", effort: int, choice: Choice) -> Tuned:
    return Tuned(
        kind=choice.kind,
        faiss=measure.built,
        effort=effort,
        reason=choice.reason,
        recall=_recall_table(measure, effort),
        tried=(),
    )


@dataclass(frozen=True, slots=True)
class _Measure:
    """What was built, beside an exact search over the same vectors."""

    kind: KindName
    built: Any
    units: NDArray[np.float32]
    sample: Sample

    def recall(
        self, depth: int, *, effort: int, truth: NDArray[np.int64], allowed: Any = None
    ) -> float:
        """The share of the truth that a search finds, nobody counting as their own neighbor.

        Who comes short under a filter finds all of it, as in `Part.search`.
        """
        queries, own = self.sample
        found = found_by(self.kind, self.built, queries, depth + 1, effort=effort, allowed=allowed)
        nearest = _without(_refined(self.units, queries, found), own, depth)
        if not truth.size:
            return 1.0
        hits = np.array([len(np.intersect1d(*pair)) for pair in zip(nearest, truth, strict=True)])
        if allowed is not None:
            hits[comes_short(found, depth + 1, allowed)] = truth.shape[1]
        return float(hits.sum() / truth.size)

    def truth(self, depth: int, allowed: Any = None) -> NDArray[np.int64]:
        queries, own = self.sample
        found = exact_places(self.units, queries, depth + 1, allowed)
        return _without(found, own, min(depth, found.shape[1] - 1))


def _least_effort(measure: _Measure, least: float) -> tuple[int, float]:
    """The least effort that reaches the aim, and the recall@10 that it reaches.

    The aim lies halfway from the recall that is due to 1; where even the most effort stays below,
    halfway to what that reaches: to search ever harder tells no better apart what the kind's bytes
    do not. The most effort where it is below what is due.
    """
    truth, aim = measure.truth(DEPTHS[0]), (1.0 + least) / 2
    most = len(measure.units) if measure.kind == "hnsw" else cells(len(measure.units))
    efforts = [effort for effort in _EFFORTS[measure.kind] if effort <= most] or [most]

    def recall(effort: int) -> float:
        return measure.recall(DEPTHS[0], effort=effort, truth=truth)

    found: list[float] = []
    for place, effort in enumerate(efforts):
        found.append(recall(effort))
        if found[-1] >= aim:
            short = efforts[place - 1] if place else effort
            return _closer(recall, aim, (short, effort), found[-1])
    aim = max(least, (least + found[-1]) / 2)
    place = next((n for n, reached in enumerate(found) if reached >= aim), len(found) - 1)
    return efforts[place], found[place]


def _closer(
    recall: Callable[[int], float], aim: float, between: tuple[int, int], reached: float
) -> tuple[int, float]:
    """The least effort that reaches an aim, to a tenth of it, and what it reaches.

    `between`: an effort that falls short, and one that reaches it, as `reached` says.
    """
    short, enough = between
    while enough - short > max(1, enough // 10):
        middle = (short + enough) // 2
        if (found := recall(middle)) >= aim:
            enough, reached = middle, found
        else:
            short = middle
    return enough, reached


def _in_vain(
    kind: KindName,
    units: NDArray[np.float32],
    sample: Sample,
    config: IndexConfig,
    least: float,
) -> str:
    """Why a kind that takes long to build is better not built of all rows; empty where it may be.

    An HNSW graph of a million rows takes one thread many minutes, of parts of them seconds.
    """
    if kind != "hnsw" or len(units) < TRIAL_FROM:
        return ""
    found = [_enough(kind, units, sample, config, rows) for rows in TRIAL_ROWS]
    effort = foretold((found[0], found[1]), TRIAL_ROWS, len(units))
    told = f"{kind} was not built: by {TRIAL_ROWS[0]} and {TRIAL_ROWS[1]} of the rows it "
    if effort > _DOUBT * _EFFORTS[kind][-1]:
        return f"{told}would not reach a recall@10 of {config.least_recall:g}"
    compared = comparisons(kind, ceil(effort), len(units), config)
    if compared > _DOUBT * least:
        return f"{told}would compare {compared:.0f} vectors, and {least:.0f} are enough"
    return ""


def _enough(
    kind: KindName, units: NDArray[np.float32], sample: Sample, config: IndexConfig, count: int
) -> float:
    """The effort that `least_recall` takes on some of the rows, between steps; else infinite."""
    rows = np.sort(np.random.default_rng(_SEED).choice(len(units), count, replace=False))
    place = np.minimum(np.searchsorted(rows, sample.own), count - 1)
    inside = Sample(sample.queries, np.where(rows[place] == sample.own, place, -1))
    measure = _Measure(kind, build(kind, units[rows], config), units[rows], inside)
    truth, before, reached = measure.truth(DEPTHS[0]), 0, 0.0
    for effort in _EFFORTS[kind]:
        lower, reached = reached, measure.recall(DEPTHS[0], effort=effort, truth=truth)
        if reached >= config.least_recall:
            if not before:
                return float(effort)
            share = (config.least_recall - lower) / (reached - lower)
            return float(before * (effort / before) ** share)
        before = effort
    return inf


def _recall_table(measure: _Measure, effort: int) -> dict[float, tuple[float, ...]]:
    """Recall under filters of several widths, at several depths; of each width the worst one's."""
    draw = np.random.default_rng(_SEED)
    table = {}
    for share in SHARES:
        row = [1.0] * len(DEPTHS)
        for allowed in [None] if share == 1.0 else _filters(measure.units, share, draw):
            truth = measure.truth(DEPTHS[-1], allowed)
            for n, depth in enumerate(DEPTHS):
                hard = effort_for(measure.kind, effort, depth, share)
                some = truth[:, :depth]
                reached = measure.recall(depth, effort=hard, truth=some, allowed=allowed)
                row[n] = min(row[n], round(reached, 4))
        table[share] = tuple(row)
    return table


def _filters(
    units: NDArray[np.float32], share: float, draw: np.random.Generator
) -> Iterator[NDArray[np.bool_]]:
    """Filters that let a share pass: rows at random, those around one, and those far from one."""
    yield draw.random(len(units)) < share
    # Attributes often go with vectors (genre, language), and then what passes lies together.
    cosines = units @ units[draw.integers(len(units))]
    yield cosines >= np.quantile(cosines, 1.0 - share)
    yield cosines <= np.quantile(cosines, share)


def _refined(
    units: NDArray[np.float32], queries: NDArray[np.float32], found: NDArray[np.int64]
) -> NDArray[np.int64]:
    """What was found, in the order of the vectors themselves."""
    cosines = np.einsum("qwd,qd->qw", units[np.maximum(found, 0)], queries)
    cosines[found < 0] = -np.inf
    return np.take_along_axis(found, np.argsort(-cosines, axis=1, kind="stable"), axis=1)


def _without(found: NDArray[np.int64], own: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """The first `depth` places of each row that are not its own."""
    order = np.argsort(found == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)[:, :depth]


def _spared(later: Sequence[Choice], compared: float) -> list[str]:
    """Why kinds that would have had their turn were not built, in one sentence if in any."""
    kinds = [choice.kind for choice in later if choice.kind not in ("exact", "scan")]
    if not kinds:
        return []
    spared = ", ".join(kinds)
    return [f"a search compares {compared:.0f} vectors, so few that {spared} was not built"]


def _because(reason: str, tried: Sequence[tuple[str, float]], config: IndexConfig) -> str:
    """The reason, and what became of the kinds that were built beside it."""
    told = [
        f"{kind} reached a recall@10 of {reached:.3f}, "
        + ("too low" if reached < config.least_recall else "and is slower")
        for kind, reached in tried
    ]
    return "; ".join([reason, *told])
