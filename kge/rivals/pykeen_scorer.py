"""Any PyKEEN model as link prediction sees it.

Takes a model, gives its scores; never trains. Heads are ranked as PyKEEN ranks them: by the
reciprocal relation where the model was trained on reciprocal ones, else by scoring heads.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pykeen.models import ERModel
from pykeen.nn.modules import (
    DistMultInteraction,
    RotatEInteraction,
    TransEInteraction,
    TransRInteraction,
)

from kge.rivals.dot_scorer import DotScorer
from kge.rivals.norm_scorer import RotatEScorer, TransEScorer
from kge.scorer import Scorer

#: Bytes of what PyKEEN builds per pair of head and candidate, at any moment.
_MEMORY = 8 << 20
#: How many arrays of a pair's size its interactions hold at once.
_COPIES = 3


def pykeen_scorer(model: ERModel) -> Scorer:
    """The scorer of a model: all but ComplEx without every pair's coordinates."""
    interaction = model.interaction
    plain = not model.use_inverse_triples
    if isinstance(interaction, TransRInteraction) and interaction.p == 2 and plain:
        return TransRScorer(model)
    if isinstance(interaction, TransEInteraction) and plain:
        return TransEScorer(model)
    if isinstance(interaction, RotatEInteraction) and plain:
        return RotatEScorer(model)
    if isinstance(interaction, DistMultInteraction):
        return _distmult_scorer(model)
    return PykeenScorer(model)


@torch.no_grad()
def _distmult_scorer(model: ERModel) -> Scorer:
    """`(e_h * w_r) . e_t` as one product; PyKEEN builds every pair's d numbers."""
    model.eval()
    vectors = model.entity_representations[0](None).numpy().copy()
    scale = model.relation_representations[0](None).numpy()
    # PyKEEN has relation r's reciprocal at 2r + 1; without one, heads are scored by w_r itself.
    two = [scale[0::2], scale[1::2]] if model.use_inverse_triples else [scale, scale]
    sides = np.concatenate(two)
    return DotScorer(
        vectors=vectors,
        scale=sides,
        shift=np.zeros_like(sides),
        bias=np.zeros(len(vectors), vectors.dtype),
    )


class PykeenScorer:
    """`predict_t` and `predict_h` over ranges of candidates."""

    def __init__(self, model: ERModel, *, memory: int = _MEMORY) -> None:
        self.model, self._memory = model, memory
        width = sum(math.prod(part.shape) for part in model.entity_representations)
        self._pair_bytes = 4 * _COPIES * (2 if _is_complex(model) else 1) * width

    @property
    def entity_count(self) -> int:
        return int(self.model.num_entities)

    @property
    def relation_count(self) -> int:
        return int(self.model.num_real_relations)

    @property
    def candidate_bytes(self) -> int:
        return 0

    @torch.no_grad()
    def scores(
        self, side: int, heads: Int[np.ndarray, "b"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        self.model.eval()
        asked = torch.from_numpy(heads)
        relation = torch.full_like(asked, side % self.relation_count)
        parts = []
        size = max(1, self._memory // (self._pair_bytes * len(heads)))
        for start in range(first, last, size):
            rows = torch.arange(start, min(start + size, last))
            if side < self.relation_count:
                pairs = torch.stack([asked, relation], dim=1)
                parts.append(self.model.predict_t(pairs, tails=rows).numpy())
            else:
                pairs = torch.stack([relation, asked], dim=1)
                parts.append(self.model.predict_h(pairs, heads=rows).numpy())
        return np.concatenate(parts, axis=1)


class TransRScorer:
    """PyKEEN's TransR, whose `score_t` gathers a matrix per pair, by one product per relation.

    `-|q - p|^2` up to `-|q|^2`, with p = clamp(M e) of a candidate and q = clamp(M h) + r, or
    clamp(M t) - r where heads are asked for. The same order as the norm without its square.
    """

    def __init__(self, model: ERModel) -> None:
        self._model = model
        self._held: tuple[tuple[int, int, int], NDArray[np.floating]] | None = None
        with torch.no_grad():
            self._entities = model.entity_representations[0](None).numpy()
            self._shift = model.relation_representations[0](None).numpy()
            self._matrix = model.relation_representations[1](None).numpy()

    @property
    def entity_count(self) -> int:
        return len(self._entities)

    @property
    def relation_count(self) -> int:
        return len(self._shift)

    @property
    def candidate_bytes(self) -> int:
        return (3 * self._shift.shape[1] + 1) * self._shift.itemsize

    def scores(
        self, side: int, heads: Int[np.ndarray, "b"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        relation = side % self.relation_count
        if self._held is None or self._held[0] != (relation, first, last):
            point_ck = self._projected(relation, self._entities[first:last])
            base_c = -np.einsum("ck,ck->c", point_ck, point_ck)
            whole = np.concatenate([point_ck, base_c[:, None]], axis=1)
            self._held = ((relation, first, last), whole)
        sign = 1.0 if side < self.relation_count else -1.0
        query_bk = self._projected(relation, self._entities[heads]) + sign * self._shift[relation]
        one_b = np.ones((len(heads), 1), query_bk.dtype)
        return np.concatenate([2.0 * query_bk, one_b], axis=1) @ self._held[1].T

    def _projected(self, relation: int, rows: Float[np.ndarray, "n d"]) -> NDArray[np.floating]:
        """Rows by a relation's matrix, those too long shortened as PyKEEN shortens them."""
        moved: NDArray[np.floating] = rows @ self._matrix[relation]
        length_n = np.sqrt(np.einsum("nk,nk->n", moved, moved))
        most = float(self._model.interaction.max_projection_norm)
        long = length_n >= most
        moved[long] *= (most / length_n[long])[:, None]
        return moved


def _is_complex(model: ERModel) -> bool:
    return any(p.is_complex() for p in model.parameters()) or any(
        getattr(part, "dtype", None) == torch.cfloat for part in model.entity_representations
    )
