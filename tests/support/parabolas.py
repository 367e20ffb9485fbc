"""Clients whose truth a reader sees, and the slow obvious twins of federated methods."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ranking.fedda.cohort import Cohort


def same(found: Tensor, expected: Tensor, *, within: float = 1e-12) -> None:
    """Equal, relative to the largest number of either."""
    size = max(float(found.abs().max()), float(expected.abs().max()), 1e-300)
    torch.testing.assert_close(found / size, expected / size, rtol=0.0, atol=within)


@dataclass(frozen=True)
class Quadratics:
    """f_k(w) = (w - c_k)' H_k (w - c_k) / 2, and in step i a disturbance e_ki of its gradient."""

    hessians: Tensor  # N P P
    optima: Tensor  # N P
    rows: tuple[int, ...]
    disturbances: Tensor | None = None  # N T P

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def held(self) -> int:
        return self.optima.shape[1]

    @property
    def shares(self) -> Tensor:
        rows = torch.tensor(self.rows, dtype=torch.float64)
        return rows / rows.sum()

    def gradient(self, client: int, w: Tensor, step: int | None = None) -> Tensor:
        """Of one client, for twins; without a step, of all its rows."""
        plain = self.hessians[client] @ (w - self.optima[client])
        if step is None or self.disturbances is None:
            return plain
        return plain + self.disturbances[client, step]

    def mean_gradient(self, w: Tensor, step: int | None = None) -> Tensor:
        each = [self.shares[k] * self.gradient(k, w, step) for k in range(self.count)]
        return torch.stack(each).sum(dim=0)

    def optimum(self) -> Tensor:
        """Where sum p_k grad f_k = 0."""
        weighted = self.shares[:, None, None] * self.hessians
        pulled = torch.einsum("npq,nq->p", weighted, self.optima)
        return torch.linalg.solve(weighted.sum(dim=0), pulled)

    def cohort(self, numbers=None, *, number=1, steps=1) -> Cohort:
        """`steps` are those of all clients, or one number for each."""
        assert number >= 1
        chosen = torch.as_tensor(np.arange(self.count) if numbers is None else numbers)
        taken = torch.as_tensor(steps).expand(len(chosen)).clone()
        rows = torch.tensor(self.rows)[chosen]

        def whole(w_KP: Tensor) -> Tensor:
            away = w_KP - self.optima[chosen]
            return torch.einsum("kpq,kq->kp", self.hessians[chosen], away)

        def gradients(w_KP: Tensor, step: int) -> Tensor:
            if self.disturbances is None:
                return whole(w_KP)
            return whole(w_KP) + self.disturbances[chosen, step]

        return Cohort(
            numbers=chosen,
            rows=rows,
            steps=taken,
            batch=rows,
            all_rows=sum(self.rows),
            gradients=gradients,
            whole=whole,
        )

    def rows_named(self, numbers) -> int:
        return 0 * len(numbers)


def quadratics(
    *, clients: int, dim: int = 4, steps: int = 0, equal: bool = False, seed: int = 0
) -> Quadratics:
    """Curvatures between .5 and 2.5 or so, optima some units apart, rows from 1 to 9."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    parts = normal(1 if equal else clients, dim, dim)
    hessians = 0.5 * torch.eye(dim, dtype=torch.float64) + 0.4 * parts @ parts.mT / dim**0.5
    return Quadratics(
        hessians=hessians.expand(clients, dim, dim).clone(),
        optima=3.0 * normal(clients, dim),
        rows=tuple(1 + (5 * k) % 9 for k in range(clients)),
        disturbances=normal(clients, steps, dim) if steps else None,
    )


def one_by_one(problem: Quadratics, steps: list[int], walk: Callable[[int, int], Tensor]) -> Tensor:
    """sum p_k of what `walk` gives for each client and its steps, client after client."""
    total = torch.zeros(problem.held, dtype=torch.float64)
    for client, taken in enumerate(steps):
        total = total + problem.shares[client] * walk(client, taken)
    return total


def sgdm(gradient: Callable[[Tensor, int], Tensor], w: Tensor, m: Tensor, *, h: float, b: float, n):
    """Centralized SGDM: n steps of m <- b m + (1 - b) g, w <- w - h m."""
    for step in range(n):
        m = b * m + (1 - b) * gradient(w, step)
        w = w - h * m
    return w, m
