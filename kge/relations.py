"""The maps of relations while they are learned.

Takes a model's relation parameters, opens one relation at a time: its maps, and the gradients that
the blocks of a batch add to them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kge.config import TransRAConfig
from kge.kernel import Maps
from kge.model import Parts


@dataclass(frozen=True)
class OpenRelation:
    """One relation in one batch."""

    row: int
    maps: Maps
    _slopes: list[Maps] = field(default_factory=list)

    def seen(self, *, swapped: bool) -> Maps:
        """The maps; swapped, where tails ask for heads: `||T t - r - M h||` is as far."""
        if not swapped:
            return self.maps
        return Maps(-self.maps.shift, self.maps.tail, self.maps.head)

    def add(self, slopes: Maps, *, swapped: bool) -> None:
        """Add the gradients of one block."""
        if swapped:
            slopes = Maps(-slopes.shift, slopes.tail, slopes.head)
        self._slopes.append(slopes)

    def slopes(self) -> Maps:
        """The gradients of all blocks."""
        slopes = self._slopes
        return Maps(
            torch.stack([slope.shift for slope in slopes]).sum(dim=0),
            _sum([slope.head for slope in slopes]),
            _sum([slope.tail for slope in slopes]),
        )


class Relations:
    """The tables of one model's relations, and how they are opened and closed."""

    def __init__(self, part: Parts, config: TransRAConfig, count: int) -> None:
        self._config, self._count = config, count
        self._matrices = {"head": part.matrices}
        if part.tail_matrices is not None:
            self._matrices["tail"] = part.tail_matrices
        self.tables: dict[str, Tensor] = {"shift": part.translations.values.data}
        for name, matrices in self._matrices.items():
            for n, values in enumerate(matrices.parts):
                self.tables[f"{name}.{n}"] = values.data

    def side(self, side: int) -> tuple[int, bool]:
        """A side's row in the tables, and whether head and tail change places.

        PyKEEN interleaves a relation and its reciprocal; without reciprocals the other direction
        is the same relation seen from the tail.
        """
        relation, backward = side % self._count, side >= self._count
        if self._config.reciprocal:
            return 2 * relation + int(backward), False
        return relation, backward

    def open(self, row: int) -> OpenRelation:
        """The maps of a row, composed."""
        head = self._matrices["head"].matrix(row)
        tail = {"same": head, "still": None, "own": None}[self._config.tails]
        if "tail" in self._matrices:
            tail = self._matrices["tail"].matrix(row)
        return OpenRelation(row, Maps(self.tables["shift"][row], head, tail))

    def pulled(self, opened: Iterable[OpenRelation]) -> dict[tuple[str, int], Tensor]:
        """The gradients by rows of the tables, by (table, row); relations that share one add up."""
        found: dict[tuple[str, int], Tensor] = {}
        for relation in opened:
            slopes = relation.slopes()
            found["shift", relation.row] = slopes.shift
            by_head, by_tail = slopes.head, slopes.tail
            if self._config.tails == "same" and by_head is not None and by_tail is not None:
                by_head, by_tail = by_head + by_tail, None
            for name, slope in (("head", by_head), ("tail", by_tail)):
                if slope is None:
                    continue
                matrices = self._matrices[name]
                for n, part in enumerate(matrices.slopes(relation.row, slope)):
                    key = f"{name}.{n}", matrices.row(relation.row)
                    found[key] = found[key] + part if key in found else part
        return found


def _sum(parts: list[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    if not present:
        return None
    return present[0] if len(present) == 1 else torch.stack(present).sum(dim=0)
