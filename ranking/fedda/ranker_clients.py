"""A ranker whose rows lie with clients: which of its numbers are shared, and which are a client's.

Takes a model, labelled rows and whose each is, gives clients; puts what was learned back into the
model. Rows of ID tables that one client alone names are that client's own and never reach the
model: what is served folds in instead.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from ranking.errors import ConfigError
from ranking.features import FeatureBatch
from ranking.fedda.holdings import Holdings, holdings, places_of
from ranking.fedda.inprocess import InProcess, Loss, StepDials
from ranking.model import SCORE_BATCH, RankerModel

# Dimensions: N clients, n rows, H heads of the ranker, E width of a table, U and Q numbers that a
# client holds of what is shared, and of its own.

#: Tables of ids by the side whose rows they are looked up with.
TABLES = {
    "head_table.weight": "head_rows",
    "tail_table.weight": "tail_rows",
    "tokens.head_shift.weight": "head_rows",
    "tokens.tail_shift.weight": "tail_rows",
}


class Taught(NamedTuple):
    """Labelled rows, and whose they are."""

    batch: FeatureBatch
    targets: Float[Tensor, "n H"]
    #: What a row counts for a head; 1 on the mean.
    counts: Float[Tensor, "n H"]
    #: The client of each row, counted from 0, each with one at least: an advertiser, a merchant, a
    #: segment of users, or a user.
    client: Int64[np.ndarray, "n"]


class Layout(NamedTuple):
    """How flat numbers are cut: dense weights, then rows of tables."""

    #: name -> shape, of all weights that every client holds
    dense: Mapping[str, torch.Size]
    #: name -> rows that are shared, rows that are private, and width, of a client's tables
    tables: Mapping[str, tuple[int, int, int]]

    @property
    def dense_size(self) -> int:
        return sum(shape.numel() for shape in self.dense.values())

    def weights(self, shared_U: Float[Tensor, "U"], own_Q: Float[Tensor, "Q"]) -> dict[str, Tensor]:
        """A client's model: in its tables shared rows come first, then its own."""
        sizes = [shape.numel() for shape in self.dense.values()]
        sizes += [shared * width for shared, _, width in self.tables.values()]
        parts = list(shared_U.split(sizes))
        mine = own_Q.split([private * width for _, private, width in self.tables.values()])
        found = {
            name: part.reshape(shape)
            for (name, shape), part in zip(self.dense.items(), parts, strict=False)
        }
        shared_parts = parts[len(self.dense) :]
        for (name, (_, _, width)), shared, private in zip(
            self.tables.items(), shared_parts, mine, strict=True
        ):
            found[name] = torch.cat([shared, private]).reshape(-1, width)
        return found


