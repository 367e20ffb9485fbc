"""From one version of a table to the next: who stays, who comes, who goes.

Takes a placement and the ids that are admitted now, gives the next placement and which rows move;
rows move with all that is remembered of them. Never decides who is admitted (`placement.py`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ranking.errors import TableMismatch
from ranking.idtables.placement import Placement


class Succession(NamedTuple):
    """The next placement, and what becomes of the former one's rows."""

    placement: Placement
    #: int64 [k]: rows of before and of now, of what stays: ids with a row of their own, buckets
    before: Int64[np.ndarray, "k"]
    now: Int64[np.ndarray, "k"]
    #: int64 [m]: slots of ids that had no row of their own before
    admitted: Int64[np.ndarray, "m"]
    #: ids that lost theirs
    evicted: tuple[str, ...]

    def carried(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rows of the former version in their places of now, zero where nothing stayed.

        `tensors`: [rows of before, ...] each, such as the table's weight and its mover's `states`.
        """
        count = self.placement.row_count
        before, now = torch.from_numpy(self.before), torch.from_numpy(self.now)
        found = {}
        for name, tensor in tensors.items():
            moved = tensor.new_zeros((count, *tensor.shape[1:]))
            moved[now] = tensor[before]
            found[name] = moved
        return found


def succeed(former: Placement, ranked: Sequence[str]) -> Succession:
    """The placement of the ids that are admitted now, and what becomes of the former one's rows.

    As `next_placement` with as many buckets as before, whose rows stay. Raises `TableMismatch`
    where an id is named twice.
    """
    return succession(former, next_placement(former, ranked, former.buckets))


def next_placement(former: Placement, ranked: Sequence[str], buckets: int) -> Placement:
    """Slots for the ids that are admitted now, the first ones the most frequent.

    Who had a slot keeps it. Slots of who lost theirs go to new ids, the lowest to the most
    frequent, then further ones are added behind; what is left over at the end is given back, and
    elsewhere stays empty. Raises `TableMismatch` where an id is named twice.
    """
    admitted = set(ranked)
    if len(admitted) != len(ranked):
        raise TableMismatch(
            f"ids should be named once each, received {len(ranked)} of which {len(admitted)} differ"
        )
    slots = [name if name in admitted else None for name in former.exclusive]
    held = {name for name in slots if name is not None}
    new = [name for name in ranked if name not in held]
    free = [slot for slot, name in enumerate(slots) if name is None]
    for slot, name in zip(free, new, strict=False):
        slots[slot] = name
    slots += new[len(free) :]
    while slots and slots[-1] is None:
        slots.pop()
    return Placement(tuple(slots), buckets)


def succession(former: Placement, placement: Placement) -> Succession:
    """Which rows of one placement are which of another, whatever the order of their slots.

    A hashed row keeps its number among the buckets, where there are as many as before; else ids
    fall into other ones, and none of them stays.
    """
    before_of = {name: n for n, name in enumerate(former.exclusive) if name is not None}
    slots = [(n, name) for n, name in enumerate(placement.exclusive) if name is not None]
    stay = [(before_of[name], n) for n, name in slots if name in before_of]
    pairs = np.array(stay, dtype=np.int64).reshape(-1, 2)
    alike = former.buckets if former.buckets == placement.buckets else 0
    buckets = np.arange(alike, dtype=np.int64)
    here = {name for _, name in slots}
    return Succession(
        placement=placement,
        before=np.concatenate([pairs[:, 0], len(former.exclusive) + buckets]),
        now=np.concatenate([pairs[:, 1], len(placement.exclusive) + buckets]),
        admitted=np.array([n for n, name in slots if name not in before_of], dtype=np.int64),
        evicted=tuple(name for name in before_of if name not in here),
    )
