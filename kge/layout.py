"""Puts points on a plane so that those that are near in many dimensions are near there too.

Takes unit vectors, gives two coordinates for each; never reads a file, and gives the same for the
same vectors. Our design, of known parts: t-SNE (van der Maaten and Hinton, JMLR 2008) begun at the
principal components (Kobak and Berens, Nature Communications 2019), where each point is drawn by
its nearest alone and pushed by all others at once, by a convolution on a grid (FIt-SNE: Linderman
et al., Nature Methods 2019).

Differs from the papers: charges are shared out among the four corners of a cell, without a
polynomial; points that are near to many take smaller steps, as vectors of a graph have such hubs;
of many points a sample is laid out, and each other one put between its nearest of the sample.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import faiss
import numpy as np
from jaxtyping import Float, Float32, Int
from numpy.typing import NDArray
from scipy import fft, sparse

from kge.searchers import one_thread

# Dimensions: n points, q queries, d vector, k neighbors, e pairs of neighbors.

#: Each point is drawn by so many, as if by so many equally near.
NEIGHBORS, PERPLEXITY = 30, 10.0
#: Up to so many points are compared with all others; of more only cells that lie near are.
_EXACT_ROWS = 20_000
_PROBES = 24
#: A point outside the sample lies in the middle of so many of it.
_PLACED_BY = 5
_SEED = 23
#: Fewer points than these have no neighbors to speak of.
_FEWEST = 3
_BLOCK = 1 << 16

#: Rounds in which neighbors draw so many times as strongly, and those that follow.
_EARLY, _EARLY_ROUNDS = 12.0, 80
_LATE, _LATE_ROUNDS = 1.2, 200
_INERTIA = 0.8
_LEAST_RATE, _FARTHEST = 50.0, 5.0
#: Gain of a point that goes on in its direction, of one that turns, and the least.
_FASTER, _SLOWER, _LEAST_GAIN = 0.2, 0.8, 0.01
#: Cells are at most so wide while that gives no more than so many of a side, and narrower where it
#: would give fewer than these.
_CELL, _MOST_CELLS, _FEWEST_CELLS = 0.4, 512, 128
_NARROWEST_CELL = 1e-6
#: Up to so many points push one another without a grid.
_EACH = 500
_BEGUN = 1e-2
#: How narrow a point's Gaussian may be, as a logarithm, and how often the span is halved.
_WIDEST, _NARROWEST, _HALVINGS = -10.0, 25.0, 40

_NOTHING = 1e-30

#: Told how far it is: rounds done, of how many.
Tell = Callable[[int, int], None]


class Pairs(NamedTuple):
    """Who draws whom, both ways, sorted by who is drawn."""

    one: Int[np.ndarray, "e"]
    other: Int[np.ndarray, "e"]
    #: The sum of all is 1.
    weight: Float32[np.ndarray, "e"]


def lay_out(
    units: Float[np.ndarray, "n d"], landmarks: int, tell: Tell = lambda _done, _of: None
) -> Float32[np.ndarray, "n 2"]:
    """A place for each point; of more than `landmarks` a sample of so many is laid out.

    Of points that are all alike nothing is known but that, and of fewer than three nothing at all.
    """
    count = len(units)
    if count < _FEWEST:
        return np.eye(count, 2, dtype=np.float32)
    if count > landmarks:
        chosen = np.random.default_rng(_SEED).choice(count, landmarks, replace=False)
        chosen.sort()
        return _beside(units, units[chosen], lay_out(units[chosen], landmarks, tell))
    begun = principal(units)
    if not begun[:, 0].std():
        return begun
    near = _searcher(units).search(units, NEIGHBORS + 1)[1]
    return settled(begun, pairs_of(units, near), tell)


def _beside(
    units: Float[np.ndarray, "n d"],
    landmarks: Float[np.ndarray, "m d"],
    places: Float32[np.ndarray, "m 2"],
) -> Float32[np.ndarray, "n 2"]:
    """Each point between its nearest landmark and the middle of the nearest few.

    The middle is a median: a mean of two places that are far apart is near to neither.
    """
    search = _searcher(landmarks)
    found = np.empty((len(units), 2), np.float32)
    for start in range(0, len(units), _BLOCK):
        near = search.search(units[start : start + _BLOCK], _PLACED_BY)[1]
        near = np.where(near < 0, near[:, :1], near)
        found[start : start + _BLOCK] = (places[near[:, 0]] + np.median(places[near], axis=1)) / 2
    return found


def principal(units: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n 2"]:
    """The two principal components; each points to where its points lie farther out."""
    mean = units.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.zeros((units.shape[1], units.shape[1]))
    for start in range(0, len(units), _BLOCK):
        some = units[start : start + _BLOCK] - mean
        spread += some.T @ some
    axes = np.linalg.eigh(spread)[1][:, :-3:-1].astype(np.float32)
    found = np.zeros((len(units), 2), np.float32)
    for start in range(0, len(units), _BLOCK):
        some = units[start : start + _BLOCK] - mean
        found[start : start + _BLOCK, : axes.shape[1]] = some @ axes
    signs = np.where((found.astype(np.float64) ** 3).sum(axis=0) < 0, -1, 1)
    return found * signs.astype(np.float32)


def _searcher(units: Float[np.ndarray, "n d"]) -> Any:
    """Finds the nearest of units: exactly of few, in cells that lie near of many."""
    made: Any = faiss
    count, dim = units.shape
    flat = made.IndexFlatIP(dim)
    if count <= _EXACT_ROWS:
        flat.add(units)
        return flat
    cells = round(4 * count**0.5)
    built = made.IndexIVFFlat(flat, dim, cells, made.METRIC_INNER_PRODUCT)
    draw = np.random.default_rng(_SEED)
    few = np.sort(draw.choice(count, min(count, 64 * cells), replace=False))
    with one_thread():  # several would learn other cells each time
        built.train(units[few])
    built.add(units)
    built.nprobe = _PROBES
    return built


def pairs_of(units: Float[np.ndarray, "n d"], near: Int[np.ndarray, "n k"]) -> Pairs:
    """Neighbors with how strongly each draws: by a Gaussian as wide as its point needs."""
    count = len(near)
    one = np.arange(count)
    apart = np.empty(near.shape, np.float32)
    for start in range(0, count, _BLOCK >> 4):
        some = slice(start, start + (_BLOCK >> 4))
        apart[some] = 1.0 - np.einsum("nkd,nd->nk", units[near[some]], units[some])
    share = shares(np.where((near >= 0) & (near != one[:, None]), apart, np.inf))
    kept = share > 0
    told = (share[kept], (np.repeat(one, kept.sum(axis=1)), near[kept]))
    drawn_one = sparse.csr_matrix(told, shape=(count, count))
    both = (drawn_one + drawn_one.T).tocsr()
    both.sort_indices()
    return Pairs(
        np.repeat(one.astype(np.int32), np.diff(both.indptr)),
        both.indices.astype(np.int32),
        (both.data / both.data.sum()).astype(np.float32),
    )


def shares(apart: Float32[np.ndarray, "n k"]) -> Float32[np.ndarray, "n k"]:
    """Each row as probabilities, of the perplexity that is asked for or nearly as many as it has.

    Infinite is nobody.
    """
    beyond = apart - apart.min(axis=1, keepdims=True)
    beyond[np.isnan(beyond)] = np.inf  # a row of nobody
    wanted = np.log(np.maximum(1, np.minimum(PERPLEXITY, 0.9 * np.isfinite(beyond).sum(axis=1))))
    low, high = np.full(len(apart), _WIDEST), np.full(len(apart), _NARROWEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = _gaussian(beyond, middle)
        entropy = -(found * np.log(np.maximum(found, _NOTHING))).sum(axis=1)
        wide = entropy > wanted
        low, high = np.where(wide, middle, low), np.where(wide, high, middle)
    return _gaussian(beyond, (low + high) / 2)


def _gaussian(
    beyond: Float32[np.ndarray, "n k"], narrow: Float[np.ndarray, "n"]
) -> Float32[np.ndarray, "n k"]:
    found = np.exp(-beyond * np.exp(narrow)[:, None].astype(np.float32))
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), _NOTHING))


def drawn(places: Float32[np.ndarray, "2 n"], pairs: Pairs) -> Float32[np.ndarray, "2 n"]:
    """How each point is drawn: the sum of weight (other - one) / (1 + distance squared)."""
    count = places.shape[1]
    apart = [side[pairs.other] - side[pairs.one] for side in places]
    strength = pairs.weight / (1.0 + apart[0] ** 2 + apart[1] ** 2)
    sums = [np.bincount(pairs.one, weights=side * strength, minlength=count) for side in apart]
    return np.stack(sums).astype(np.float32)


class Field:
    """How all points push: kernels on a grid, whose transforms are kept while the grid stays."""

    def __init__(self) -> None:
        self._of: tuple[int, float] = (0, 0.0)
        self._kernels: list[NDArray[np.complex64]] = []

    def pushed(self, places: Float32[np.ndarray, "2 n"]) -> Float32[np.ndarray, "2 n"]:
        """The sum of (one - other) / (1 + distance squared) squared, over that of the kernel."""
        if places.shape[1] <= _EACH:
            return _pushed_by_each(places)
        low = places.min(axis=1, keepdims=True)
        span = float((places - low).max())
        width = max(min(_CELL, span / _FEWEST_CELLS), span / _MOST_CELLS, _NARROWEST_CELL)
        side = fft.next_fast_len(int(span / width) + 3, real=True)
        self._ready(side, width)
        scaled = (places - low) / np.float32(width)
        cell = scaled.astype(np.int32)
        part = scaled - cell.astype(np.float32)
        corners = [
            (
                (cell[0] + a) * side + cell[1] + b,
                (part[0] if a else 1 - part[0]) * (part[1] if b else 1 - part[1]),
            )
            for a in (0, 1)
            for b in (0, 1)
        ]
        charge = np.zeros(side * side)
        for place, share in corners:
            charge += np.bincount(place, weights=share, minlength=side * side)
        grid = charge.reshape(side, side).astype(np.float32)
        spectrum = fft.rfft2(grid, (2 * side, 2 * side), workers=-1)
        found = []
        for kernel in self._kernels:
            field = fft.irfft2(spectrum * kernel, (2 * side, 2 * side), workers=-1)
            flat = np.ascontiguousarray(field[:side, :side]).ravel()
            found.append(sum(flat[place] * share for place, share in corners))
        total = max(float(found[0].sum(dtype=np.float64)) - places.shape[1], 1e-6)
        return np.stack(found[1:]) / np.float32(total)

    def _ready(self, side: int, width: float) -> None:
        if self._of == (side, width):
            return
        steps = np.arange(2 * side, dtype=np.float32)
        apart = np.where(steps < side, steps, steps - 2 * side) * np.float32(width)
        near = 1.0 / (1.0 + apart[:, None] ** 2 + apart[None, :] ** 2)
        square = near**2
        kernels = (near, square * apart[:, None], square * apart[None, :])
        self._kernels = [fft.rfft2(kernel.astype(np.float32), workers=-1) for kernel in kernels]
        self._of = (side, width)


def _pushed_by_each(places: Float32[np.ndarray, "2 n"]) -> Float32[np.ndarray, "2 n"]:
    """The same, without a grid: of so few it is the quicker way."""
    apart = places[:, :, None] - places[:, None, :]
    near = 1.0 / (1.0 + apart[0] ** 2 + apart[1] ** 2)
    total = max(float(near.sum(dtype=np.float64)) - places.shape[1], 1e-6)
    return np.asarray((apart * near**2).sum(axis=2) / np.float32(total))


def settled(
    begun: Float32[np.ndarray, "n 2"], pairs: Pairs, tell: Tell
) -> Float32[np.ndarray, "n 2"]:
    """Points moved until draws and pushes are nearly even."""
    count = len(begun)
    places = np.ascontiguousarray(begun.T)
    places = places * np.float32(_BEGUN / float(places[0].std()))
    field, speed, gain = Field(), np.zeros_like(places), np.ones_like(places)
    # At the rate of all others, who is near to many would swing about them farther and farther.
    heavy = np.maximum(np.bincount(pairs.one, weights=pairs.weight, minlength=count) * count, 1.0)
    rounds = _EARLY_ROUNDS + _LATE_ROUNDS
    for done in range(rounds):
        strength = _EARLY if done < _EARLY_ROUNDS else _LATE
        force = strength * drawn(places, pairs) + field.pushed(places)
        onward = (force > 0) == (speed > 0)
        gain = np.maximum(np.where(onward, gain + _FASTER, gain * _SLOWER), _LEAST_GAIN)
        rate = (max(_LEAST_RATE, count / strength) / heavy).astype(np.float32)
        speed = np.float32(_INERTIA) * speed + rate * gain.astype(np.float32) * force
        far = np.sqrt((speed**2).sum(axis=0))
        speed *= np.minimum(1.0, _FARTHEST / np.maximum(far, 1e-9)).astype(np.float32)
        places = places + speed
        places -= places.mean(axis=1, keepdims=True)
        tell(done + 1, rounds)
    return np.ascontiguousarray(places.T)
