import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kge.checkpoint import load, save
from kge.config import TransRAConfig
from kge.errors import CheckpointMismatch
from kge.train import Training
from kge.triples import graph_of_snapshot

EDGES = [(f"u{u}", "click", f"f{f}") for u in range(8) for f in range(8) if u // 4 == f // 4]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(8)]
SMALL = TransRAConfig(
    dim=8, relation_dim=8, block=4, batch=8, negatives=2, epochs=9.0, prior_share=0.2,
    anchors_per_type=2, nearest_anchors=2,
)  # fmt: skip


def losses(training: Training, number: int | None = None) -> list[float]:
    return [told.loss for told in itertools.islice(training.steps(), number)]


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_it_goes_on_to_the_identical_trace(make_snapshot, tmp_path: Path, optimizer: str):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(SMALL, optimizer=optimizer)
    whole = Training(graph, config)
    expected = losses(whole)
    first = Training(graph, config)
    begun = losses(first, 11)
    save(first, tmp_path / "training.safetensors", {"seconds": 1.5})
    second = Training(graph, config)
    assert load(second, tmp_path / "training.safetensors") == {"seconds": 1.5}
    assert begun + losses(second) == expected
    left, right = whole.trained(), second.trained()
    assert left.loss == right.loss
    np.testing.assert_array_equal(left.arrays().vectors, right.arrays().vectors)
    np.testing.assert_array_equal(left.arrays().projections, right.arrays().projections)


def test_another_training_is_refused_and_left_as_it_was(make_snapshot, tmp_path: Path):
    file = tmp_path / "training.safetensors"
    graph = graph_of_snapshot(make_snapshot(EDGES))
    save(Training(graph, SMALL), file)
    fewer = graph_of_snapshot(make_snapshot(EDGES[1:]))
    for other in (Training(fewer, SMALL), Training(graph, dataclasses.replace(SMALL, seed=1))):
        before = other.trained().arrays().vectors.copy()
        with pytest.raises(CheckpointMismatch, match=r"training\.safetensors"):
            load(other, file)
        np.testing.assert_array_equal(other.trained().arrays().vectors, before)


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_a_damaged_file_is_refused_and_nothing_is_taken_of_it(
    make_snapshot, tmp_path: Path, damage: bytes | None
):
    file = tmp_path / "training.safetensors"
    training = Training(graph_of_snapshot(make_snapshot(EDGES)), SMALL)
    save(training, file)
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    before = training.trained().arrays().vectors.copy()
    with pytest.raises(CheckpointMismatch, match=r"training\.safetensors is damaged"):
        load(training, file)
    np.testing.assert_array_equal(training.trained().arrays().vectors, before)


_CHILD = """
import json, sys, time
from pathlib import Path
import numpy as np
from graphsvc.snapshot import RelationInfo, TypeRange
from kge.checkpoint import load, save
from kge.config import TransRAConfig
from kge.train import Training
from kge.triples import Graph

draw, count = np.random.default_rng(1), 60
graph = Graph(
    head=draw.integers(count, size=400), relation=draw.integers(3, size=400),
    tail=draw.integers(count, size=400), weight=np.ones(400, np.float32),
    types=[TypeRange("entity", 0, count)],
    relations=[RelationInfo(name=f"r{n}", head="entity", tail="entity", source="structure")
               for n in range(3)],
    ids=np.array([str(n) for n in range(count)], object),
    snapshot_rows=np.arange(count, dtype=np.int32),
)
config = TransRAConfig(dim=8, relation_dim=8, block=16, batch=32, negatives=8, epochs=5.0)
training = Training(graph, config)
file, pause = Path(sys.argv[1]), float(sys.argv[2])
trace = load(training, file)["trace"] if file.exists() else []
for told in training.steps():
    trace.append(told.loss)
    save(training, file, {"trace": trace})
    print(told.step, flush=True)
    time.sleep(pause)
print(json.dumps(trace))
"""


def child(file: Path, pause: float) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYSTOW_HOME": str(file.parent), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(file), str(pause)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_killed_with_signal_9_it_ends_with_the_identical_trace(tmp_path: Path):
    straight = child(tmp_path / "straight.safetensors", 0.0)
    expected = json.loads(straight.communicate(timeout=120)[0].splitlines()[-1])
    file = tmp_path / "killed.safetensors"
    running = child(file, 0.02)
    assert running.stdout is not None
    running.stdout.readline()  # it is training
    time.sleep(0.4)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    running.stdout.close()
    last = child(file, 0.0)
    assert json.loads(last.communicate(timeout=120)[0].splitlines()[-1]) == expected
