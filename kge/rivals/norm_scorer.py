"""TransE and RotatE as link prediction sees them, without an array of every pair's coordinates.

Takes a PyKEEN model's tables, gives scores; never trains. PyKEEN's `score_t` builds b x c x d
differences, which is most of what measuring these models costs.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from pykeen.models import ERModel

# Dimensions: b heads, c candidates, f = 2 d real numbers of a complex vector.


class TransEScorer:
    """`-||e_h + r - e_t||_p` of every pair; heads are asked for with e_t - r."""

    def __init__(self, model: ERModel) -> None:
        self._norm = float(model.interaction.p)
        with torch.no_grad():
            self._entities = model.entity_representations[0](None)
            self._shift = model.relation_representations[0](None)

    @property
    def entity_count(self) -> int:
        return len(self._entities)

    @property
    def relation_count(self) -> int:
        return len(self._shift)

    @property
    def candidate_bytes(self) -> int:
        return 0

    @torch.no_grad()
    def scores(
        self, side: int, heads: Int[np.ndarray, "b"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        sign = 1.0 if side < self.relation_count else -1.0
        query_bd = self._entities[torch.from_numpy(heads)]
        query_bd = query_bd + sign * self._shift[side % self.relation_count]
        # Never by a product: that loses digits where two points are near.
        exact = "donot_use_mm_for_euclid_dist"
        points = self._entities[first:last]
        return torch.cdist(query_bd, points, p=self._norm, compute_mode=exact).neg_().numpy()


class RotatEScorer:
    """PyKEEN's `-||h * r - t||` with the norm of the whole complex vector, up to what heads share.

    `2 q.p - |p|^2` over real and imaginary parts is in the same order; candidates for a head are
    turned by r, or heads are, if those are asked for.
    """

    def __init__(self, model: ERModel) -> None:
        with torch.no_grad():
            self._entities = model.entity_representations[0](None)
            self._turn = model.relation_representations[0](None)

    @property
    def entity_count(self) -> int:
        return len(self._entities)

    @property
    def relation_count(self) -> int:
        return len(self._turn)

    @property
    def candidate_bytes(self) -> int:
        return 2 * 8 * self._entities.shape[1] + 4

    @torch.no_grad()
    def scores(
        self, side: int, heads: Int[np.ndarray, "b"], first: int, last: int
    ) -> Float[np.ndarray, "b c"]:
        turn = self._turn[side % self.relation_count]
        query, points = self._entities[torch.from_numpy(heads)], self._entities[first:last]
        if side < self.relation_count:
            query = query * turn
        else:
            points = points * turn
        query_bf = torch.view_as_real(query.resolve_conj()).flatten(1)
        point_cf = torch.view_as_real(points.resolve_conj()).flatten(1)
        length_c = point_cf.square().sum(dim=1)
        return torch.addmm(-length_c, query_bf, point_cf.T, alpha=2.0).numpy()
