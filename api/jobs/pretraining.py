"""The step that pretrains ID tables: what may be asked of it, and the step itself.

Takes JSON or digests, gives a checked choice and the digests of sealed tables; holds no bound and
no formula of its own.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from graphsvc.snapshot import open_snapshot
from kge.bundle import open_bundle
from ranking.errors import ConfigError
from ranking.pretraining.config import COMBINATIONS, FACET_NAMES, GnnConfig, PretrainingConfig

if TYPE_CHECKING:
    from api.jobs.steps import Tick, Workshop

_KGE = "kge"


class PretrainingChoice(BaseModel):
    """ID tables that rankers of one retrain read, pretrained on the graph span."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"facets": ["contrastive", "kge"], "epochs": 2}},
    )

    facets: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        max_length=len(FACET_NAMES),
        description="`contrastive` (heads near the tails that they acted on), `kge` (the bundle's "
        "vectors), `gnn` (LightGCN over all relations); in the order in which rankers read them.",
    )
    combination: str | None = Field(
        default=None,
        max_length=64,
        description=f"How several are joined: one of {', '.join(COMBINATIONS)}. By default tables "
        "side by side.",
    )
    dim: int | None = Field(
        default=None,
        le=4096,
        strict=True,
        description="Numbers of a vector; where `kge` shares a table with others, the bundle's.",
    )
    epochs: float | None = Field(
        default=None, le=10_000, allow_inf_nan=False, description="Passes over the pairs."
    )
    backend: str | None = Field(
        default=None, max_length=64, description="What computes `gnn`: `pyg` or `dgl`."
    )

    @field_validator("*")
    @classmethod
    def _may_be(cls, value: Any, info: ValidationInfo) -> Any:
        """Raises `ValueError` with what the dial should be."""
        name = str(info.field_name)
        if value is not None:
            dials: Mapping[str, Any] = {name: value}
            try:
                GnnConfig(**dials) if name == "backend" else PretrainingConfig(**dials)
            except ConfigError as error:
                raise ValueError(str(error).removeprefix(f"{name} ")) from error
        return value

    def config(self, *, seed: int, bundle_dim: int) -> PretrainingConfig:
        """All dials; where one table is the KGE's too, it is by default as long as that."""
        plain = PretrainingConfig()
        combination = self.combination or plain.combination
        shared = combination != "concat" and len(self.facets) > 1 and _KGE in self.facets
        return PretrainingConfig(
            facets=self.facets,
            combination=combination,
            dim=self.dim or (bundle_dim if shared else plain.dim),
            epochs=self.epochs or plain.epochs,
            seed=seed,
            gnn=GnnConfig(backend=self.backend or plain.gnn.backend),
        )


def pretrain(
    shop: "Workshop",
    parents: tuple[str, str],
    choice: PretrainingChoice,
    *,
    seed: int,
    tick: "Tick",
    job_id: str | None = None,
) -> list[str]:
    """Pretrain tables on (snapshot, bundle) and seal each: their digests, as rankers read them."""
    from ranking.pretraining.graph import graph_of_snapshot
    from ranking.pretraining.registry import Source
    from ranking.pretraining.registry import pretrain as begin
    from ranking.pretraining.tables import seal_table
    from ranking.pretraining.translation import kge_vectors

    bundle = open_bundle(shop.store, parents[1])
    graph = graph_of_snapshot(open_snapshot(shop.store, parents[0]))
    config = choice.config(seed=seed, bundle_dim=bundle.dim)
    kge = kge_vectors(graph, bundle) if _KGE in config.facets else None
    training = begin(Source(graph, kge), config)
    while True:
        try:
            told = next(training)
        except StopIteration as ended:
            tables = ended.value
            break
        tick(told.step, told.total, told.note)
    sealed = []
    for table in tables:
        of_bundle = _KGE in table.name
        above = {"snapshot": parents[0]} | ({"bundle": parents[1]} if of_bundle else {})
        made = seal_table(shop.store, table, above, dials=asdict(config), metrics={})
        sealed.append(shop.record(made, job_id))
    return sealed
