"""From one version of a table to the next: who stays where, who comes, who goes.

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
    """The placement of the ids that are admitted now, the first ones the most frequent.

    Who had a slot keeps it. Slots of who lost theirs go to new ids, the lowest to the most
    frequent, then further ones are added behind; what is left over at the end is given back, and
    elsewhere stays empty. A hashed row keeps its number among the buckets. Raises `TableMismatch`
    where an id is named twice.
    """
    admitted_now = set(ranked)
    if len(admitted_now) != len(ranked):
        raise TableMismatch(
            f"ids should be named once each, received {len(ranked)} of which "
            f"{len(admitted_now)} differ"
        )
    slots = [name if name in admitted_now else None for name in former.exclusive]
    evicted = tuple(
        name for name in former.exclusive if name is not None and name not in admitted_now
    )
    held = {name for name in slots if name is not None}
    new = [name for name in ranked if name not in held]
    free = [slot for slot, name in enumerate(slots) if name is None]
    for slot, name in zip(free, new, strict=False):
        slots[slot] = name
    slots += new[len(free) :]
    while slots and slots[-1] is None:
        slots.pop()
    placement = Placement(tuple(slots), former.buckets)
    stay = np.array([n for n, name in enumerate(slots) if name in held], dtype=np.int64)
    buckets = np.arange(former.buckets, dtype=np.int64)
    came = np.array(
        [n for n, name in enumerate(slots) if name is not None and name not in held], dtype=np.int64
    )
    return Succession(
        placement=placement,
        before=np.concatenate([stay, len(former.exclusive) + buckets]),
        now=np.concatenate([stay, len(slots) + buckets]),
        admitted=came,
        evicted=evicted,
    )
