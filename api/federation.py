"""Federated rounds over Flower: a ServerApp and a ClientApp around `ranking.fedda.wire`.

Takes weights, dials and clients, gives apps that Flower's simulation and its SuperLink and
SuperNodes run; never computes a round itself. Flower comes with the extra `federated`.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from ranking.fedda.config import MethodConfig, RoundsConfig
from ranking.fedda.inprocess import InProcess
from ranking.fedda.server import State, begin
from ranking.fedda.wire import (
    LOCAL,
    Answer,
    after,
    answer,
    open_state,
    phase_of,
    save_state,
    sent_arrays,
)

_PRIVATE = "private"


class FedDA(FedAvg):  # type: ignore[misc]
    """FedDA as a Flower strategy: Flower draws clients and carries messages, and that is all.

    The state behind each round is in a file before the next one begins. So a server that is killed
    loses the round that it was in; a client that dies, or answers with an error, is left out of its
    round. A round without any answer changes nothing.
    """

    def __init__(
        self,
        weights: torch.Tensor,
        dials: tuple[MethodConfig, RoundsConfig],
        file: Path,
        *,
        fraction: float = 1.0,
        least: int = 2,
    ) -> None:
        """`fraction` of the clients are drawn for a round, `least` at least."""
        super().__init__(
            fraction_train=fraction,
            fraction_evaluate=0.0,
            min_train_nodes=least,
            min_available_nodes=least,
        )
        self._method, self._rounds = dials
        self._file = file
        kept = open_state(file, dials)
        #: The state, and how many rounds it has seen.
        self.state: State = begin(weights, self._method) if kept is None else kept[0]
        self.done: int = 0 if kept is None else kept[1]

    @property
    def left(self) -> int:
        """Rounds that are still to come."""
        return max(0, self._rounds.rounds - self.done)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        del arrays  # The state has more than weights.
        number = self.done + 1
        phase = phase_of(number, self._rounds)
        warm = number <= self._rounds.warm_rounds
        config["phase"], config["number"] = phase, number
        config["steps"] = 1 if warm or phase != LOCAL else self._rounds.steps
        sent = _record(sent_arrays(self.state, self._method, phase))
        messages: Iterable[Message] = super().configure_train(server_round, sent, config, grid)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        del server_round  # Flower counts anew after a restart.
        told = [_answer_of(reply) for reply in replies if not reply.has_error()]
        if not told:
            return None, None
        number = self.done + 1
        phase = phase_of(number, self._rounds)
        end_rate = self._rounds.end_rate
        self.state = after(self.state, told, self._method, phase, end_rate=end_rate)
        self.done = number
        save_state(self._file, self.state, number, (self._method, self._rounds))
        told_of = MetricRecord({"clients": len(told), "rows": sum(one.rows for one in told)})
        return _record({"W": self.state.weights.numpy()}), told_of


def server_app(make: Callable[[Context], FedDA], *, timeout: float = 3600.0) -> ServerApp:
    """An app that runs the rounds that are left. `timeout`: seconds for the answers of a round."""
    app = ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Grid, context: Context) -> None:
        strategy = make(context)
        if strategy.left:
            begun = _record({"W": strategy.state.weights.numpy()})
            strategy.start(grid, begun, num_rounds=strategy.left, timeout=timeout)

    return app


def client_app(find: Callable[[Context], tuple[InProcess, int]], method: MethodConfig) -> ClientApp:
    """An app of one client: `find` gives its rows, and its number among them.

    What is the client's own lies in its context, which Flower keeps at the client.
    """
    app = ClientApp()

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Message, context: Context) -> Message:
        clients, number = find(context)
        if _PRIVATE in context.state:
            clients.give_back(number, _arrays_of(context.state[_PRIVATE]))
        config = message.content["config"]
        cohort = clients.cohort(
            np.array([number]), number=int(config["number"]), steps=int(config["steps"])
        )
        arrays = _arrays_of(message.content["arrays"])
        told = answer(arrays, cohort, method, str(config["phase"]))
        context.state[_PRIVATE] = _record(clients.private(number))
        counts = MetricRecord({"num-examples": told.rows, "steps": told.steps})
        content = RecordDict({"arrays": _record(told.arrays), "metrics": counts})
        return Message(content=content, reply_to=message)

    return app


def _record(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(one)) for name, one in arrays.items()})


def _arrays_of(record: Any) -> dict[str, np.ndarray]:
    return {name: array.numpy() for name, array in record.items()}


def _answer_of(reply: Message) -> Answer:
    counts = reply.content["metrics"]
    arrays = _arrays_of(reply.content["arrays"])
    return Answer(int(counts["num-examples"]), int(counts["steps"]), arrays)
