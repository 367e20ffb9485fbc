"""Which tier holds what of a ranker that answers, from declared bytes.

Takes how many bytes tables and the network above them take, and what a server declares of its
tiers; gives a plan, or refuses with the numbers. Never asks a machine for anything.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ranking.errors import TableMemory

MIB = 1 << 20
CPU, DEVICE = "cpu", "device"
#: Bytes of a number, and beside them of a row: the scale and the bias of one in few bits.
_NUMBER = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}
_BESIDE = {"int8": 8, "int4": 4}


class Tiers(NamedTuple):
    """What a server declares."""

    #: Where the upper model runs if not on the CPU, as torch calls it; "" where nothing else is.
    device: str = ""
    #: Bytes of it that a ranker may take; 0: none for tables, and the upper model is not bounded.
    device_bytes: int = 0
    #: Bytes that a ranker may take in the CPU tier, mapped ones included; 0: no bound.
    cpu_bytes: int = 0


#: Everything in the CPU tier, without a bound.
CPU_ALONE = Tiers()


class Held(NamedTuple):
    """A table, and what it is held in."""

    name: str
    rows: int
    dim: int
    precision: str

    @property
    def bytes(self) -> int:
        """Two numbers of 4 bits share a byte, the last one of an odd row has it alone."""
        row = math.ceil(_NUMBER[self.precision] * self.dim) + _BESIDE.get(self.precision, 0)
        return self.rows * row

    @property
    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "bytes": self.bytes}


@dataclass(frozen=True, kw_only=True)
class TierPlan:
    """Where a ranker's parts lie, and why."""

    tables: tuple[Held, ...]
    #: Bytes of the upper model: everything but the tables.
    upper: int
    #: Bytes of its exported network, which is there beside it where that computes.
    exported: int
    tiers: Tiers
    #: CPU or DEVICE.
    upper_tier: str
    tables_tier: str
    reason: str

    @property
    def place(self) -> str:
        """The upper model's device, as torch calls it."""
        return self.tiers.device if self.upper_tier == DEVICE else "cpu"

    def bytes_of(self, tier: str) -> int:
        """What a tier holds."""
        tables = sum(table.bytes for table in self.tables)
        upper = self.upper + (self.exported if tier == CPU else 0)
        return (upper if tier == self.upper_tier else 0) + (
            tables if tier == self.tables_tier else 0
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """For people: a line per table, one for the upper model, one for the tiers."""
        how = "mapped in the cpu tier" if self.tables_tier == CPU else "copied to the device tier"
        tables = [
            f"{table.name}: {table.rows:,} rows of {table.dim} numbers in {table.precision}, "
            f"{_mib(table.bytes)}, {how}"
            for table in self.tables
        ]
        upper = f"upper model: {_mib(self.upper)}, on {self.place}"
        if self.exported and self.upper_tier == CPU:
            upper += f", and {_mib(self.exported)} exported"
        told = ", ".join(f"{tier} {_mib(self.bytes_of(tier))}" for tier in (CPU, DEVICE))
        return (*tables, upper, f"tiers: {told}; {self.reason}")


def plan_tiers(tables: Sequence[Held], upper: int, tiers: Tiers, *, exported: int = 0) -> TierPlan:
    """The upper model on the device where it fits, tables beside it where all of them fit as well.

    All or none of the tables: a lookup that one table has to wait for is waited for. Our design;
    the papers' tables lie on machines of their own. What the rows of a batch take on their way is
    not counted. `exported`: bytes of the network that computes in its stead on the CPU. Raises
    `TableMemory` where the CPU tier should hold more than is declared for it.
    """
    rows = sum(table.bytes for table in tables)
    declared = tiers.device_bytes
    upper_tier, tables_tier = CPU, CPU
    if not tiers.device:
        reason = "there is no device"
    elif declared and upper > declared:
        reason = f"the upper model is above the {_mib(declared)} declared for the device"
    elif not declared:
        upper_tier, reason = DEVICE, "no bytes of the device are declared for tables"
    elif upper + rows > declared:
        upper_tier = DEVICE
        reason = (
            f"all would take {_mib(upper + rows)} of the {_mib(declared)} declared for the device"
        )
    else:
        upper_tier = tables_tier = DEVICE
        reason = f"all is within the {_mib(declared)} declared for the device"
    found = TierPlan(
        tables=tuple(tables),
        upper=upper,
        exported=exported,
        tiers=tiers,
        upper_tier=upper_tier,
        tables_tier=tables_tier,
        reason=reason,
    )
    if tiers.cpu_bytes and found.bytes_of(CPU) > tiers.cpu_bytes:
        raise TableMemory(
            f"cpu_mib should be at least {-(-found.bytes_of(CPU) // MIB)}, received "
            f"{tiers.cpu_bytes / MIB:g}: {'; '.join(found.lines[:-1])}. A ranker that is trained "
            "with served=int8 or int4 takes less"
        )
    return found


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f} MiB"
