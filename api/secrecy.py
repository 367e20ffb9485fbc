"""Federated rounds whose answers nobody sees one by one: Flower's secure sums, and its noise.

Takes a course of rounds and clients, gives apps like those of `api/federation.py`; protocols and
noise are Flower's. Off unless somebody builds apps of these. Flower comes with the extra
`federated`.

What FedDA's server makes of a round is linear in the answers wherever all clients take as many
steps, so it needs their mean alone, each by its rows. That is what SecAgg+ (Bell et al., 2020)
gives. It holds against a server that follows the protocol and reads along: one that deals out keys
of its own could read every answer. Who answers, and each one's rows and steps, is not hidden.
"""

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import LocalDpMod
from flwr.common import (
    Code,
    FitIns,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.compat.common import recorddict_compat
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import Strategy
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid, ServerApp

from api.federation import Find, answered
from ranking.errors import CohortMismatch, RoundsLost
from ranking.fedda.config import MethodConfig, NoiseConfig, SecretSumConfig
from ranking.fedda.course import Asked, Course
from ranking.fedda.wire import Answer, told_names

_NAMES = "names"
#: Clients whose sum fits into the 32 bits of Flower's masks, each with 22 of its own.
_MOST_SUMMED = 1 << 10


class SummedFedDA(Strategy):  # type: ignore[misc]
    """FedDA by the mean of the answers alone, as a strategy that Flower's SecAgg+ asks."""

    def __init__(self, course: Course, secrecy: SecretSumConfig) -> None:
        self.course, self._secrecy = course, secrecy

    def initialize_parameters(self, client_manager: Any) -> Parameters:
        del client_manager
        return self._weights()

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> list[Any]:
        del server_round, parameters  # Flower counts anew after a restart.
        asked, least = self.course.asked(), self._secrecy.least
        client_manager.wait_for(least)
        count = max(least, ceil(self._secrecy.fraction * client_manager.num_available()))
        count = min(count, _MOST_SUMMED)
        config = {"phase": asked.phase, "number": asked.number, "steps": asked.steps}
        config[_NAMES] = ",".join(asked.arrays)
        told = FitIns(ndarrays_to_parameters(list(asked.arrays.values())), config)
        return [(one, told) for one in client_manager.sample(count, min_num_clients=least)]

    def aggregate_fit(
        self, server_round: int, results: Any, failures: Any
    ) -> tuple[Parameters | None, dict[str, Any]]:
        """`results` are all of the same arrays, the mean; beside it Flower names rows and steps.

        Raises `CohortMismatch` where clients took steps of different numbers.
        """
        del server_round, failures
        if not results:
            return None, {}
        told = [one for _, one in results]
        steps = {int(one.metrics["steps"]) for one in told}
        if len(steps) != 1:
            raise CohortMismatch(
                "clients whose answers are summed in secret should all take as many steps, "
                f"received {', '.join(map(str, sorted(steps)))}"
            )
        dtype = self.course.state.weights.numpy().dtype
        mean = (one.astype(dtype) for one in parameters_to_ndarrays(told[0].parameters))
        names = told_names(self.course.method, self.course.asked().phase)
        arrays = dict(zip(names, mean, strict=True))
        rows = sum(int(one.num_examples) for one in told)
        self.course.take([Answer(rows, steps.pop(), arrays)])
        return self._weights(), {}

    def configure_evaluate(
        self, server_round: int, parameters: Any, client_manager: Any
    ) -> list[Any]:
        """Nobody is asked how good weights are."""
        del server_round, parameters, client_manager
        return []

    def aggregate_evaluate(
        self, server_round: int, results: Any, failures: Any
    ) -> tuple[None, dict[str, Any]]:
        del server_round, results, failures
        return None, {}

    def evaluate(self, server_round: int, parameters: Any) -> None:
        del server_round, parameters

    def _weights(self) -> Parameters:
        return ndarrays_to_parameters([self.course.state.weights.numpy()])


def summed_server_app(
    make: Callable[[Context], Course], secrecy: SecretSumConfig, *, timeout: float = 3600.0
) -> ServerApp:
    """An app that runs the rounds that are left and sees sums alone.

    A round in which a client dies before it has dealt out its secrets, or more of them later than
    `threshold` leaves, has no sum and changes nothing. The app ends with `RoundsLost` where rounds
    are left so, and goes on with them when it is started anew. `timeout`: seconds for each of the
    four exchanges of a round.
    """
    app = ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Grid, context: Context) -> None:
        course = make(context)
        if not course.left:
            return
        legacy = LegacyContext(
            context,
            config=ServerConfig(num_rounds=course.left, round_timeout=timeout),
            strategy=SummedFedDA(course, secrecy),
        )
        protocol = SecAggPlusWorkflow(
            num_shares=secrecy.shares,
            reconstruction_threshold=secrecy.threshold,
            max_weight=float(secrecy.most_rows),
            clipping_range=secrecy.bound,
            timeout=timeout,
        )
        DefaultWorkflow(fit_workflow=protocol)(grid, legacy)
        if course.left:
            raise RoundsLost(
                f"{course.left} rounds had no sum, since clients died in them; start the app again "
                "to go on with as many"
            )

    return app


def summed_client_app(find: Find, method: MethodConfig, secrecy: SecretSumConfig) -> ClientApp:
    """An app of one client whose answer leaves it masked: see `api.federation.client_app`.

    One with more rows than `most_rows` answers with an error: it would count for more than it has.
    """
    app = ClientApp(mods=[secaggplus_mod])

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Message, context: Context) -> Message:
        ins = recorddict_compat.recorddict_to_fitins(message.content, keep_input=True)
        config = ins.config
        values = parameters_to_ndarrays(ins.parameters)
        sent = dict(zip(str(config[_NAMES]).split(","), values, strict=True))
        asked = Asked(int(config["number"]), str(config["phase"]), int(config["steps"]), sent)
        told = answered(find, method, asked, context)
        if told.rows > secrecy.most_rows:
            raise CohortMismatch(
                f"a client should have at most most_rows={secrecy.most_rows} rows, received "
                f"{told.rows}"
            )
        arrays = [np.asarray(told.arrays[name]) for name in told_names(method, asked.phase)]
        result = FitRes(
            Status(Code.OK, ""), ndarrays_to_parameters(arrays), told.rows, {"steps": told.steps}
        )
        content = recorddict_compat.fitres_to_recorddict(result, keep_input=True)
        return Message(content=content, reply_to=message)

    return app


def local_noise(config: NoiseConfig) -> LocalDpMod:
    """Flower's mod that makes each answer locally differentially private: for `client_app`.

    Lengths of answers that are shortened to B are at most 2 B apart, which the noise goes by.
    """
    return LocalDpMod(config.bound, 2.0 * config.bound, config.epsilon, config.delta)
