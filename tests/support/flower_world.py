"""Three clients of least squares for a Flower deployment, which tell what they are asked.

Used by tests and, inside Flower's own processes, by the app that `write_app` makes. A client that
is asked writes `asked-<round>-<client>` into the folder of `FLOWER_WORLD`, stays there while
`hold-<round>-<client>` lies in it, and writes `went-<round>-<client>` when it goes on.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ranking.fedda.config import MethodConfig, RoundsConfig, SecretSumConfig
from ranking.fedda.course import Course
from ranking.fedda.inprocess import InProcess, StepDials
from ranking.fedda.server import State, begin, fedda_round
from ranking.fedda.wire import open_state

FOLDER = "FLOWER_WORLD"
#: Rows of each client.
ROWS = (4, 6, 10)
START = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
DIALS = (
    MethodConfig(optimizer="adam", rate=0.05, floor=0.1),
    RoundsConfig(rounds=6, steps=3),
)
#: Two of three that have dealt out their secrets are enough.
SECRET = SecretSumConfig(most_rows=max(ROWS), threshold=0.6)
#: Seconds that a round waits for answers.
TIMEOUT = 20.0


def squares(w_U: Any, _own_Q: Any, columns: tuple[Any, ...], counts_B: Any) -> Any:
    x_BU, y_B = columns
    return (counts_B * (x_BU @ w_U - y_B).square()).sum() / 2.0


def clients(kind: type[InProcess] = InProcess) -> InProcess:
    """All of them; every step takes all rows of a client, so that nothing is drawn."""
    rng = np.random.default_rng(5)
    count = sum(ROWS)
    columns = (
        torch.from_numpy(rng.normal(size=(count, len(START)))),
        torch.from_numpy(rng.normal(size=count)),
    )
    starts = torch.from_numpy(np.concatenate([[0], np.cumsum(ROWS)]))
    return kind(squares, columns, starts, StepDials(batch=0), size=len(START))


def twin(among: Iterable[Iterable[int]]) -> State:
    """Rounds in one process, each of the clients that are named for it."""
    method, rounds = DIALS
    state, all_of_them = begin(START, method), clients()
    for number, chosen in enumerate(among, start=1):
        cohort = all_of_them.cohort(np.array(sorted(chosen)), number=number, steps=rounds.steps)
        state = fedda_round(state, cohort, method)
    return state


def state_file(folder: Path) -> Path:
    return folder / "state.safetensors"


def rounds_done(folder: Path) -> int:
    """Rounds whose state is in the server's file."""
    kept = open_state(state_file(folder), DIALS)
    return 0 if kept is None else kept[1]


class Watched(InProcess):
    """Clients that say what they are asked, and that a test can hold."""

    def cohort(self, numbers: Any, *, number: int, steps: int) -> Any:
        folder, [client] = Path(os.environ[FOLDER]), numbers.tolist()
        (folder / f"asked-{number}-{client}").touch()
        while (folder / f"hold-{number}-{client}").exists():
            time.sleep(0.05)
        (folder / f"went-{number}-{client}").touch()
        return super().cohort(numbers, number=number, steps=steps)


def server() -> Any:
    """The ServerApp; its state lies in the folder."""
    from api.federation import FedDA, server_app

    file = state_file(Path(os.environ[FOLDER]))

    def make(_context: Any) -> FedDA:
        return FedDA(Course(START, DIALS, file), least=2)

    return server_app(make, timeout=TIMEOUT)


def client() -> Any:
    """The ClientApp; which client a node is says its `partition-id`."""
    from api.federation import client_app

    return client_app(_find, DIALS[0])


def _find(context: Any) -> tuple[InProcess, int]:
    return clients(Watched), int(context.node_config["partition-id"])


def summed_server() -> Any:
    """The same, seeing sums alone."""
    from api.secrecy import summed_server_app

    file = state_file(Path(os.environ[FOLDER]))
    return summed_server_app(lambda _: Course(START, DIALS, file), SECRET, timeout=TIMEOUT)


def summed_client() -> Any:
    """The ClientApp whose answers leave it masked."""
    from api.secrecy import summed_client_app

    return summed_client_app(_find, DIALS[0], SECRET)


def noisy_client() -> Any:
    """The ClientApp with so little noise that rounds are nearly the same."""
    from flwr.clientapp.mod import LocalDpMod

    from api.federation import client_app

    return client_app(_find, DIALS[0], mods=[LocalDpMod(1e6, 1e-9, 1.0, 0.5)])


_APP = """
[project]
name = "parabolas"
version = "1.0.0"
description = "Three clients of least squares."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "graphsvc"

[tool.flwr.app.components]
serverapp = "parabolas.server:app"
clientapp = "parabolas.client:app"
"""


def write_app(folder: Path, kind: str) -> None:
    """Write the folder that `flwr run` sends to a SuperLink: with apps that `kind` precedes."""
    package = folder / "parabolas"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(_APP)
    (package / "__init__.py").write_text('"""An app of a test."""\n')
    for part in ("server", "client"):
        code = f"from flower_world import {kind}{part} as made\n\napp = made()\n"
        (package / f"{part}.py").write_text(code)
