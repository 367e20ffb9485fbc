"""A sealed ranker's network as it answers: ID rows in their tier, all else on one device.

Takes a trained network, gives the tensors of its file; takes such a file and what a server
declares of its tiers, gives the network. Never trains, and never reads rows that nobody asks for.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from torch import Tensor, nn

from ranking.formats import weights_of
from ranking.idtables.mapped import mapped
from ranking.idtables.served import (
    DeviceTable,
    MappedTable,
    SealedRows,
    id_tables,
    precision_of,
    sealed_rows,
    sealed_tensors,
)
from ranking.idtables.tiers import DEVICE, Held, TierPlan, Tiers, plan_tiers
from ranking.model import RankerModel


class Placed(NamedTuple):
    """A network whose parts lie where a plan says."""

    model: RankerModel
    plan: TierPlan


def sealed_weights(model: RankerModel, served: str) -> dict[str, Tensor]:
    """What a ranker's file holds: rows of ids as `served` says, all else as is."""
    tables = id_tables(model)
    weights = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if _owner(name) not in tables
    }
    for name, table in tables.items():
        weights |= sealed_tensors(name, table, served)
    return weights


def needs(model: RankerModel, served: str) -> dict[str, Any]:
    """The bytes that a trained ranker takes where it answers, for its manifest."""
    tables = id_tables(model)
    held = [
        Held(name, len(table.weight), table.embedding_dim, precision_of(table, served))
        for name, table in tables.items()
    ]
    return {"upper_bytes": _upper(model), "tables": [one.as_json for one in held]}


def as_sealed(model: RankerModel, file: Path) -> RankerModel:
    """A trained network with the rows that its file has, as all who open it will see it."""
    tables = id_tables(model)
    rows = _rows(file, tables)
    # A copy that has found its tables already; theirs is the one part that should not be copied.
    return deepcopy(model, {id(tables[name]): MappedTable(one) for name, one in rows.items()})


def placed(
    model: RankerModel,
    file: Path,
    payload: Mapping[str, Any],
    tiers: Tiers,
    *,
    exported: Path | None = None,
) -> Placed:
    """A network without rows takes its weights from a file, and finds its rows there.

    `exported`: the file of what computes in its stead on the CPU, which is counted as well. Raises
    `TableMemory` where they would take more than is declared.
    """
    rows = _rows(file, id_tables(model))
    held = [Held(name, len(one), one.dim, one.precision) for name, one in rows.items()]
    beside = 0 if exported is None else exported.stat().st_size
    plan = plan_tiers(held, _upper(model), tiers, exported=beside)
    kind = DeviceTable if plan.tables_tier == DEVICE else MappedTable
    for name, one in rows.items():
        model.set_submodule(name, kind(one))
    with safe_open(file, framework="pt") as opened:
        names = [name for name in opened.keys() if _owner(name) not in rows]  # noqa: SIM118
        weights = {name: opened.get_tensor(name) for name in names}
    model.load_state_dict(weights_of(payload, weights))
    return Placed(model.to(plan.place).eval(), plan)


def _rows(file: Path, tables: Mapping[str, nn.Embedding]) -> dict[str, SealedRows]:
    arrays = mapped(file)
    return {name: sealed_rows(arrays, name, one.embedding_dim) for name, one in tables.items()}


def _upper(model: RankerModel) -> int:
    """Bytes of everything but ID tables, the bundle's maps included."""
    tables = id_tables(model)
    named = (*model.named_parameters(), *model.named_buffers())
    return sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in named
        if _owner(name) not in tables
    )


def _owner(name: str) -> str:
    """The module that a tensor belongs to."""
    return name.rpartition(".")[0]
