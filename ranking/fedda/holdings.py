"""Whose rows of a table are whose.

Takes which rows of a table each labelled row names, and whose that row is; gives which are shared,
which are private, and where each client has them. Never sees what a row holds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

# Dimensions: n labelled rows, w rows of the table that each names, N clients, S shared rows, U the
# most of them that a client holds, Q the most private rows of a client.


class Holdings(NamedTuple):
    """Who holds what of one table."""

    #: Which rows of the table are shared, in rising order: two clients or more name them.
    rows: Int64[np.ndarray, "S"]
    #: The shared rows that each client names, by their place in `rows`; S fills up.
    shared: Int64[np.ndarray, "N U"]
    #: The rows that only one client names, by their number in the table; -1 fills up. They never
    #: leave it, and neither does it become known which they are.
    private: Int64[np.ndarray, "N Q"]
    #: Where a labelled row finds what it names: in its client's shared rows, then private ones.
    local: Int64[np.ndarray, "n w"]

    @property
    def named(self) -> Int64[np.ndarray, "N"]:
        """How many shared rows each client names."""
        return (self.shared < len(self.rows)).sum(axis=1)


def holdings(
    named: Int64[np.ndarray, "n w"], client: Int64[np.ndarray, "n"], *, clients: int, rows: int
) -> Holdings:
    """Of a table of so many rows. A row that nobody names is nobody's: it stays as it is."""
    keys = client[:, None] * rows + named
    pairs, place = np.unique(keys, return_inverse=True)
    owner, row = pairs // rows, pairs % rows
    owners = np.bincount(row, minlength=rows)
    shared_rows = np.flatnonzero(owners > 1)
    is_shared = owners[row] > 1
    slot = np.where(is_shared, _ranks(owner, is_shared), _ranks(owner, ~is_shared))
    most_shared, most_private = (
        int(slot[those].max()) + 1 if those.any() else 0 for those in (is_shared, ~is_shared)
    )
    shared = np.full((clients, most_shared), len(shared_rows), dtype=np.int64)
    shared[owner[is_shared], slot[is_shared]] = np.searchsorted(shared_rows, row[is_shared])
    private = np.full((clients, most_private), -1, dtype=np.int64)
    private[owner[~is_shared], slot[~is_shared]] = row[~is_shared]
    found = np.where(is_shared, slot, most_shared + slot)
    return Holdings(shared_rows, shared, private, found[place.reshape(named.shape)])


def _ranks(owner: Int64[np.ndarray, "p"], chosen: np.ndarray) -> Int64[np.ndarray, "p"]:
    """The how-manieth of its owner's chosen pairs each is; pairs lie sorted by owner."""
    before = np.cumsum(chosen) - chosen
    first = np.searchsorted(owner, owner, side="left")
    return before - before[first]


def places_of(
    dense: int, tables: Sequence[tuple[Holdings, int]]
) -> tuple[Int64[Tensor, "N U"], int]:
    """Where each client's numbers lie among the P that are shared, and P.

    Shared are `dense` numbers of all clients, then the shared rows of each table, each as many
    numbers as its width. P itself fills up.
    """
    size = dense + sum(len(held.rows) * width for held, width in tables)
    clients = len(tables[0][0].shared)
    parts = [np.broadcast_to(np.arange(dense), (clients, dense))]
    first = dense
    for held, width in tables:
        numbers = first + held.shared[:, :, None] * width + np.arange(width)
        filled = held.shared[:, :, None] < len(held.rows)
        parts.append(np.where(filled, numbers, size).reshape(clients, -1))
        first += len(held.rows) * width
    return torch.from_numpy(np.concatenate(parts, axis=1)), size
