"""Matrix products: how many operations a batch of TransRA's takes, and how fast they could be.

Takes shapes, gives counts and rates; never trains. Counted are the products of `kge/kernel.py` and
`kge/factors.py` with full matrices and softmax, 2 operations per multiply-add, and nothing else: a
test holds the count equal to what torch's own counter sees in one step.
"""

import time
from collections.abc import Sequence

import torch

from kge.blocks import Batch, Block
from kge.config import TransRAConfig
from kge.factors import LINE, STEP

# Dimensions: b queries, x tails that they meet one by one, m candidates, d and k as in TransRA.

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: What numbers of projected rows and of scored points are filled up to multiples of.
_STEPS = {"float32": (1, LINE), "bfloat16": (STEP, STEP)}


def operations(batch: Batch, config: TransRAConfig, *, filled_up: bool = False) -> int:
    """Floating-point operations of the products of one step.

    `filled_up`: with those of rows that fill products up to whole steps, which are no use to
    anybody.
    """
    if config.projection != "full" or config.loss != "softmax":
        raise ValueError(
            f"projection and loss should be full and softmax to be counted, received "
            f"{config.projection} and {config.loss}"
        )
    rows, points = _STEPS[config.precision] if filled_up else (1, 1)
    return sum(_of_block(block, batch, config, rows=rows, points=points) for block in batch.blocks)


def _up(number: int, step: int) -> int:
    return number + -number % step


def _of_block(block: Block, batch: Batch, config: TransRAConfig, *, rows: int, points: int) -> int:
    d, k = config.dim, config.relation_dim
    b, candidates = _up(len(block.head), rows), len(batch.candidates[block.pool].rows)
    x = len(block.tail) + (b if block.tempted.any() else 0)
    m, scored = _up(candidates, rows), _up(candidates, points)
    # Each row goes through its matrix, its gradient back, and both make the matrix's gradient;
    # that of tails is made in whole precision, where nothing is filled up.
    projected = 3 * b if config.tails == "still" else 3 * b + 2 * _up(x, rows) + x + 3 * m
    # In half precision the candidates' base is two columns of scores, and has one of gradients.
    half = config.precision == "bfloat16"
    scores, by_query, by_points = k + 2 * half, k, k + half
    return 2 * (projected * d * k + b * scored * (scores + by_query + by_points))


def peak(*, sizes: Sequence[int], precision: str, runs: int) -> dict[str, float]:
    """Operations per second of the quickest of several large square products on this machine.

    Of several sizes, since the largest is not the quickest where others use the machine too.
    """
    quickest = {size: _quickest(size, _DTYPES[precision], runs) for size in sizes}
    size = max(quickest, key=quickest.__getitem__)
    return {"per_second": quickest[size], "size": size, "runs": runs}


def _quickest(size: int, dtype: torch.dtype, runs: int) -> float:
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=draw).to(dtype) for _ in range(2))
    made = torch.empty(size, size, dtype=dtype)
    torch.mm(left, right, out=made)  # the first one makes threads and buffers
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        torch.mm(left, right, out=made)
        seconds.append(time.perf_counter() - begin)
    return 2.0 * size**3 / min(seconds)