class RankerClients(InProcess):
    """Clients of one ranker; `begin` are the shared weights as the model has them."""

    def __init__(self, model: RankerModel, taught: Taught, dials: StepDials) -> None:
        if model.arm.begins:
            raise ConfigError(
                "the arm of a federated ranker should be one whose ID rows begin at 0, received "
                "one whose rows begin at the embedding"
            )
        self.model = model
        order = torch.from_numpy(np.argsort(taught.client, kind="stable"))
        client = taught.client[order.numpy()]
        batch = taught.batch.take(order)
        count = int(client.max()) + 1
        weights = dict(model.named_parameters())
        sides = {"head_rows": "head_table.weight", "tail_rows": "tail_table.weight"}
        #: side -> whose rows are whose
        self.holdings = {
            side: holdings(
                getattr(batch, side).numpy(), client, clients=count, rows=len(weights[name])
            )
            for side, name in sides.items()
        }
        self._tables = {name: side for name, side in TABLES.items() if name in weights}
        self.layout = _layout(weights, self._tables, self.holdings)
        tables = [
            (self.holdings[side], int(weights[name].shape[1]))
            for name, side in self._tables.items()
        ]
        places, self.size = places_of(self.layout.dense_size, tables)
        local = {side: torch.from_numpy(held.local) for side, held in self.holdings.items()}
        here = batch._replace(**local)
        starts = np.concatenate([[0], np.cumsum(np.bincount(client, minlength=count))])
        super().__init__(
            _loss(model, self.layout),
            (*here, taught.targets[order], taught.counts[order]),
            torch.from_numpy(starts),
            dials,
            size=self.size,
            places=places,
            own=_own(weights, self._tables, self.holdings),
        )

    def rows_named(self, numbers: Int64[np.ndarray, "K"]) -> int:
        """Shared rows that these clients hold, of both sides."""
        return int(sum(held.named[numbers].sum() for held in self.holdings.values()))

    def begin(self) -> Float[Tensor, "P"]:
        """The shared numbers as they are in the model."""
        weights = dict(self.model.named_parameters())
        parts = [weights[name].detach().flatten() for name in self.layout.dense]
        parts += [
            weights[name].detach()[torch.from_numpy(self.holdings[side].rows)].float().flatten()
            for name, side in self._tables.items()
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def put_into_model(self, shared: Float[Tensor, "P"]) -> None:
        """What is promoted: dense weights and shared rows. Private rows stay as they began."""
        weights = dict(self.model.named_parameters())
        first = 0
        for name, shape in self.layout.dense.items():
            weights[name].copy_(shared[first : first + shape.numel()].reshape(shape))
            first += shape.numel()
        for name, side in self._tables.items():
            rows = torch.from_numpy(self.holdings[side].rows)
            width = int(weights[name].shape[1])
            part = shared[first : first + len(rows) * width].reshape(-1, width)
            weights[name][rows] = part.to(weights[name].dtype)
            first += len(rows) * width

    @torch.no_grad()
    def leave_out_private(self) -> None:
        """Set private rows to 0 in the model, which is what is served; clients have theirs."""
        weights = dict(self.model.named_parameters())
        for name, side in self._tables.items():
            private = self.holdings[side].private
            weights[name][torch.from_numpy(private[private >= 0])] = 0.0

    @torch.no_grad()
    def scores_at_clients(
        self, batch: FeatureBatch, client: Int64[np.ndarray, "n"]
    ) -> Float64[np.ndarray, "n H"]:
        """Logits as each row's client sees them: the model's, with that client's private rows.

        A row of a table that is private to another client is unknown there, and reads as 0.
        """
        weights = {name: weight.detach() for name, weight in self.model.named_parameters()}
        tables = {name: self._with_private(weights[name], name) for name in self._tables}
        seen = {side: self._seen(getattr(batch, side), client, side) for side in self.holdings}
        here = batch._replace(**seen)
        self.model.eval()
        parts = [
            torch.func.functional_call(
                self.model,
                weights | tables,
                (FeatureBatch(*(column[first : first + SCORE_BATCH] for column in here)),),
            )
            for first in range(0, len(client), SCORE_BATCH)
        ]
        return torch.cat(parts).double().numpy()

    def _with_private(self, weight: Float[Tensor, "r E"], name: str) -> Float[Tensor, "s E"]:
        """A table with every private row in its place, and a row of zeros behind the last."""
        held, width = self.holdings[self._tables[name]], weight.shape[1]
        first = 0
        for other, (_, private, other_width) in self.layout.tables.items():
            if other == name:
                break
            first += private * other_width
        count = held.private.shape[1]
        own = self.own[:, first : first + count * width].reshape(len(self.own), count, width)
        there = torch.from_numpy(held.private >= 0)
        filled = torch.cat([weight.float(), torch.zeros(1, width)])
        filled[torch.from_numpy(held.private)[there]] = own[there]
        return filled

    def _seen(
        self, rows: Int64[Tensor, "n 2"], client: Int64[np.ndarray, "n"], side: str
    ) -> Int64[Tensor, "n 2"]:
        held = self.holdings[side]
        table = "head_table.weight" if side == "head_rows" else "tail_table.weight"
        dead = len(dict(self.model.named_parameters())[table])
        owner = np.full(dead, -1, dtype=np.int64)
        of, slot = np.nonzero(held.private >= 0)
        owner[held.private[of, slot]] = of
        whose = owner[rows.numpy()]
        mine = (whose < 0) | (whose == client[:, None])
        return torch.where(torch.from_numpy(mine), rows, dead)


def _layout(
    weights: Mapping[str, nn.Parameter], tables: Mapping[str, str], held: Mapping[str, Holdings]
) -> Layout:
    shapes = {
        name: (held[side].shared.shape[1], held[side].private.shape[1], weights[name].shape[1])
        for name, side in tables.items()
    }
    dense = {name: weight.shape for name, weight in weights.items() if name not in tables}
    return Layout(dense, shapes)


def _own(
    weights: Mapping[str, nn.Parameter], tables: Mapping[str, str], held: Mapping[str, Holdings]
) -> Float[Tensor, "N Q"]:
    """Private rows as they are in the model; 0 where a client has fewer than another."""
    parts = []
    for name, side in tables.items():
        private = torch.from_numpy(held[side].private)
        rows = weights[name].detach()[private.clamp(min=0)].float()
        parts.append((rows * (private >= 0)[:, :, None]).flatten(1))
    return torch.cat(parts, dim=1)


def _loss(model: RankerModel, layout: Layout) -> Loss:
    """The log loss of a client's rows, of all heads; dropout as in centralized training."""
    buffers = dict(model.named_buffers())

    def loss(w_U: Tensor, own_Q: Tensor, columns: tuple[Tensor, ...], counts_B: Tensor) -> Tensor:
        *features, targets_BH, weights_BH = columns
        here = (layout.weights(w_U, own_Q), buffers)
        model.train()
        logits_BH = torch.func.functional_call(model, here, (FeatureBatch(*features),))
        losses_BH = nn.functional.binary_cross_entropy_with_logits(
            logits_BH, targets_BH, weight=weights_BH, reduction="none"
        )
        return (counts_B * losses_BH.sum(dim=1)).sum()

    return loss
