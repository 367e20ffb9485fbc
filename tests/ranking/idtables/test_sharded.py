"""Rows that lie in two processes, against the same rows in one.

Where TorchRec is not installed there is nothing to spread them; the header of the test run says so.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch

from ranking.idtables.backends import BACKENDS, by_adagrad
from ranking.idtables.dials import IdTableConfig
from ranking.idtables.table import RowTable

HERE = [name for name in ("torchrec",) if not BACKENDS[name].missing]
ROWS, DIM, RATE = 7, 4, 0.1
#: process -> for each step what it looks up; in two of them somebody looks up nothing.
LOOKED_UP = (([0, 1, 6], [], [2, 2]), ([1, 5], [6, 0], []))

#: What each of the two processes does: as a training does, with rows and gradients of its own.
_PROCESS = """
import sys
import numpy as np, torch, torch.distributed as dist
from test_sharded import LOOKED_UP, begun, stepped
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
table = begun("torchrec")
stepped(table, LOOKED_UP[rank])
table.mover.settle()
np.savez(f"{folder}/{rank}.npz", weight=table.weight.detach(), **table.mover.states())
dist.destroy_process_group()
"""


def begun(backend):
    weight = torch.arange(ROWS * DIM, dtype=torch.float32).view(ROWS, DIM)
    table = RowTable(ROWS, DIM, _weight=weight)
    dials = IdTableConfig(optimizer="adagrad", adagrad_rate=RATE, backend=backend, dim=DIM)
    table.mover = by_adagrad(table.weight, dials)
    return table


def stepped(table, steps):
    """A row's gradient is told by its number."""
    for rows in steps:
        found = table(torch.tensor(rows, dtype=torch.int64))
        (found * (torch.tensor(rows)[:, None] + 1.0)).sum().backward()
        table.mover.step()


@pytest.mark.parametrize("backend", HERE)
def test_two_processes_move_rows_as_one_does_that_has_all_of_them(backend, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(__file__).rpartition('/')[0]!r})\n{_PROCESS}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, str(rank), str(tmp_path)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    one = begun("torch")
    stepped(one, [[*first, *second] for first, second in zip(*LOOKED_UP, strict=True)])
    for rank in range(2):
        found = np.load(tmp_path / f"{rank}.npz")
        np.testing.assert_allclose(found["weight"], one.weight.detach(), rtol=1e-5)
        np.testing.assert_allclose(found["sum"], one.mover.states()["sum"], rtol=1e-5)
