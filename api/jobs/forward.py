"""The network of a candidate becomes what answers fastest, before anything of it is live.

Takes what the gate decided about, gives the digest of the exported network; holds nothing of how
networks are exported. The gate's word makes no difference: who promotes by hand what it refused
wants it just as fast.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from api.jobs.steps import Tick, Workshop
from graphsvc import ledger
from kge.bundle import open_bundle
from ranking.bundle import open_ranker
from ranking.errors import NotExportable
from ranking.exporting import seal_forward

_log = logging.getLogger("graphsvc.jobs")


def export_candidate(
    shop: Workshop, decided: Mapping[str, Any], job_id: str
) -> Callable[[Tick], str | None]:
    """The step that exports a candidate's network, unless that is done already.

    None where it answers as training has it: settings say so, or it cannot be exported.
    """

    def export(tick: Tick) -> str | None:
        ranker = decided["ranker"]
        if shop.settings.forward == "torch":
            return None
        with shop.database.reading() as connection:
            known = ledger.forward_of(connection, ranker)
        if known is not None:
            return known
        tick(0, 1, "the network, for ONNX Runtime")
        opened = open_ranker(shop.store, ranker, open_bundle(shop.store, decided["bundle"]))
        try:
            sealed = seal_forward(shop.store, opened)
        except NotExportable as error:
            _log.warning("ranker %s answers as training has it: %s", ranker[:8], error)
            return None
        return shop.record(sealed, job_id)

    return export
