"""Federated rounds over Flower: a ServerApp and a ClientApp around `ranking.fedda.wire`.

Takes a course of rounds and clients, gives apps that Flower's simulation and its SuperLink and
SuperNodes run; never computes a round itself. Flower comes with the extra `federated`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from ranking.errors import CohortMismatch
from ranking.fedda.config import MethodConfig
from ranking.fedda.course import Asked, Course
from ranking.fedda.inprocess import InProcess
from ranking.fedda.wire import Answer, answer, as_update, from_update, told_names

#: The rows of a client, and its number among them.
Find = Callable[[Context], tuple[InProcess, int]]
#: A mod of Flower's.
Mod = Callable[[Message, Context, Callable[[Message, Context], Message]], Message]
_PRIVATE = "private"


class FedDA(FedAvg):  # type: ignore[misc]
    """FedDA as a Flower strategy: Flower draws clients and carries messages, and that is all.

    A client that dies, or answers with an error or with what is no number, is left out of its
    round. A round without any answer changes nothing.
    """

    def __init__(self, course: Course, *, fraction: float = 1.0, least: int = 2) -> None:
        """`fraction` of the clients are drawn for a round, `least` at least."""
        super().__init__(
            fraction_train=fraction,
            fraction_evaluate=0.0,
            min_train_nodes=least,
            min_available_nodes=least,
        )
        self.course = course

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        del arrays  # The state has more than weights.
        asked = self.course.asked()
        config["phase"], config["number"], config["steps"] = asked.phase, asked.number, asked.steps
        sent = _record(asked.arrays)
        messages: Iterable[Message] = super().configure_train(server_round, sent, config, grid)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        del server_round  # Flower counts anew after a restart.
        told = [self._answer_of(reply) for reply in replies if not reply.has_error()]
        told = [one for one in told if one.finite]
        if not told:
            return None, None
        self.course.take(told)
        told_of = MetricRecord({"clients": len(told), "rows": sum(one.rows for one in told)})
        return _record({"W": self.course.state.weights.numpy()}), told_of

    def _answer_of(self, reply: Message) -> Answer:
        counts, arrays = reply.content["metrics"], arrays_of(reply.content["arrays"])
        if "S" not in arrays:
            asked = self.course.asked()
            names = told_names(self.course.method, asked.phase)
            arrays = from_update(asked.arrays, arrays, names)
        return Answer(int(counts["num-examples"]), int(counts["steps"]), arrays)


def server_app(make: Callable[[Context], FedDA], *, timeout: float = 3600.0) -> ServerApp:
    """An app that runs the rounds that are left. `timeout`: seconds for the answers of a round."""
    app = ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Grid, context: Context) -> None:
        strategy = make(context)
        course = strategy.course
        if course.left:
            begun = _record({"W": course.state.weights.numpy()})
            strategy.start(grid, begun, num_rounds=course.left, timeout=timeout)

    return app


def client_app(find: Find, method: MethodConfig, *, mods: Sequence[Mod] = ()) -> ClientApp:
    """An app of one client: `find` gives its rows, and its number among them.

    What is the client's own lies in its context, which Flower keeps at the client. `mods` are
    Flower's own that bound or shake what a client answers, such as `LocalDpMod`; they see it as
    weights that have moved (`ranking.fedda.wire.as_update`).
    """
    app = ClientApp(mods=list(mods))

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Message, context: Context) -> Message:
        sent, config = arrays_of(message.content["arrays"]), message.content["config"]
        asked = Asked(int(config["number"]), str(config["phase"]), int(config["steps"]), sent)
        told = answered(find, method, asked, context)
        arrays = as_update(sent, told.arrays) if mods else told.arrays
        counts = MetricRecord({"num-examples": told.rows, "steps": told.steps})
        content = RecordDict({"arrays": _record(arrays), "metrics": counts})
        return Message(content=content, reply_to=message)

    return app


def answered(find: Find, method: MethodConfig, asked: Asked, context: Context) -> Answer:
    """A client's part of a round; its private rows come from its context and go back there.

    Raises `CohortMismatch` where its steps left the numbers.
    """
    clients, number = find(context)
    if _PRIVATE in context.state:
        clients.give_back(number, arrays_of(context.state[_PRIVATE]))
    cohort = clients.cohort(np.array([number]), number=asked.number, steps=asked.steps)
    told = answer(asked.arrays, cohort, method, asked.phase)
    if not told.finite:  # no mod could bound it, and no mask could carry it
        raise CohortMismatch("an answer should be of finite numbers; the client's steps diverged")
    context.state[_PRIVATE] = _record(clients.private(number))
    return told


def _record(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(one)) for name, one in arrays.items()})


def arrays_of(record: Any) -> dict[str, np.ndarray]:
    """The arrays of a record of Flower's, by name."""
    return {name: array.numpy() for name, array in record.items()}
