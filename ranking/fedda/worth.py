"""What a federated ranker is worth in both places: where it is served, and at its clients.

Takes a ranker, its clients and examples, gives AUC on a span; never trains, and chooses nothing.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from graphsvc.snapshot import Span
from ranking.examples import Examples, LabelledRows
from ranking.fedda.train import FederatedRanker, client_of
from ranking.metrics import auc
from ranking.model import head_scores

SERVED, AT_CLIENTS = "served", "at_clients"


def both_ways(
    made: FederatedRanker, examples: Examples, clients: str, *, span: Span = Span.TEST
) -> dict[str, dict[str, float]]:
    """AUC of each head on the same rows, as served and with each client's private rows beside it.

    `clients`: whose a row is, as in the training. Rows of somebody who was no client are scored
    alike both ways. A head that knows rows of one answer alone has no AUC and is left out.
    """
    rows, trained = examples.rows[span], made.trained
    batch = trained.encoder.encode(rows.heads, rows.tails, rows.exposures)
    whose = client_of(rows, clients, among=made.names)
    names = trained.config.heads.names
    served = _aucs(rows, head_scores(trained.model, batch), names)
    there = _aucs(rows, made.clients.scores_at_clients(batch, whose), names)
    return {head: {SERVED: served[head], AT_CLIENTS: there[head]} for head in served}


def _aucs(
    rows: LabelledRows, scores: Float64[np.ndarray, "n H"], heads: tuple[str, ...]
) -> Mapping[str, float]:
    found = {}
    for head, own in zip(heads, scores.T, strict=True):
        target: NDArray[np.int8] = rows.targets(head)
        known = target >= 0
        if len(np.unique(target[known])) == 2:
            found[head] = float(auc(own[known], target[known]))
    return found
