"""How many bytes the ID tables take in training, before they take them; and what makes them fit.

Takes how many rows are wanted, dials and a bound, gives a plan or refuses with the numbers; never
makes a table and never asks the machine for anything. What the bound is for are the tables alone:
their rows, the copy of them as of the best epoch, and what their optimizer remembers. The rows of
the examples, and a batch on its way through the network, are beside it.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ranking.errors import TableMemory
from ranking.idtables.backends import chosen
from ranking.idtables.dials import IdTableConfig

MIB = 1 << 20
_SIZE = {"float32": 4, "bfloat16": 2}
_FLOAT, _LONG = 4, 8


class Wanted(NamedTuple):
    """A table that a ranker wants."""

    name: str
    #: Rows that belong to one id alone, and hashed ones.
    own: int
    buckets: int
    #: Numbers of a row where they are those of a vector; 0 where the plan chooses.
    width: int = 0
    #: Whether it is float32, whatever the plan chooses.
    exact: bool = False


@dataclass(frozen=True, kw_only=True)
class TableBytes:
    """A planned table, and its bytes."""

    name: str
    rows: int
    dim: int
    precision: str
    backend: str
    #: Its rows; their copy as of the best epoch, with what Adagrad remembers of them; what the
    #: optimizer has beside, gradients included.
    weights: int
    copy: int
    state: int

    @property
    def total(self) -> int:
        return self.weights + self.copy + self.state

    @property
    def line(self) -> str:
        """For people."""
        parts = (("rows", self.weights), ("best epoch", self.copy), ("optimizer", self.state))
        told = ", ".join(f"{name} {_mib(size)}" for name, size in parts)
        return (
            f"{self.name}: {self.rows:,} rows of {self.dim} numbers in {self.precision}, "
            f"{_mib(self.total)} ({told}), moved by {self.backend}"
        )


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """What is trained: dials that fit, and the bytes of each table."""

    config: IdTableConfig
    tables: tuple[TableBytes, ...]
    #: The share of each side's own rows that is left; below 1 where ids were evicted for memory.
    kept: float
    reason: str

    @property
    def total(self) -> int:
        return sum(table.total for table in self.tables)

    @property
    def lines(self) -> tuple[str, ...]:
        """For people: a line per table, then all of them, and why."""
        lines = [table.line for table in self.tables]
        return (*lines, f"ID tables: {_mib(self.total)} in training; {self.reason}")

    def as_json(self) -> dict[str, Any]:
        tables = [
            {
                "name": table.name,
                "rows": table.rows,
                "dim": table.dim,
                "precision": table.precision,
                "backend": table.backend,
                "bytes": table.weights,
                "training_bytes": table.total,
            }
            for table in self.tables
        ]
        return {"tables": tables, "kept": self.kept, "reason": self.reason}


def plan(wanted: Sequence[Wanted], config: IdTableConfig, *, whole: int) -> TablePlan:
    """The finest tables within `memory_mib`: the most numbers, then the finer precision.

    `whole`: most rows of a table that AdamW moves as a whole. Where not even the coarsest fit, own
    rows go with `when_full = "evict"`, each side the same share of its rarest, and without it the
    plan is refused: `TableMemory`. The same numbers give the same plan. Raises `BackendMissing`.
    """
    budget = config.memory_mib * MIB
    found = _planned(wanted, config, whole, 1.0)
    if not budget:
        return replace(found, reason="memory is not bounded")
    choices = _choices(wanted, config)
    for one in choices:
        found = _planned(wanted, one, whole, 1.0)
        if found.total <= budget:
            changed = "" if one == config else f", narrowed from {config.dim} in {config.precision}"
            return replace(found, reason=f"within {_mib(budget)}{changed}")
    share = _share(wanted, choices[-1], whole, budget)
    if config.when_full == "evict" and share is not None:
        found = _planned(wanted, choices[-1], whole, share)
        return replace(
            found, reason=f"within {_mib(budget)}: {share:.1%} of own rows are left, the frequent"
        )
    own = 0 if share is None else sum(_left(table, share) for table in wanted if not table.exact)
    told = "; ".join(table.line for table in found.tables)
    raise TableMemory(
        f"memory_mib should be at least {math.ceil(found.total / MIB)}, received "
        f"{config.memory_mib}: {told}. Within it {own:,} ids could have rows of their own "
        f"(when_full=evict), a smaller least_dim takes less"
    )


def evicted(names: Sequence[str], kept: float) -> tuple[str, ...]:
    """The ids, most frequent first, that keep their own row."""
    return tuple(names[: math.floor(len(names) * kept)])


def _choices(wanted: Sequence[Wanted], config: IdTableConfig) -> list[IdTableConfig]:
    """Dials from the finest to the coarsest that are allowed."""
    dims = [config.dim]
    while any(not table.width for table in wanted) and dims[-1] // 2 >= config.least_dim:
        dims.append(dims[-1] // 2)
    coarser = config.optimizer == "adagrad" and config.backend in ("auto", "torch")
    precisions = ["float32", "bfloat16"] if coarser else ["float32"]
    if config.precision == "bfloat16":
        precisions = ["bfloat16"]
    return [replace(config, dim=dim, precision=name) for dim in dims for name in precisions]


def _planned(wanted: Sequence[Wanted], config: IdTableConfig, whole: int, kept: float) -> TablePlan:
    tables = tuple(_bytes(table, config, whole, kept) for table in wanted)
    return TablePlan(config=config, tables=tables, kept=kept, reason="")


def _bytes(table: Wanted, config: IdTableConfig, whole: int, kept: float) -> TableBytes:
    precision = "float32" if table.exact else config.precision
    own = replace(config, precision=precision)
    rows, dim = _left(table, kept) + table.buckets, table.width or config.dim
    weights = rows * dim * _SIZE[precision]
    return TableBytes(
        name=table.name,
        rows=rows,
        dim=dim,
        precision=precision,
        backend=chosen(own, dim),
        weights=weights,
        copy=weights + (rows * _FLOAT if config.optimizer == "adagrad" else 0),
        state=rows * _state(config.optimizer, dim, by_row=rows > whole),
    )


def _state(optimizer: str, dim: int, *, by_row: bool) -> int:
    """Bytes per row that an optimizer has beside it."""
    if optimizer == "adagrad":
        return _FLOAT
    if by_row:  # a mean and a square per number, the step as of which it is stored, its number
        return 2 * dim * _FLOAT + 2 * _LONG + 1
    return 3 * dim * _FLOAT  # and a gradient of the whole table


def _left(table: Wanted, kept: float) -> int:
    return math.floor(table.own * kept)


def _share(
    wanted: Sequence[Wanted], config: IdTableConfig, whole: int, budget: int
) -> float | None:
    """The largest share of own rows that fits, in thousandths; None where not even none does."""

    def total(thousandths: int) -> int:
        return _planned(wanted, config, whole, thousandths / 1000).total

    fitting = bisect_right(range(1000), budget, key=total)
    # Where AdamW changes its way, a few rows more may take a little less.
    while fitting and total(fitting - 1) > budget:
        fitting -= 1
    return (fitting - 1) / 1000 if fitting else None


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f} MiB"
