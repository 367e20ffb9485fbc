"""What color each point of the map has: by type, or by one attribute of one type.

Takes the live trio, gives a code for each row of its bundle, and what the codes mean. Never colors
who is out of answers or was erased: those have a code that nothing draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.columns import Column
from api.live import Trio
from kge.map import placed

#: What is not drawn.
HIDDEN = 255
#: So many values have a color of their own, the most frequent first; the others share one.
MOST_VALUES = 12
#: Colors from the least number to the greatest; the farthest of each side share one.
STEPS = 24
_TAIL = 0.02
#: Of lists the first counts.
_KINDS = ("category", "list", "number")

_PALETTE = (
    "#4269d0",
    "#e8a317",
    "#f0604d",
    "#2fae9a",
    "#8a5cd6",
    "#3ca951",
    "#e667a0",
    "#9c6b4e",
    "#5aa9e6",
    "#c2c23a",
    "#c94fd0",
    "#6f7f95",
)
_RAMP = ((63, 111, 216), (143, 95, 215), (214, 86, 156), (238, 116, 89), (242, 177, 52))
#: On light and on dark: all that is not among the colored, and what has no value.
_OTHERS, _NOTHING = ("#9aa1ab", "#7d8590"), ("#d3d7dd", "#3d434b")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the legend: what it is called, of how many, and its codes."""

    label: str
    count: int
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Coloring:
    """A code for each row of the bundle, and what codes mean."""

    codes: NDArray[np.uint8]
    #: code -> its color on light and on dark
    colors: list[tuple[str, str]]
    legend: list[Entry]


def by_type(trio: Trio) -> Coloring:
    """Each type its color; the smallest share one where there are many."""
    kinds = trio.bundle.types
    values = np.empty(len(trio.bundle.ids), np.int64)
    for place, kind in enumerate(kinds.values()):
        values[kind.start : kind.stop] = place
    return _categories(values, list(kinds), hidden(trio), others="other types")


def by_attribute(trio: Trio, column: Column, kind: str) -> Coloring:
    """One attribute of one type; all other types are in the background."""
    out, own = hidden(trio), trio.bundle.types[column.type]
    with column.lock:
        codes, decoded = column.codes.copy(), list(column.values.decoded)
    drawn = ~out[own.start : own.stop]
    if kind == "number":
        numbers = np.append([_number(value) for value in decoded], np.nan)[codes]
        part = _numbers(numbers, drawn)
    else:
        names = [_name(value) for value in decoded]
        texts = sorted({name for name in names if name})
        place = {text: n for n, text in enumerate(texts)}
        found = np.append([place.get(name, -1) for name in names], -1).astype(np.int64)[codes]
        part = _categories(found, texts, ~drawn, others="other values")
    nothing = np.count_nonzero(part.codes == len(part.colors))
    others = int(np.count_nonzero(~out) - np.count_nonzero(drawn))
    return _within(part, own.start, out, (int(nothing), others))


def colorable(attributes: dict[str, str]) -> list[str]:
    """Those attributes of a type that can be colors."""
    return [name for name, kind in attributes.items() if kind in _KINDS]


def hidden(trio: Trio) -> NDArray[np.bool_]:
    """Which rows of the bundle are not to be seen: erased, retired or merged, then or since."""
    out = ~placed(trio.bundle)
    out[trio.index.left_out] = True
    for name, kind in trio.bundle.types.items():
        gone = trio.overlay.hidden(name)
        if gone is not None:
            out[kind.start : kind.stop] |= gone
    return out


def _within(
    part: Coloring, start: int, out: NDArray[np.bool_], counts: tuple[int, int]
) -> Coloring:
    """The colors of one type among all rows: behind them those without a value, and the others."""
    nothing, others = len(part.colors), len(part.colors) + 1
    codes = np.full(len(out), others, np.uint8)
    codes[start : start + len(part.codes)] = part.codes
    codes[out] = HIDDEN
    behind = [
        Entry(label, count, (code,))
        for label, count, code in zip(
            ("no value", "other types"), counts, (nothing, others), strict=True
        )
        if count
    ]
    return Coloring(codes, [*part.colors, _NOTHING, _OTHERS], [*part.legend, *behind])


def _categories(
    values: NDArray[np.int64], names: Sequence[str], out: NDArray[np.bool_], *, others: str
) -> Coloring:
    """The most frequent values, then all others as one; a value below 0 is none."""
    counts = np.bincount(values[~out & (values >= 0)], minlength=len(names))
    ranked = [int(n) for n in np.argsort(-counts, kind="stable") if counts[n]]
    few = ranked if len(ranked) <= MOST_VALUES else ranked[: MOST_VALUES - 1]
    rest = int(counts.sum() - counts[few].sum())
    colors = [(color, color) for color in _PALETTE[: len(few)]]
    legend = [Entry(names[n], int(counts[n]), (code,)) for code, n in enumerate(few)]
    if rest:
        legend.append(Entry(others, rest, (len(few),)))
        colors.append(_OTHERS)
    code_of = np.full(len(names) + 1, len(few), np.uint8)
    code_of[few] = np.arange(len(few))
    code_of[-1] = len(colors)
    codes = code_of[values]
    codes[out] = HIDDEN
    return Coloring(codes, colors, legend)


def _numbers(numbers: NDArray[np.float64], drawn: NDArray[np.bool_]) -> Coloring:
    """A ramp from the least to the greatest, but for the farthest fiftieth of either side."""
    colors = [(color, color) for color in _ramp()]
    known = np.isfinite(numbers)
    codes = np.full(len(numbers), STEPS, np.uint8)
    of = numbers[known & drawn]
    if len(of):
        low, high = np.quantile(of, [_TAIL, 1 - _TAIL])
        place = (numbers[known] - low) / max(float(high - low), 1e-12)
        codes[known] = np.clip(place * STEPS, 0, STEPS - 1).astype(np.uint8)
    codes[~drawn] = HIDDEN
    if not len(of):
        return Coloring(codes, colors, [])
    label = f"{low:.5g} to {high:.5g}"
    return Coloring(codes, colors, [Entry(label, len(of), tuple(range(STEPS)))])


def _ramp() -> list[str]:
    stops = np.array(_RAMP, float)
    at = np.linspace(0, len(stops) - 1, STEPS)
    mixed = [np.interp(at, np.arange(len(stops)), stops[:, part]) for part in range(3)]
    return ["#" + "".join(f"{round(float(part[n])):02x}" for part in mixed) for n in range(STEPS)]


def _name(value: Any) -> str:
    """A value as the legend has it; of a list the first."""
    if isinstance(value, list):
        value = value[0] if value else ""
    return str(value)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
