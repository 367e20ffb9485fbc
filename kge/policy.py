"""What the dials are where nobody set them: derived from the graph, by rules that are written here.

Takes a graph and dials, gives dials without gaps and the reason for each; never trains. Nothing in
here knows a data set by name.
"""

from dataclasses import dataclass, replace

import numpy as np

from kge.config import TransRAConfig
from kge.triples import Graph

#: A round over the edges should move the parameters about this often, and a batch should not be
#: smaller or larger than this many edges.
_BATCHES_A_ROUND = 256
_BATCH = (16, 1024)


@dataclass(frozen=True)
class Chosen:
    """Dials without gaps, and why the gaps were filled so."""

    config: TransRAConfig
    #: dial -> sentence
    reasons: dict[str, str]


def choose(graph: Graph, config: TransRAConfig) -> Chosen:
    """Fill the dials that are None."""
    reasons: dict[str, str] = {}
    if config.batch is None:
        edges = 2 * len(graph.head)
        wanted = edges / _BATCHES_A_ROUND
        batch = int(np.clip(2 ** round(np.log2(max(wanted, 1))), *_BATCH))
        reasons["batch"] = (
            f"{edges} edges in both directions over {_BATCHES_A_ROUND} batches, as a power of two "
            f"from {_BATCH[0]} to {_BATCH[1]}"
        )
        config = replace(config, batch=batch)
    return Chosen(config, reasons)
