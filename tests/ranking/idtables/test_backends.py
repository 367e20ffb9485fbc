"""One contract for everybody who moves rows, whichever library does it.

A backend whose library is not installed is not left out in silence: its case asks that it be
refused by name, and the header of the test run says what was not run.
"""

import dataclasses

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from ranking.errors import BackendMissing
from ranking.idtables.backends import BACKENDS, Backend, by_adagrad, chosen
from ranking.idtables.dials import IdTableConfig
from ranking.idtables.lazy import LazyAdamW
from ranking.idtables.placement import Placement
from ranking.idtables.rowwise import RowwiseAdagrad
from ranking.idtables.succession import succeed
from ranking.idtables.table import IdTable, RowTable

HERE = [name for name, backend in BACKENDS.items() if not backend.missing]
AWAY = [name for name, backend in BACKENDS.items() if backend.missing]
RATE = 0.1


@pytest.fixture(scope="module")
def group():
    """A group of this one process, without a network."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(params=[*HERE, "adamw"])
def table_of(request):
    """Makes a table of rows of four numbers that the backend moves."""
    if request.param == "torchrec":
        request.getfixturevalue("group")

    def make(*values):
        table = RowTable(len(values), 4)
        with torch.no_grad():
            table.weight.copy_(torch.tensor(values)[:, None].expand(-1, 4))
        if request.param == "adamw":
            table.mover = LazyAdamW(table.weight, rate=RATE, decay=0.0)
        else:
            dials = IdTableConfig(
                optimizer="adagrad", adagrad_rate=RATE, backend=request.param, dim=4
            )
            table.mover = by_adagrad(table.weight, dials)
        return table

    make.adagrad = request.param != "adamw"
    return make


def pull(table, rows, gradients, *, steps=True):
    """A lookup in which each of `rows` has so much gradient in each number, and a step."""
    found = table(torch.tensor(rows))
    (found * torch.tensor(gradients)[:, None]).sum().backward()
    if steps:
        table.mover.step()


def values(table):
    """The first number of each row, after all have caught up."""
    table.mover.settle()
    return table.weight.detach()[:, 0].tolist()


def test_who_is_here_is_asked_and_who_is_not_is_named():
    assert "torch" in HERE
    assert set(HERE) | set(AWAY) == set(BACKENDS) == {"torch", "fbgemm", "torchrec"}


@pytest.mark.parametrize("name", AWAY)
def test_a_backend_that_is_not_installed_is_refused_by_name(name):
    dials = IdTableConfig(optimizer="adagrad", backend=name)
    with pytest.raises(BackendMissing, match=rf"backend {name} needs .*; install the extra"):
        chosen(dials, 4)


def test_rows_of_a_width_that_a_library_does_not_read_are_refused_and_auto_takes_torch(monkeypatch):
    """`sys` stands for a library that is installed."""
    monkeypatch.setitem(BACKENDS, "fbgemm", Backend(RowwiseAdagrad, ("sys",), 4))
    dials = IdTableConfig(optimizer="adagrad", backend="fbgemm")
    assert chosen(dials, 8) == "fbgemm"
    with pytest.raises(BackendMissing, match="rows of a multiple of 4 numbers, received 6"):
        chosen(dials, 6)
    auto = dataclasses.replace(dials, backend="auto")
    assert [chosen(auto, dim) for dim in (8, 6)] == ["fbgemm", "torch"]
    assert chosen(dataclasses.replace(auto, precision="bfloat16"), 8) == "torch"
    assert chosen(IdTableConfig(), 8) == "torch"
    monkeypatch.setitem(BACKENDS, "fbgemm", Backend(RowwiseAdagrad, ("no_such_library",), 4))
    assert chosen(auto, 8) == "torch"


def test_a_group_of_processes_is_not_opened_by_a_table(monkeypatch):
    """That there is none is told before any library is asked for."""
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    with pytest.raises(BackendMissing, match="torchrec needs a group of processes"):
        BACKENDS["torchrec"].make(nn.Parameter(torch.zeros(2, 4)), rate=RATE)


def test_two_steps_by_hand(table_of):
    """Adagrad: a gradient of 2 has s = 4, x = -.1 2 / 2; one of 1 then s = 5, .1 / sqrt(5) less.

    AdamW's first step is the rate, whatever the gradient.
    """
    table = table_of(0.0, 0.0, 1.0)
    pull(table, [0], [2.0])
    assert values(table) == pytest.approx([-0.1, 0.0, 1.0], rel=1e-5)
    if table_of.adagrad:
        pull(table, [0, 2], [1.0, 3.0])
        assert values(table) == pytest.approx([-0.1 - 0.1 / 5**0.5, 0.0, 0.9], rel=1e-5)


def test_a_lookup_is_as_of_now_and_has_the_shape_that_is_asked(table_of):
    table = table_of(0.0, 5.0)
    pull(table, [0], [1.0])
    found = table(torch.tensor([[0, 1], [1, 1]]))
    assert found.shape == (2, 2, 4)
    assert found.dtype == torch.float32
    assert found[:, :, 0].flatten().tolist()[1:] == [5.0, 5.0, 5.0]
    table.mover.forget()
    assert float(found.detach()[0, 0, 0]) < 0
    assert table(torch.zeros((2, 0), dtype=torch.int64)).shape == (2, 0, 4)


def test_a_row_that_is_named_often_moves_once_by_the_sum(table_of):
    """Rows named twice in a lookup, and in two lookups, go where one gradient of the sum takes."""
    apart, together, at_once = (table_of(0.0, 0.0, 0.0) for _ in range(3))
    pull(apart, [1, 0], [1.0, 2.0], steps=False)
    pull(apart, [1], [3.0])
    pull(together, [1, 0, 1], [1.0, 2.0, 3.0])
    pull(at_once, [0, 1], [2.0, 4.0])
    for table in (apart, together):
        assert values(table) == pytest.approx(values(at_once), rel=1e-5)


def test_what_is_forgotten_and_what_has_no_gradient_stays(table_of):
    table = table_of(0.25, 0.5)
    pull(table, [0], [1.0], steps=False)
    table.mover.forget()
    table.mover.step()
    assert values(table) == [0.25, 0.5]
    pull(table, [1], [0.0])
    assert values(table) == [0.25, 0.5]
    table.mover.step()  # nobody looked anything up
    assert values(table) == [0.25, 0.5]


def test_reading_without_a_gradient_moves_nothing(table_of):
    table = table_of(1.0, 2.0)
    with torch.no_grad():
        assert table(torch.tensor([1]))[0].tolist() == [2.0] * 4
    table.mover.step()
    assert values(table) == [1.0, 2.0]


def test_a_row_moves_with_what_is_remembered_of_it(table_of):
    """b and c stay, a goes, d comes: b goes on in its slot as if nothing had happened."""
    former = Placement(("a", "b", "c"), 2)
    table, straight = table_of(0.0, 0.0, 0.0, 0.0, 0.0), table_of(0.0, 0.0, 0.0, 0.0, 0.0)
    for one in (table, straight):
        pull(one, [0, 1, 4], [1.0, 2.0, 3.0])
        pull(one, [1], [1.0])
        one.mover.settle()
    step = succeed(former, ("d", "b", "c", "e"))
    assert step.placement.exclusive == ("d", "b", "c", "e")
    moved = step.carried({"weight": table.weight.detach(), **table.mover.states()})
    after = table_of(*[0.0] * 6)
    with torch.no_grad():
        after.weight.copy_(moved.pop("weight"))
    after.mover.resume(moved)
    # The bucket that was row 4 is row 5 now.
    for one, rows in ((after, [1, 5]), (straight, [1, 4])):
        pull(one, rows, [0.5, 0.5])
    found, expected = values(after), values(straight)
    assert [found[1], found[5]] == pytest.approx([expected[1], expected[4]], rel=1e-5)
    assert found[0] == found[3] == 0.0


def slow_adagrad(start, steps):
    """Row by row and number by number, in double precision."""
    rows, sums = np.array(start, dtype=np.float64), np.zeros(len(start))
    for named, gradients in steps:
        summed = np.zeros_like(rows)
        for row, gradient in zip(named, gradients, strict=True):
            summed[row] += gradient
        for row in set(named):
            sums[row] += (summed[row] ** 2).mean()
            rows[row] -= RATE * summed[row] / (np.sqrt(sums[row]) + 1e-8)
    return rows


@pytest.mark.parametrize("name", HERE)
def test_it_goes_where_a_slow_loop_goes(name, request):
    if name == "torchrec":
        request.getfixturevalue("group")
    draw = np.random.default_rng(0)
    start = draw.normal(size=(9, 8)).astype(np.float32)
    table = RowTable(9, 8, _weight=torch.from_numpy(start.copy()))
    dials = IdTableConfig(optimizer="adagrad", adagrad_rate=RATE, backend=name)
    table.mover = by_adagrad(table.weight, dials)
    steps = []
    for _ in range(60):
        named = draw.integers(0, 8, size=draw.integers(1, 7))  # the last row is never named
        gradients = draw.normal(size=(len(named), 8)).astype(np.float32)
        steps.append((named.tolist(), gradients))
        (table(torch.from_numpy(named)) * torch.from_numpy(gradients)).sum().backward()
        table.mover.step()
    table.mover.settle()
    expected = slow_adagrad(start, steps).astype(np.float32)
    torch.testing.assert_close(
        table.weight.detach(), torch.from_numpy(expected), rtol=1e-4, atol=1e-5
    )


def test_steps_smaller_than_the_grain_of_bfloat16_add_up():
    """At 1 the grain of bfloat16 downwards is 1/256 = .0039, four times the first step of .001.

    400 steps of .001 / sqrt(n) are .0386 together. Each is rounded by chance: of the mean of 2,048
    numbers the deviation is below .0039 / 2 * sqrt(400 / 2048) < .0009.
    """
    table = RowTable(32, 64, _weight=torch.ones(32, 64, dtype=torch.bfloat16))
    table.mover = RowwiseAdagrad(table.weight, rate=0.001)
    torch.manual_seed(0)
    for _ in range(400):
        table(torch.arange(32)).sum().backward()
        table.mover.step()
    expected = 1.0 - 0.001 * sum(n**-0.5 for n in range(1, 401))
    assert float(table.weight.detach().float().mean()) == pytest.approx(expected, abs=0.002)
    assert table(torch.tensor([0])).dtype == torch.float32


def test_a_table_in_bfloat16_gives_float32():
    table = IdTable(3, 2, "bfloat16")
    with torch.no_grad():
        table.weight[1] = 1.5
        found = table(torch.tensor([[0, 1], [1, 1]]))
    assert (found.dtype, found.tolist()) == (torch.float32, [[0.75, 0.75], [1.5, 1.5]])
