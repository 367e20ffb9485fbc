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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Literal

from kge.config import IndexConfig

KindName = Literal["exact", "hnsw", "ivf_sq8", "ivf_pq", "scan"]

#: With fewer rows FAISS cannot learn what the kind needs.
_LEAST_ROWS: Mapping[str, int] = {"ivf_sq8": 1_000, "ivf_pq": 10_000}
#: Rows that k-means wants per cell at least.
_ROWS_PER_CELL = 39
#: Every kind holds the length of each vector (float32).
_LENGTH_BYTES = 4
_APPROXIMATE: tuple[KindName, ...] = ("hnsw", "ivf_sq8", "ivf_pq")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A kind that may be built, and the sentence that says why."""

    kind: KindName
    #: What it will hold per vector, beside the bundle.
    bytes_per_vector: float
    reason: str


def choices(count: int, dim: int, budget_bytes: float, config: IndexConfig) -> list[Choice]:
    """The kinds to try for `count` vectors, the best one first; the last one always serves."""
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


def _choices(count: int, dim: int, budget: float, config: IndexConfig) -> Iterator[Choice]:
    room = f"{budget / 2**20:.0f} MiB"

    def choice(kind: KindName, why: str) -> Choice:
        return Choice(kind=kind, bytes_per_vector=bytes_per_vector(kind, dim, config), reason=why)

    def fits(kind: KindName) -> bool:
        return bytes_per_vector(kind, dim, config) * count <= budget

    asked = config.kind
    if asked == "auto":
        if count <= config.exact_rows and fits("exact"):
            yield choice("exact", f"{count} rows are at most exact_rows={config.exact_rows}")
            return
        yield from (
            choice(
                kind,
                f"{count} rows are more than exact_rows={config.exact_rows}, and {kind} is the "
                f"first of {', '.join(_APPROXIMATE)} that fits into {room}",
            )
            for kind in _APPROXIMATE
            if count > config.exact_rows and fits(kind) and count >= _LEAST_ROWS.get(kind, 1)
        )
    elif asked != "scan" and count >= _LEAST_ROWS.get(asked, 1):
        yield choice(asked, f"asked for by kind={asked}")
    if asked != "scan" and fits("exact"):
        yield choice("exact", f"nothing else is left, and {count} rows fit into {room}")
    elif asked == "scan":
        yield choice("scan", "asked for by kind=scan")
    else:
        yield choice("scan", f"nothing else is left that fits into {room}")
