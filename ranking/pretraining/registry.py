"""The facets by name, and how several of them become tables.

Takes edges, a KGE and dials, yields `Progress`, gives tables; never writes one.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool

from ranking.errors import ConfigError, FacetUnavailable
from ranking.pretraining.config import PretrainingConfig
from ranking.pretraining.gnn import LightGcn
from ranking.pretraining.graph import FacetGraph
from ranking.pretraining.learn import begun, learn
from ranking.pretraining.objective import Contrastive, Objective
from ranking.pretraining.progress import Progress
from ranking.pretraining.tables import FacetTable, table_of
from ranking.pretraining.translation import KgeVectors, Translation

# Dimensions: N entities.


class Source(NamedTuple):
    """What there is to pretrain on."""

    graph: FacetGraph
    #: None where no bundle was trained on these edges
    kge: KgeVectors | None = None


class Facet(NamedTuple):
    """A way to pretrain a table."""

    #: The loss by which it moves a table that is trained here.
    objective: Callable[[Source, PretrainingConfig], Objective]
    #: Whose rows that loss moves; those of others stay noise.
    taught: Callable[[Source], Bool[np.ndarray, "N"]]
    #: Vectors that are there already, so that alone it trains nothing; None: there are none.
    given: Callable[[Source], KgeVectors] | None = None


def _kge(source: Source) -> KgeVectors:
    if source.kge is None:
        raise FacetUnavailable("the facet kge should have a bundle to read, received none")
    return source.kge


FACETS: dict[str, Facet] = {
    "contrastive": Facet(
        objective=lambda _source, config: Contrastive(config.temperature),
        taught=lambda source: source.graph.paired(),
    ),
    "kge": Facet(
        objective=lambda source, _config: Translation(source.graph, _kge(source)),
        taught=lambda source: source.graph.paired(),
        given=_kge,
    ),
    "gnn": Facet(
        objective=lambda source, config: LightGcn(source.graph, config),
        taught=lambda source: source.graph.degree > 0,
    ),
}


def pretrain(
    source: Source, config: PretrainingConfig
) -> Generator[Progress, None, tuple[FacetTable, ...]]:
    """The tables that a ranker is to read: one per facet, or a single one.

    concat      a table per facet, for `fields.py`
    summed      one table, sum_f loss_f; read as it is
    sequential  one table; facet f begins where f - 1 ended, and the last one says how it is read

    Our design: how the paper joins its facets was not found. Raises `FacetUnavailable`, and
    `ConfigError` where one table should have the KGE's vectors and another length.
    """
    if config.combination == "concat" or len(config.facets) == 1:
        made = []
        for name in config.facets:
            made.append((yield from _alone(source, config, name)))  # noqa: PERF401 (it yields)
        return tuple(made)
    if "kge" in config.facets and config.dim != (length := _kge(source).vectors.shape[1]):
        raise ConfigError(
            f"dim should be {length}, the length of the bundle's vectors, where one table has "
            f"several facets and one of them is kge, received {config.dim}"
        )
    joined = _summed if config.combination == "summed" else _sequential
    return ((yield from joined(source, config)),)


def _alone(
    source: Source, config: PretrainingConfig, name: str
) -> Generator[Progress, None, FacetTable]:
    facet = FACETS[name]
    if facet.given is not None:
        given = facet.given(source)
        return table_of(source.graph, name, given.vectors, given.known)
    objective, taught = facet.objective(source, config), facet.taught(source)
    start = begun(source.graph, config.dim, config.seed)
    rows = yield from learn(source.graph, [objective], config, start, note=name)
    return table_of(source.graph, name, objective.read(rows).numpy(), taught)


def _summed(source: Source, config: PretrainingConfig) -> Generator[Progress, None, FacetTable]:
    facets = [FACETS[name] for name in config.facets]
    objectives = [facet.objective(source, config) for facet in facets]
    known = np.logical_or.reduce([facet.taught(source) for facet in facets])
    start, name = begun(source.graph, config.dim, config.seed), "+".join(config.facets)
    rows = yield from learn(source.graph, objectives, config, start, note=name)
    return table_of(source.graph, name, rows.numpy(), known)


def _sequential(source: Source, config: PretrainingConfig) -> Generator[Progress, None, FacetTable]:
    rows = begun(source.graph, config.dim, config.seed)
    name, vectors = ">".join(config.facets), rows
    known = np.zeros(source.graph.entity_count, dtype=bool)
    for number, one in enumerate(config.facets):
        facet = FACETS[one]
        if facet.given is not None and number == 0:
            # Who has no vector begins as if there were no facet before.
            given = facet.given(source)
            held = torch.from_numpy(given.known)[:, None]
            rows = vectors = torch.where(held, torch.from_numpy(given.vectors), rows)
            known |= given.known
            continue
        objective = facet.objective(source, config)
        dials = replace(config, seed=config.seed + number)
        rows = yield from learn(source.graph, [objective], dials, rows, note=f"{name}: {one}")
        vectors = objective.read(rows)
        known |= facet.taught(source)
    return table_of(source.graph, name, vectors.numpy(), known)
