"""What federated methods race on: logistic regression with a known optimum, and digits.

Takes a seed and how unlike clients are, gives clients and what weights are worth; never trains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from ranking.fedda.inprocess import InProcess, StepDials

#: Inputs, clients, most rows of a client, and the ridge of the convex problem.
CONVEX_DIM, CONVEX_CLIENTS, CONVEX_ROWS, RIDGE = 20, 20, 120, 1e-2
#: Clients, hidden numbers and rows of a local step on digits.
DIGIT_CLIENTS, HIDDEN, DIGIT_BATCH = 50, 32, 16
PIXELS, CLASSES = 64, 10
SHARES = (0.6, 0.2, 0.2)


class Problem(NamedTuple):
    """A federated problem of one seed."""

    #: Weights that all methods begin with.
    start: Tensor
    #: Everybody anew: what a method left in them is not there.
    clients: Callable[[], InProcess]
    #: The same rows as one client, whose federated SGDM is centralized SGDM.
    central: Callable[[], InProcess]
    #: What weights are worth, the higher the better: dials are chosen by `score`, methods race for
    #: `reached`.
    worth: Callable[[Tensor], Mapping[str, float]]
    #: The loss that a plateau is found by.
    loss: Callable[[Tensor], float]
    #: What centralized training is worth, where it is not `central` by the same optimizer.
    reference: Callable[[], Mapping[str, float]] | None = None


class _Rows(NamedTuple):
    """Rows sorted by client, and where each client's begin."""

    x: Tensor
    y: Tensor
    starts: Tensor


def convex(seed: int, clients: int = CONVEX_CLIENTS) -> Problem:
    """Logistic regression in which every client has inputs and a truth of its own.

    f_k(w) = mean log(1 + exp(-y w.x)) + r / 2 ||w||^2,   x ~ N(u_k, s_k diag(d)),   w_k ~ N(0, 4 I)

    Rows of clients differ by a factor of 12, scales s_k by one of 10. The optimum is Newton's.
    """
    rows = _convex_rows(np.random.default_rng(seed), clients)
    whole = rows._replace(starts=torch.tensor([0, len(rows.y)]))
    optimum = newton(rows.x, rows.y)
    start = torch.zeros(CONVEX_DIM, dtype=torch.float64)
    best, first = (_logistic_loss(w, rows.x, rows.y) for w in (optimum, start))

    def worth(w: Tensor) -> Mapping[str, float]:
        closed = (first - _logistic_loss(w, rows.x, rows.y)) / (first - best)
        distance = float((w - optimum).norm() / optimum.norm())
        return {"score": closed, "reached": closed, "distance": distance}

    return Problem(
        start=start,
        clients=lambda: _convex_clients(rows, seed),
        central=lambda: _convex_clients(whole, seed),
        worth=worth,
        loss=lambda w: _logistic_loss(w, rows.x, rows.y),
    )


def _convex_clients(rows: _Rows, seed: int) -> InProcess:
    def loss(w: Tensor, _own: Tensor, columns: tuple[Tensor, ...], counts: Tensor) -> Tensor:
        x, y = columns
        return (counts * (nn.functional.softplus(-y * (x @ w)) + RIDGE / 2 * (w @ w))).sum()

    dials = StepDials(seed=seed, block=CONVEX_DIM * CONVEX_ROWS * CONVEX_CLIENTS)
    return InProcess(loss, (rows.x, rows.y), rows.starts, dials, size=CONVEX_DIM)


def _convex_rows(draw: np.random.Generator, clients: int) -> _Rows:
    spread = np.logspace(0.0, -1.0, CONVEX_DIM)
    counts = draw.integers(CONVEX_ROWS // 12, CONVEX_ROWS + 1, size=clients)
    x, y = [], []
    for count in counts:
        scale, truth = 10.0 ** draw.uniform(-0.5, 0.5), 2.0 * draw.normal(size=CONVEX_DIM)
        shift = draw.normal(size=CONVEX_DIM) * spread
        own = shift + scale * spread * draw.normal(size=(count, CONVEX_DIM))
        chance = 1.0 / (1.0 + np.exp(-own @ truth))
        x.append(own)
        y.append(np.where(draw.random(count) < chance, 1.0, -1.0))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return _Rows(
        *(torch.from_numpy(part) for part in (np.concatenate(x), np.concatenate(y), starts))
    )


def _logistic_loss(w: Tensor, x: Tensor, y: Tensor) -> float:
    return float(nn.functional.softplus(-y * (x @ w)).mean() + RIDGE / 2 * (w @ w))


def newton(x: Tensor, y: Tensor) -> Tensor:
    """The optimum of all rows, to rounding; damped where a full step overshoots."""
    w, eye = torch.zeros(x.shape[1], dtype=x.dtype), torch.eye(x.shape[1], dtype=x.dtype)
    for _ in range(100):
        wrong = torch.sigmoid(-y * (x @ w))
        gradient = RIDGE * w - (wrong * y) @ x / len(y)
        curvature = RIDGE * eye + (x.mT * (wrong * (1 - wrong))) @ x / len(y)
        step = torch.linalg.solve(curvature, gradient)
        before, size = _logistic_loss(w, x, y), 1.0
        while _logistic_loss(w - size * step, x, y) > before and size > 1e-3:
            size /= 2
        w = w - size * step
        if float(step.norm()) < 1e-14 * max(1.0, float(w.norm())):
            break
    return w


@dataclass(frozen=True)
class _Spans:
    """Rows of the three parts of the digits."""

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]


