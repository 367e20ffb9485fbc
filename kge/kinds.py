"""Which kind of index a set of vectors gets, and why.

Takes count, dimension and a budget, gives kinds in the order in which to try them; never
builds one.

    exact    every vector, compared one by one; 4 d bytes each beside the bundle
    hnsw     a graph of near vectors; 4 d bytes and its links
    ivf_sq8  cells of near vectors, a byte per coordinate
    ivf_pq   cells of near vectors, a byte per few coordinates
    scan     every vector, read from the bundle itself: slow, and nothing to hold

What a kind finds is compared again by the bundle's own vectors, so bytes cost recall alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, isqrt, log
from typing import Literal

from kge.config import IndexConfig

KindName = Literal["exact", "hnsw", "ivf_sq8", "ivf_pq", "scan"]

#: With fewer rows FAISS cannot learn what the kind needs.
_LEAST_ROWS: Mapping[str, int] = {"ivf_sq8": 1_000, "ivf_pq": 10_000}
#: Rows that k-means wants per cell at least.
_ROWS_PER_CELL = 39
#: Every kind holds the length of each vector (float32).
_LENGTH_BYTES = 4
#: Comparing a vector of an HNSW graph takes as long as several of a cell: they lie apart.
_APART = 3
#: A kind that compares no more than this share of the rows, or this many, is quick enough.
_QUICK_SHARE, _QUICK_ROWS = 0.05, 20_000
#: From so many rows on, what takes long to build is tried on parts of them first.
TRIAL_FROM = 200_000
#: Rows of these parts.
TRIAL_ROWS = (12_500, 50_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A kind that may be built, and the sentence that says why."""

    kind: KindName
    #: What it will hold per vector, beside the bundle.
    bytes_per_vector: float
    reason: str


def choices(count: int, dim: int, budget_bytes: float, config: IndexConfig) -> list[Choice]:
    """The kinds to try for `count` vectors, in their order; the last one always serves."""
    return list(_choices(count, dim, budget_bytes, config))


def shares(sizes: Mapping[str, int], memory_mib: int) -> dict[str, float]:
    """What each part of an index may take of the whole budget (bytes), in proportion to size."""
    total = sum(sizes.values())
    return {name: memory_mib * 2**20 * size / max(total, 1) for name, size in sizes.items()}


def cells(count: int) -> int:
    """Cells of an inverted file: 4 sqrt(n), as far as there are rows to place them by."""
    return max(1, min(4 * isqrt(count), count // _ROWS_PER_CELL))


def code_bytes(dim: int) -> int:
    """Bytes of a product-quantized vector: one per four coordinates, and a divisor of d."""
    return max(n for n in range(1, max(1, dim // 4) + 1) if dim % n == 0)


def bytes_per_vector(kind: KindName, dim: int, config: IndexConfig) -> float:
    """What a kind holds per vector, as FAISS lays it out."""
    return _LENGTH_BYTES + {
        "exact": 4.0 * dim,
        # 2 M links at the ground, a few above (one row in M rises a floor); offsets and levels.
        "hnsw": 4.0 * dim + 8.0 * config.links + 4.0 * config.links / (config.links - 1) + 16,
        "ivf_sq8": dim + 8.0,
        "ivf_pq": code_bytes(dim) + 8.0,
        "scan": 0.0,
    }.get(kind, 0.0)


def comparisons(kind: KindName, effort: int, count: int, config: IndexConfig) -> float:
    """How many vectors a search compares, as if they lay side by side: its time, without a clock.

    A clock would say something else each time, and the same vectors another kind.
    """
    if kind == "hnsw":
        return float(_APART * config.links * effort)
    if kind in ("ivf_sq8", "ivf_pq"):
        return cells(count) + count * min(1.0, effort / cells(count))
    return float(count)


def foretold(efforts: tuple[float, float], parts: tuple[int, int], count: int) -> float:
    """The effort that `count` rows need, as a power of their number through two parts of them.

    Infinite where the larger part has found none that is enough; never less than that part's. Our
    design: on Gaussian noise the effort of an HNSW graph goes about with the root of the number.
    """
    small, large = efforts
    if large == inf:
        return inf
    power = max(0.0, log(large / small) / log(parts[1] / parts[0]))
    return large * (count / parts[1]) ** power


def is_quick(compared: float, count: int) -> bool:
    """Whether a search is so quick that nobody has to look for a quicker kind."""
    return compared <= max(_QUICK_SHARE * count, _QUICK_ROWS)


def _choices(count: int, dim: int, budget: float, config: IndexConfig) -> Iterator[Choice]:
    room = f"{budget / 2**20:.0f} MiB"

    def choice(kind: KindName, why: str) -> Choice:
        return Choice(kind=kind, bytes_per_vector=bytes_per_vector(kind, dim, config), reason=why)

    def fits(kind: KindName) -> bool:
        enough = count >= _LEAST_ROWS.get(kind, 1)
        return enough and bytes_per_vector(kind, dim, config) * count <= budget

    if not count:
        yield choice("scan", "no entity of this type that may be found has a vector here")
        return
    if config.kind == "scan":
        yield choice("scan", "asked for by kind=scan")
        return
    if config.kind != "auto":
        if count >= _LEAST_ROWS.get(config.kind, 1):
            yield choice(config.kind, f"asked for by kind={config.kind}")
    elif count <= config.exact_rows:
        if fits("exact"):
            yield choice("exact", f"{count} rows are at most exact_rows={config.exact_rows}")
            return
    else:
        yield from (choice(kind, why) for kind, why in _approximate(count, room, fits, config))
    if fits("exact"):
        yield choice("exact", f"nothing else is left, and {count} rows fit into {room}")
    else:
        yield choice("scan", f"nothing else is left that fits into {room}")


def _approximate(
    count: int, room: str, fits: Callable[[KindName], bool], config: IndexConfig
) -> Iterator[tuple[KindName, str]]:
    """The kinds for many rows; the one with the fewest bytes only where no other has room."""
    why = f"{count} rows are more than exact_rows={config.exact_rows}"
    kinds: tuple[KindName, ...] = ("ivf_sq8", "hnsw")
    taken = [kind for kind in kinds if fits(kind)]
    for kind in taken:
        yield kind, f"{why}, and it fits into {room}"
    if not taken and fits("ivf_pq"):
        yield "ivf_pq", f"{why}, and nothing larger fits into {room}"
