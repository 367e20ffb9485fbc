"""A Flower deployment on loopback, with TLS: real processes, one of which is killed mid-round.

Wants the extra `federated`, without which these tests fail and say so.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from flower_world import DIALS, FOLDER, ROWS, rounds_done, state_file, twin, write_app
from parabolas import same
from running import eventually, free_port

from ranking.fedda.config import NoiseConfig
from ranking.fedda.server import State
from ranking.fedda.wire import open_state

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
ALL = tuple(range(len(ROWS)))
ROUNDS = DIALS[1].rounds
#: Nobody tells when a SuperNode has been registered.
SETTLING = 5.0


def asked_for() -> None:
    """Fail in one sentence where the extra is not installed."""
    assert find_spec("flwr") is not None, (
        "Flower should be installed for these tests, best in an environment of its own: "
        "pip install -e '.[federated,dev]'"
    )


def environment(folder: Path) -> dict[str, str]:
    """That of Flower's processes: they find the rooms and the world of this test."""
    paths = [str(ROOT), str(ROOT / "tests/support"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        FOLDER: str(folder),
        "FLWR_HOME": str(folder / "home"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


class Deployment:
    """A SuperLink, SuperNodes and what `flwr run` needs, in a folder of their own."""

    def __init__(self, folder: Path, kind: str = "") -> None:
        self.folder = folder
        self._port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = environment(folder)
        self._certify()
        (folder / "home").mkdir()
        (folder / "home/config.toml").write_text(
            '[superlink]\ndefault = "here"\n\n[superlink.here]\n'
            f'address = "127.0.0.1:{self._port}"\n'
            f'root-certificates = "{folder}/server.pem"\n'
        )
        write_app(folder / "app", kind)

    def _certify(self) -> None:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-keyout", str(self.folder / "server.key")),
                *("-out", str(self.folder / "server.pem"), "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            ],
            check=True,
            capture_output=True,
        )

    def start_server(self) -> None:
        """A SuperLink that keeps its own records, so that SuperNodes find it again."""
        certificate = str(self.folder / "server.pem")
        self._start(
            "server",
            "flower-superlink",
            *("--ssl-ca-certfile", certificate, "--ssl-certfile", certificate),
            *("--ssl-keyfile", str(self.folder / "server.key")),
            *("--database", str(self.folder / "superlink.sqlite")),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            "--disable-runtime-dependency-installation",
        )
        eventually(f"it listens: {self._said()}", lambda: _listens(self._port), seconds=60)

    def start_client(self, number: int) -> None:
        """A SuperNode, unless it still runs."""
        name = f"client-{number}"
        if name in self._processes and self._processes[name].poll() is None:
            return
        self._start(
            name,
            "flower-supernode",
            *("--root-certificates", str(self.folder / "server.pem")),
            *("--superlink", f"127.0.0.1:{self._port}"),
            *("--host", "127.0.0.1", "--port", str(free_port())),
            *("--node-config", f"partition-id={number}"),
        )

    def run(self) -> None:
        """Ask for the rounds that are left."""
        asked = subprocess.run(
            ["flwr", "run", ".", "here"],
            cwd=self.folder / "app",
            env=self._environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert asked.returncode == 0, asked.stdout.decode() + asked.stderr.decode()

    def kill(self, name: str) -> None:
        """As if the power went, for the process and all that it has started."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def close(self) -> None:
        for name in list(self._processes):
            if self._processes[name].poll() is None:
                self.kill(name)

    def hold(self, number: int, client: int) -> Path:
        """Let a client stay in a round until the file that is given goes."""
        file = self.folder / f"hold-{number}-{client}"
        file.touch()
        return file

    def wait_for(self, file: str) -> None:
        eventually(f"{file} in {self._said()}", (self.folder / file).exists, seconds=240)

    def wait_done(self, rounds: int) -> None:
        eventually(
            f"{rounds} rounds: {self._said()}",
            lambda: rounds_done(self.folder) >= rounds,
            seconds=400,
        )

    def went(self) -> list[set[int]]:
        return went(self.folder)

    def state(self) -> State:
        kept = open_state(state_file(self.folder), DIALS)
        assert kept is not None
        assert kept[1] == ROUNDS
        return kept[0]

    def _said(self) -> str:
        return f"see {self.folder}/*.log"

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env=self._environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def went(folder: Path) -> list[set[int]]:
    """Who went on in each round."""
    return [
        {int(file.name.split("-")[2]) for file in folder.glob(f"went-{number}-*")}
        for number in range(1, ROUNDS + 1)
    ]


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(1)
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def deployment(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Its apps are `summed` ones, or whatever else it is asked with."""
    asked_for()
    made = Deployment(tmp_path, getattr(request, "param", ""))
    try:
        made.start_server()
        for number in ALL:
            made.start_client(number)
        time.sleep(SETTLING)
        yield made
    finally:
        made.close()


def test_rounds_over_processes_are_those_of_one_process(deployment: Deployment) -> None:
    deployment.run()
    deployment.wait_done(ROUNDS)
    went = deployment.went()
    # The first rounds may begin before the last node is there, and not with fewer than two.
    assert all(len(chosen) >= 2 for chosen in went)
    assert went[-1] == set(ALL)
    same(deployment.state().weights, twin(went).weights, within=1e-10)


def test_a_client_that_is_killed_is_left_out_of_its_round(deployment: Deployment) -> None:
    deployment.hold(3, 2)
    deployment.run()
    deployment.wait_for("asked-3-2")
    deployment.kill("client-2")
    deployment.wait_done(ROUNDS)
    went = deployment.went()
    assert went[2:] == [{0, 1}] * (ROUNDS - 2), "the others went on by themselves"
    same(deployment.state().weights, twin(went).weights, within=1e-10)


def test_a_server_that_is_killed_loses_its_round_alone(deployment: Deployment) -> None:
    held = deployment.hold(3, 1)
    deployment.run()
    deployment.wait_for("asked-3-1")
    assert rounds_done(deployment.folder) == 2
    deployment.kill("server")
    held.unlink()
    deployment.start_server()
    for number in ALL:
        deployment.start_client(number)
    assert rounds_done(deployment.folder) == 2, "two rounds are kept"
    for file in deployment.folder.glob("went-3-*"):
        file.unlink()  # what came of that round is lost
    deployment.run()
    deployment.wait_done(ROUNDS)
    went = deployment.went()
    assert all(len(chosen) >= 2 for chosen in went)
    same(deployment.state().weights, twin(went).weights, within=1e-10)


@pytest.mark.parametrize("deployment", ["summed_"], indirect=True)
def test_a_client_that_is_killed_within_a_secret_sum_is_left_out_of_it(
    deployment: Deployment,
) -> None:
    """It has dealt out its secrets, so the others' sum can be freed of its masks."""
    deployment.hold(3, 2)
    deployment.run()
    deployment.wait_for("asked-3-2")
    deployment.kill("client-2")
    deployment.wait_done(3)
    kept = open_state(state_file(deployment.folder), DIALS)
    assert kept is not None
    assert kept[1] == 3
    went = deployment.went()[:3]
    assert went[-1] == {0, 1}
    # A sum is of numbers that are rounded to 22 bits.
    same(kept[0].weights, twin(went).weights, within=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Flower imports
def test_noise_has_the_deviation_that_is_told() -> None:
    """An answer of many numbers, shaken: 2 B sqrt(2 ln(1.25 / delta)) / epsilon."""
    asked_for()
    from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    from api.secrecy import local_noise

    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    told = NoiseConfig(bound=0.5, epsilon=0.8, delta=1e-4)
    sent = RecordDict({"arrays": ArrayRecord({"W": Array(np.zeros(100_000))})})
    message = Message(content=sent, dst_node_id=1, message_type="train")
    context = Context(1, 1, {}, RecordDict(), {})

    def silent(asked: Message, _: Context) -> Message:
        moved = ArrayRecord({"W": Array(np.full(100_000, 1.0))})
        return Message(content=RecordDict({"arrays": moved}), reply_to=asked)

    answer = local_noise(told)(message, context, silent)
    shaken = answer.content["arrays"]["W"].numpy()
    expected = 2 * 0.5 * np.sqrt(2 * np.log(1.25 / 1e-4)) / 0.8
    # The standard error of a deviation is 1 / sqrt(2 n) of it, .22 %; here are six of them.
    assert shaken.std() == pytest.approx(expected, rel=0.0135)
    # What moved is shortened to a length of .5, spread over all numbers.
    assert shaken.mean() == pytest.approx(0.5 / np.sqrt(100_000), abs=6 * expected / 316)


@pytest.mark.parametrize(
    ("server", "client", "within"),
    [
        ("server", "client", 1e-10),
        ("summed_server", "summed_client", 1e-4),
        ("server", "noisy_client", 1e-6),
    ],
)
def test_a_simulation_is_the_same_rounds(
    tmp_path: Path, server: str, client: str, within: float
) -> None:
    """By answers one by one, by sums that hide them, and through a mod that shakes them a little.

    A sum is of numbers that are rounded to 22 bits.
    """
    asked_for()
    code = (
        f"from flower_world import ROWS, {client} as client, {server} as server\n"
        "from flwr.simulation import run_simulation\n"
        "run_simulation(server_app=server(), client_app=client(), num_supernodes=len(ROWS))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    assert rounds_done(tmp_path) == ROUNDS
    kept = open_state(state_file(tmp_path), DIALS)
    assert kept is not None
    # As in a deployment, the first rounds may begin before the last node is there.
    assert went(tmp_path)[-1] == set(ALL)
    same(kept[0].weights, twin(went(tmp_path)).weights, within=within)
