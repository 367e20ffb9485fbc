"""A grid of cells: what fails, what is listed, what is not measured again. No model is trained."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import grid


class Expected(Exception):
    pass


def fails() -> dict[str, float]:
    raise Expected("[3] should be 4")


@pytest.fixture
def options(tmp_path: Path) -> Namespace:
    return grid.arguments("", str(tmp_path)).parse_args([])


def test_a_cell_that_fails_keeps_no_other_from_its_turn(options: Namespace, capsys):
    cells = {"before": lambda: {"a": 1}, "broken": fails, "after": lambda: {"a": 2}}
    outcome = grid.measure(cells, options, (Expected,))
    assert {name: told["a"] for name, told in outcome.found.items()} == {"before": 1, "after": 2}
    assert outcome.failed == {"broken": "[3] should be 4"}
    assert outcome.code == 1
    files = sorted(file.name for file in (options.out / "cells").iterdir())
    assert files == ["after.json", "before.json"]
    told = capsys.readouterr().err.splitlines()
    assert told[-2:] == ["2 of 3 cells; missing: ['broken']", "failed: broken: [3] should be 4"]
    # It has its turn again, and nothing else has.
    again = grid.measure(cells | {"broken": lambda: {"a": 3}}, options, (Expected,))
    assert again.failed == {}
    assert again.code == 0
    assert again.found["before"] == outcome.found["before"]
    assert again.found["broken"]["a"] == 3


def test_what_is_no_declared_error_ends_it(options: Namespace):
    with pytest.raises(Expected):
        grid.measure({"broken": fails, "after": lambda: {"a": 2}}, options, (KeyError,))
    assert not list((options.out / "cells").iterdir())


def test_a_listing_measures_nothing(options: Namespace, capsys):
    options.list = True
    outcome = grid.measure({"one": fails}, options)
    assert (outcome.found, outcome.failed, outcome.code) == ({}, {}, 0)
    assert "0 of 1 cells; missing: ['one']" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        grid.run({"one": fails}, options)
    assert ended.value.code == 0
