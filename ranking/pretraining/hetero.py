"""The graph as PyTorch Geometric has it. Takes a `FacetGraph`, gives a `HeteroData`; no training.

`graphsvc export --format hetero` writes the same for others.
"""

import numpy as np
import torch
from torch_geometric.data import HeteroData

from ranking.pretraining.graph import FacetGraph


def hetero_of(graph: FacetGraph) -> HeteroData:
    """Nodes have `num_nodes`; edges `edge_index` (int64, rows within their type), `edge_weight`.

    Types and relations come in the graph's order, and so do the edges of each relation.
    """
    data = HeteroData()
    start = {kind.name: kind.start for kind in graph.types}
    for kind in graph.types:
        data[kind.name].num_nodes = kind.stop - kind.start
    bounds = np.searchsorted(graph.relation, np.arange(len(graph.relations) + 1))
    for code, relation in enumerate(graph.relations):
        part = slice(bounds[code], bounds[code + 1])
        ends = (graph.head[part] - start[relation.head], graph.tail[part] - start[relation.tail])
        edges = data[relation.head, relation.name, relation.tail]
        edges.edge_index = torch.from_numpy(np.stack(ends))
        edges.edge_weight = torch.from_numpy(graph.weight[part])
    return data
