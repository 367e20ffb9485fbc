"""The step that pretrains ID tables.

Takes digests and a choice, gives the digests of sealed tables; holds no formula of its own.
"""

from dataclasses import asdict

from api.jobs.choices import PretrainingChoice
from api.jobs.steps import Tick, Workshop, drain
from graphsvc.snapshot import open_snapshot
from kge.bundle import open_bundle
from ranking.pretraining.config import KGE


def pretrain(
    shop: Workshop,
    parents: tuple[str, str],
    choice: PretrainingChoice,
    *,
    seed: int,
    tick: Tick,
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
    kge = kge_vectors(graph, bundle) if KGE in config.facets else None
    tables = drain(
        begin(Source(graph, kge), config), lambda told: tick(told.step, told.total, told.note)
    )
    sealed = []
    for table in tables:
        of_bundle = KGE in table.name
        above = {"snapshot": parents[0]} | ({"bundle": parents[1]} if of_bundle else {})
        made = seal_table(shop.store, table, above, dials=asdict(config), metrics={})
        sealed.append(shop.record(made, job_id))
    return sealed
