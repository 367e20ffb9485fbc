"""What an entity is connected with, as a sparse row: the basis of choosing and leaning on anchors.

Takes a graph, gives matrices; never learns anything.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse

from graphsvc.snapshot import TypeRange
from kge.triples import Graph

# Dimensions: n entities of a type, f features, w sketched dimensions.


class Neighborhoods:
    """A feature is one end of one side, such as "clicked by u7"; rare features weigh more."""

    def __init__(self, graph: Graph) -> None:
        sides, size = len(graph.relations), graph.entity_count
        entity = np.concatenate([graph.head, graph.tail])
        other = np.concatenate([graph.tail, graph.head])
        side = np.concatenate([graph.relation, graph.relation + sides])
        code, feature = np.unique(side * size + other, return_inverse=True)
        ones = np.ones(len(entity), dtype=np.float32)
        self._rows = sparse.csr_matrix((ones, (entity, feature)), shape=(size, len(code)))
        self._rows.data[:] = 1.0  # an edge that is there twice is one feature

    def of_type(self, kind: TypeRange) -> sparse.csr_matrix:
        """[n, f] rows of length 1 (or 0); a feature that f entities of the type have weighs 1/f.

        A row times another one is the cosine of the two neighbor sets, in which a feature counts
        1 / sqrt(f) on either side.
        """
        rows = self._rows[kind.start : kind.stop].copy()
        often = np.bincount(rows.indices, minlength=rows.shape[1])
        rows.data = (1.0 / np.sqrt(np.maximum(often, 1)))[rows.indices].astype(np.float32)
        length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
        scale = sparse.diags(1.0 / np.maximum(length, 1e-12).astype(np.float32))
        return (scale @ rows).tocsr()


def sketch(rows: sparse.csr_matrix, width: int, seed: int) -> Float[np.ndarray, "n w"]:
    """Rows projected at random: their products stay about what they were.

    Johnson and Lindenstrauss, 1984; signs of Achlioptas, 2003.
    """
    draw = np.random.default_rng([seed, 6])
    signs = draw.choice(np.array([-1.0, 1.0], np.float32), size=(rows.shape[1], width))
    made: NDArray[np.float32] = rows @ (signs / np.float32(np.sqrt(width)))
    return made