def digits(seed: int, alpha: float) -> Problem:
    """scikit-learn's 1,797 digits; a network of one hidden layer; labels by Dirichlet(alpha)."""
    draw = np.random.default_rng(seed)
    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy((pixels / 16.0).astype(np.float32))
    y = torch.from_numpy(labels.astype(np.int64))
    spans = _spans(draw, len(labels))
    client = by_dirichlet(labels[spans.train], DIGIT_CLIENTS, alpha, draw)
    order = np.argsort(client, kind="stable")
    counts = np.bincount(client)
    starts = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    train = torch.from_numpy(spans.train[order])
    rows = _Rows(x[train], y[train], starts)
    whole = rows._replace(starts=torch.tensor([0, len(train)]))
    valid, test = (torch.from_numpy(part) for part in (spans.valid, spans.test))

    def worth(w: Tensor) -> Mapping[str, float]:
        found = {
            name: float((network(w, x[part]).argmax(dim=1) == y[part]).double().mean())
            for name, part in (("score", valid), ("reached", test))
        }
        return found

    return Problem(
        start=_first_network(seed),
        clients=lambda: _digit_clients(rows, seed, DIGIT_BATCH),
        central=lambda: _digit_clients(whole, seed, DIGIT_BATCH * len(counts)),
        worth=worth,
        loss=lambda w: float(nn.functional.cross_entropy(network(w, rows.x), rows.y)),
    )


def _spans(draw: np.random.Generator, count: int) -> _Spans:
    order = draw.permutation(count)
    first, second = int(count * SHARES[0]), int(count * (SHARES[0] + SHARES[1]))
    return _Spans(order[:first], order[first:second], order[second:])


def by_dirichlet(
    labels: NDArray[np.int64], clients: int, alpha: float, draw: np.random.Generator
) -> NDArray[np.int64]:
    """The client of each row: the rows of every label are dealt out by a draw of shares.

    A client that gets none is left out, and the others are numbered anew.
    """
    client = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        own = draw.permutation(np.flatnonzero(labels == label))
        shares = draw.dirichlet(np.full(clients, alpha))
        cuts = np.round(np.cumsum(shares)[:-1] * len(own)).astype(np.int64)
        for number, part in enumerate(np.split(own, cuts)):
            client[part] = number
    return np.unique(client, return_inverse=True)[1]


def network(w: Tensor, x: Tensor) -> Tensor:
    """Logits [B, 10] of pixels [B, 64], by flat weights: relu(x A + a) C + c."""
    cuts = (PIXELS * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES)
    first, first_bias, last, last_bias = torch.split(w, cuts)
    hidden = torch.relu(x @ first.reshape(PIXELS, HIDDEN) + first_bias)
    return hidden @ last.reshape(HIDDEN, CLASSES) + last_bias


def _first_network(seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    first = torch.randn(PIXELS * HIDDEN, generator=draw) * (2.0 / PIXELS) ** 0.5
    last = torch.randn(HIDDEN * CLASSES, generator=draw) * HIDDEN**-0.5
    return torch.cat([first, torch.zeros(HIDDEN), last, torch.zeros(CLASSES)])


def _digit_clients(rows: _Rows, seed: int, batch: int) -> InProcess:
    def loss(w: Tensor, _own: Tensor, columns: tuple[Tensor, ...], counts: Tensor) -> Tensor:
        x, y = columns
        told = nn.functional.log_softmax(network(w, x), dim=1)
        return -(counts * told.gather(1, y[:, None])[:, 0]).sum()

    size = PIXELS * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES
    dials = StepDials(batch=batch, seed=seed)
    return InProcess(loss, (rows.x, rows.y), rows.starts, dials, size=size)
